"""Files that are refused: what every format's reader owes who gave it something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cityloop_waste.planning.instances import UnreadableInstance


def is_refused_at_its_line(read: Callable[[str], object], text: str, old: str, new: str, told: str) -> None:
    """With one piece of its text changed a file is refused, in one sentence that begins with the line."""
    assert old in text
    with pytest.raises(UnreadableInstance) as refused:
        read(text.replace(old, new, 1))
    assert told in refused.value.detail
    assert refused.value.detail.startswith("line ")
