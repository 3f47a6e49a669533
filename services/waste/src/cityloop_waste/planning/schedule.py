"""When a truck is where: the clock of one tour, from the order of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning.domain import Lunch, Window
from cityloop_waste.planning.lunch import Axis


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


@dataclass(frozen=True, slots=True)
class Tour:
    """The times of its calls, and its lunch when it takes one."""

    times: tuple[Times, ...]
    lunch: Window | None = None


def tour(
    calls: Sequence[Call], duration_s: Sequence[Sequence[int | None]], shift: Window, *, lunch: Lunch | None = None, waits: bool = True
) -> Tour | None:
    """The clock of a tour that is back as early as it can be, and leaves as late as that allows (not `waits`: at once).

    Starting each service as early as possible loses nothing: no later start opens a window or a road. Who cannot be back before
    lunch must have begun eats as soon as it may begin. None when a leg has no road, a service cannot start within its windows, or
    the tour does not fit into the shift.
    """
    legs = [duration_s[origin.place][target.place] for origin, target in pairwise(calls)]
    travel = [leg for leg in legs if leg is not None]
    if len(travel) < len(legs):
        return None
    times = _within(calls, travel, shift, waits=waits)
    if lunch is None:
        return None if times is None else Tour(tuple(times))
    if times is not None and (times[-1].arrival_s <= lunch.latest_s or times[0].departure_s >= lunch.earliest_s):
        return Tour(tuple(times))
    axis = Axis(lunch)
    shorter = []
    for call in calls:
        starts = axis.starts(call.windows, call.service_s)
        if not starts:
            return None
        shorter.append(Call(call.place, call.service_s, starts))
    cut = _within(shorter, travel, axis.shift(shift), waits=waits)
    return None if cut is None else _with_lunch(calls, cut, axis, lunch)


def _within(calls: Sequence[Call], travel: Sequence[int], shift: Window, *, waits: bool) -> list[Times] | None:
    earliest = _forward(calls, travel, shift.start_s)
    if earliest is None or earliest[-1].departure_s > shift.end_s:
        return None
    return _forward(calls, travel, _latest_start(calls, travel, earliest)) if waits else earliest


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


def _with_lunch(calls: Sequence[Call], cut: Sequence[Times], axis: Axis, lunch: Lunch) -> Tour:
    """Times of the axis as times of the day, lunch put back as soon as it may begin."""
    taken: Window | None = None
    eaten = cut[0].departure_s >= lunch.earliest_s  # it leaves after lunch
    times: list[Times] = []
    for call, at in zip(calls, cut, strict=True):
        before_s = times[-1].departure_s if times else 0
        if not eaten and at.arrival_s > lunch.earliest_s:  # on the road, or before it sets off
            taken, eaten = _from(max(lunch.earliest_s, before_s), lunch), True
        arrival = at.arrival_s + (lunch.duration_s if eaten else 0)
        begins_now = at.start_s == lunch.earliest_s and axis.begins_before(at.start_s, call.windows, call.service_s)
        if not eaten and at.start_s >= lunch.earliest_s and not begins_now:  # while it waits
            taken, eaten = _from(max(lunch.earliest_s, arrival), lunch), True
        start = at.start_s + (lunch.duration_s if eaten else 0)
        times.append(Times(arrival, start, start + call.service_s))
    return Tour(tuple(times), taken)


def _from(start_s: int, lunch: Lunch) -> Window:
    return Window(start_s, start_s + lunch.duration_s)


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
