"""The laws of the helpers that all suites lean on."""

from __future__ import annotations

import pytest

from tests.support import scaled, wait_until


async def test_wait_until_returns_the_first_true_answer() -> None:
    """An async predicate is asked again until it is true."""
    answers = iter([0, 0, 7])

    async def ask() -> int:
        return next(answers)

    assert await wait_until(ask, every=0) == 7


async def test_wait_until_tells_the_last_answer_when_time_is_up() -> None:
    """A condition that never comes fails with what was seen, not with a bare time-out."""

    def never() -> bool:
        raise AssertionError("still 3 rows")

    with pytest.raises(AssertionError, match=r"never did not come true within 0 s; last error still 3 rows"):
        await wait_until(never, timeout=0)


def test_an_unknown_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in CITYLOOP_SCALE must not quietly run the small size."""
    monkeypatch.setenv("CITYLOOP_SCALE", "ful")
    with pytest.raises(ValueError, match="say ci or full"):
        scaled(ci=1, full=10)
