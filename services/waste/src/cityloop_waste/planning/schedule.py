"""When a truck is where: the clock of one tour, from the order of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning.domain import Window


@dataclass(frozen=True, slots=True)
class Call:
    """Somewhere a truck stops for `service_s`; without windows it may begin at any time.

    `place` is the row of the matrices.
    """

    place: int
    service_s: int
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """Arrival, start of the service and departure at one call."""

    arrival_s: int
    start_s: int
    departure_s: int


def tour(calls: Sequence[Call], duration_s: Sequence[Sequence[int | None]], shift: Window) -> list[Times] | None:
    """The clock of a tour that is back as early as it can be, and leaves as late as that allows.

    Starting each service as early as possible loses nothing: no later start opens a window or a road. None when a leg has no
    road, a service cannot start within its windows, or the tour does not fit into the shift.
    """
    legs = [duration_s[origin.place][target.place] for origin, target in pairwise(calls)]
    travel = [leg for leg in legs if leg is not None]
    if len(travel) < len(legs):
        return None
    earliest = _forward(calls, travel, shift.start_s)
    if earliest is None or earliest[-1].departure_s > shift.end_s:
        return None
    return _forward(calls, travel, _latest_start(calls, travel, earliest))


def _forward(calls: Sequence[Call], travel: Sequence[int], starts_s: int) -> list[Times] | None:
    times: list[Times] = []
    arrival = starts_s
    for call, leg in zip(calls, (*travel, 0), strict=True):
        start = service_start(call.windows, arrival)
        if start is None:
            return None
        times.append(Times(arrival, start, start + call.service_s))
        arrival = times[-1].departure_s + leg
    return times


def service_start(windows: Sequence[Window], arrival_s: int) -> int | None:
    """When a service begins for who arrives at `arrival_s`; None after the last window."""
    if not windows:
        return arrival_s
    return min((max(arrival_s, window.start_s) for window in windows if arrival_s <= window.end_s), default=None)


def _latest_start(calls: Sequence[Call], travel: Sequence[int], earliest: Sequence[Times]) -> int:
    """The latest departure that changes neither the end of the tour nor the window that each service falls into."""
    latest = earliest[-1].start_s
    for call, leg, times in reversed(list(zip(calls[:-1], travel, earliest[:-1], strict=True))):
        latest = latest - leg - call.service_s
        closing = [window.end_s for window in call.windows if window.start_s <= times.start_s <= window.end_s]
        if closing:
            latest = min(latest, max(closing))
    return latest
