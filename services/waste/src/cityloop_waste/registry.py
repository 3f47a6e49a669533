"""What collection points, trucks and sites have in common: ids, hours of the local day, and when two descriptions say the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any

import orjson

LATEST_S = 2 * 86_400
MOST_HOURS = 8
LATER = {"later": True}
"""Metadata of a field that came after the first release: at its default it is no fact, so that older files say the same as before."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of a local day in seconds from its midnight; what goes on past midnight counts on beyond 86,400."""

    start_s: int
    end_s: int

    def __str__(self) -> str:
        return f"{_clock(self.start_s)}-{_clock(self.end_s)}"


def is_id(text: str) -> bool:
    """Whether a thing of the registry can have this id; what cannot is not worth a look in the database."""
    return _ID.fullmatch(text) is not None


def read_hours(text: str) -> tuple[Hours, ...]:
    """Hours such as `06:00-09:30;20:00-28:00` (until four in the morning), in their order. Raises ValueError with the reason."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if len(parts) > MOST_HOURS:
        raise ValueError(f"at most {MOST_HOURS} spans of hours")
    found = sorted((_hours(part) for part in parts), key=lambda each: each.start_s)
    for before, after in pairwise(found):
        if after.start_s < before.end_s:
            raise ValueError(f"{before} and {after} overlap")
    return tuple(found)


def hours_text(hours: Sequence[Hours]) -> str:
    """What `read_hours` reads."""
    return ";".join(str(each) for each in hours)


def content_hash(facts: object) -> str:
    """Equal for equal facts (a dataclass): an import that repeats them changes nothing."""
    return hashlib.sha256(orjson.dumps(_said(facts), default=list)).hexdigest()


def _said(facts: object) -> object:
    """Facts by name in the order of their fields, without what is LATER and left out."""
    if isinstance(facts, tuple) and not hasattr(facts, "_fields"):
        return [_said(each) for each in facts]
    if not is_dataclass(facts):
        return facts
    told: dict[str, Any] = {each.name: getattr(facts, each.name) for each in fields(facts)}
    left_out = {each.name for each in fields(facts) if "later" in each.metadata and told[each.name] == each.default}
    return {name: _said(value) for name, value in told.items() if name not in left_out}


def _hours(text: str) -> Hours:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not like 06:00-09:30")
    hours = Hours(_seconds(start.strip()), _seconds(end.strip()))
    if hours.end_s <= hours.start_s:
        raise ValueError(f"{text!r} ends before it starts; past midnight count on: 20:00-28:00")
    return hours


def _seconds(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 if found else -1
    if not 0 <= seconds <= LATEST_S:
        raise ValueError(f"{text!r} is no time of day from 00:00 to 48:00")
    return seconds


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"
