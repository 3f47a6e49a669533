"""Money as whole fen; yuan only where people read or write it."""

from __future__ import annotations

import re
from typing import NewType

Fen = NewType("Fen", int)
_YUAN = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,2}))?", re.ASCII)


def fen_from_yuan(text: str) -> Fen:
    """Reads `12`, `12.5` or `-0.05` yuan exactly. Raises ValueError for anything else, also for a third decimal."""
    found = _YUAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not an amount in yuan")
    sign, whole, part = found.groups()
    amount = int(whole) * 100 + int((part or "0").ljust(2, "0"))
    return Fen(-amount if sign else amount)


def yuan_text(amount: Fen) -> str:
    """Writes fen as yuan with two decimals: `12.50`."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"
