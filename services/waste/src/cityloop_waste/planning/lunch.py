"""The common lunch by the compressed clock: its hour is cut out of the axis, routes are planned as if nobody ate, then it is put back.

Tried on a public instance of 277 stops: with the engine's own break intervals 2 solutions in 15 s, on the compressed clock 605. What
it gives is always legal, and slightly strict: everybody eats as soon as lunch may begin, nobody later by choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cityloop_waste.planning.domain import LATEST_S, Lunch, Window

ANY_TIME = (Window(0, LATEST_S),)


@dataclass(frozen=True, slots=True)
class Axis:
    """The day without its lunch; without a lunch it is the day itself."""

    lunch: Lunch | None = None

    def cut(self, at_s: int) -> int:
        """An instant of the day on the axis; every instant of the hour that is cut out falls on its beginning."""
        if self.lunch is None or at_s <= self.lunch.earliest_s:
            return at_s
        return max(self.lunch.earliest_s, at_s - self.lunch.duration_s)

    def shift(self, shift: Window) -> Window:
        """A shift on the axis."""
        return Window(self.cut(shift.start_s), self.cut(shift.end_s))

    def starts(self, windows: Sequence[Window], service_s: int) -> tuple[Window, ...]:
        """When on the axis a service may start; no windows: at any time. Nothing in the answer: never."""
        lunch = self.lunch
        if lunch is None or (not windows and self._ends_in_time(lunch.earliest_s, service_s)):
            return apart(windows) or ANY_TIME
        before = Window(0, min(lunch.earliest_s, lunch.latest_s - service_s))
        after = Window(lunch.earliest_s + lunch.duration_s, LATEST_S + lunch.duration_s)
        open_s = windows or ANY_TIME
        morning = meet(open_s, (before,))
        evening = (Window(each.start_s - lunch.duration_s, each.end_s - lunch.duration_s) for each in meet(open_s, (after,)))
        return apart((*morning, *evening))

    def begins_before(self, at_s: int, windows: Sequence[Window], service_s: int) -> bool:
        """Whether a service may begin at this instant and end before lunch must: also at the very beginning of lunch."""
        within = not windows or any(window.start_s <= at_s <= window.end_s for window in windows)
        return within and self._ends_in_time(at_s, service_s)

    def _ends_in_time(self, at_s: int, service_s: int) -> bool:
        return self.lunch is None or at_s + service_s <= self.lunch.latest_s


def apart(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Windows in order, those that touch made one."""
    merged: list[Window] = []
    for window in sorted(windows, key=lambda each: (each.start_s, each.end_s)):
        if merged and window.start_s <= merged[-1].end_s + 1:
            merged[-1] = Window(merged[-1].start_s, max(merged[-1].end_s, window.end_s))
        else:
            merged.append(window)
    return tuple(merged)


def meet(some: Sequence[Window], others: Sequence[Window]) -> tuple[Window, ...]:
    """What is in both."""
    common = (Window(max(a.start_s, b.start_s), min(a.end_s, b.end_s)) for a in some for b in others)
    return apart([window for window in common if window.start_s <= window.end_s])
