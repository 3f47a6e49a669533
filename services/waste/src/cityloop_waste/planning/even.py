"""Even hours: stops move from the truck that is out longest to others, as far as the way may be longer for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cityloop_waste.planning.admission import Day
from cityloop_waste.planning.start import Tour

_MOST_MOVES = 2_000


def even(day: Day, routes: Sequence[Sequence[int]], percent: int, over: Callable[[], bool]) -> list[list[int]]:
    """Routes of rows with hours that are more even, for at most `percent` more cost; no truck more, none less, no stop left out.

    One stop at a time goes from the longest route to where it fits; the move that makes the longer of the two shortest is made,
    as long as there is one.
    """
    tours = [Tour(day, truck) for truck in day.trucks]
    for tour, rows in zip(tours, routes, strict=True):
        tour.set(list(rows))
    allowed = sum(tour.cost() for tour in tours) * (100 + percent) // 100
    for _ in range(_MOST_MOVES):
        used = [tour for tour in tours if tour.rows]
        if over() or len(used) < 2:
            break
        longest = max(used, key=Tour.hours_s)
        spent = sum(tour.cost() for tour in tours)
        best = min(_moves(longest, used, allowed - spent), key=lambda move: move[0], default=None)
        if best is None:
            break
        _, at, target, to = best
        row = longest.rows[at]
        longest.set([*longest.rows[:at], *longest.rows[at + 1 :]])
        target.put(to, (row,))
    return [tour.rows for tour in tours]


def _moves(longest: Tour, used: Sequence[Tour], free: int) -> list[tuple[int, int, Tour, int]]:
    """Moves of one stop that leave the longer of both routes shorter than the longest is: its hours then, and what goes where."""
    found: list[tuple[int, int, Tour, int]] = []
    hours, cost = longest.hours_s(), longest.cost()
    for at, row in enumerate(longest.rows):
        rest = longest.without(at)
        if rest is None:
            continue
        saved = cost - rest.cost()
        for target in used:
            if target is longest or not target.takes(row):
                continue
            cheapest = min(target.between(row), default=None)
            if cheapest is None or cheapest[0] - saved > free:
                continue
            longer = max(rest.hours_s(), target.with_stop(cheapest[1], row).hours_s())
            if longer < hours:
                found.append((longer, at, target, cheapest[1]))
    return found
