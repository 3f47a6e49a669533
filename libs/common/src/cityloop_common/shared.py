"""An answer that is the same for everybody: made once for all who ask at a time, and no older than what is known to have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cityloop_common.clock import Clock

GOOD_FOR_S = 1.0
TIMES_COST = 5.0
RESTS_AT_MOST_S = 10.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    """What came of one making, by its number: the answer, or what was raised; `rested_at` is when the next may begin."""

    number: int
    version: object
    good_until: float
    rested_at: float
    answer: T | None
    raised: Exception | None


class Shared(Generic[T]):
    """An answer that costs something to make.

    It is good for `good_for_s`, or 5 times what it cost, unless its version is another by then. After a making the next one waits
    for 5 times what it cost, 10 s at most: whatever changes, and however many ask, making that costs up to 2 s takes a sixth of the
    time, and who asks for a changed answer may wait as long. What costs more takes more: keep parts of it.
    """

    def __init__(self, clock: Clock, *, good_for_s: float = GOOD_FOR_S) -> None:
        self._clock = clock
        self._good_for_s = good_for_s
        self._turn = asyncio.Lock()
        self._begun = self._ended = 0
        self._last: _Made[T] | None = None

    async def get(self, make: Callable[[], Awaitable[T]], version: Callable[[], object] = lambda: None) -> T:
        """A good answer, or one whose making began after this question. Versions are compared by `==`.

        Raises what `make` raised, to all who waited for it.
        """
        if (kept := self._good(version)) is not None:
            return kept
        begun, ended = self._begun, self._ended
        async with self._turn:
            last = self._last
            if last is not None and (last.number > begun or (last.raised is not None and last.number > ended)):
                return _told(last)
            if (kept := self._good(version)) is not None:
                return kept
            if last is not None and (rest_s := last.rested_at - self._clock.monotonic()) > 0:
                await self._clock.sleep(rest_s)
            self._last = await self._make(make, version())
            self._ended = self._last.number
            return _told(self._last)

    def _good(self, version: Callable[[], object]) -> T | None:
        last = self._last
        return last.answer if last is not None and self._clock.monotonic() <= last.good_until and last.version == version() else None

    async def _make(self, make: Callable[[], Awaitable[T]], version: object) -> _Made[T]:
        self._begun += 1
        number, began = self._begun, self._clock.monotonic()
        answer: T | None = None
        raised: Exception | None = None
        try:
            answer = await make()
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who waited
            raised = error
        ended = self._clock.monotonic()
        rest_s = TIMES_COST * (ended - began)
        good_until = began + max(self._good_for_s, rest_s)
        return _Made(number, version, good_until, ended + min(RESTS_AT_MOST_S, rest_s), answer, raised)


def _told(made: _Made[T]) -> T:
    if made.raised is not None:
        raise made.raised
    assert made.answer is not None
    return made.answer
