"""The best plan of a small town: every set of stops, every order, every unload on the way, every lunch. It knows no engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

from cityloop_waste.planning.domain import Minimise, Plan, Problem, Stop, Truck, VisitKind, Window
from cityloop_waste.roads.domain import Travel

Worth = tuple[int, int]
"""Stops without a prize that are left out, then what the plan costs: ways, trucks, prizes of what is left out. Overtime is free."""


@dataclass(frozen=True, slots=True)
class Label:
    """A truck somewhere on its way. `eaten`: lunch is over, or it needs none."""

    cost: int
    now_s: int
    kg: int
    dm3: int
    eaten: bool

    def beats(self, other: Label) -> bool:
        """Whether all that the other can still do can be done from here, as cheaply."""
        as_cheap = self.cost <= other.cost and self.now_s <= other.now_s
        return as_cheap and self.kg <= other.kg and self.dm3 <= other.dm3 and self.eaten >= other.eaten


def worth(of: Problem, by: Travel, plan: Plan) -> Worth:
    """What a plan is worth."""
    left = {each.stop for each in plan.unserved}
    out = sum(1 for route in plan.routes if route.visits[0].kind is VisitKind.DEPOT_START)
    way = plan.distance_m if of.options.minimise is Minimise.DISTANCE else _on_the_road(of, by, plan)
    return _worth(of, left, way + out * of.options.vehicle_cost_m)


def best(of: Problem, by: Travel) -> Worth:
    """What no plan can better, totals of sites aside."""
    names = [stop.id for stop in of.stops]
    alone = [_Lone(of, by, truck).costs() for truck in of.trucks if of.stream in truck.streams]
    together: dict[int, int] = reduce(_both, alone, {0: 0})
    sets = ((mask, {name for number, name in enumerate(names) if not mask >> number & 1}) for mask in together)
    return min(_worth(of, left, together[mask]) for mask, left in sets)


def _worth(of: Problem, left: set[str], cost: int) -> Worth:
    missed = [stop for stop in of.stops if stop.id in left]
    return sum(1 for stop in missed if stop.prize_m is None), cost + sum(stop.prize_m or 0 for stop in missed)


def _both(some: dict[int, int], others: dict[int, int]) -> dict[int, int]:
    """The cheapest ways to serve each set of stops by two trucks (or fleets)."""
    made: dict[int, int] = {}
    for mask, cost in some.items():
        for other, more in others.items():
            if not mask & other and cost + more < made.get(mask | other, cost + more + 1):
                made[mask | other] = cost + more
    return made


def _on_the_road(of: Problem, by: Travel, plan: Plan) -> int:
    """Seconds of all ways: what is not a visit or a wait or lunch."""
    total = 0
    for route in plan.routes:
        between = zip(route.visits, route.visits[1:], strict=False)
        total += sum(visit.arrival_s - before.departure_s for before, visit in between)
        lunch = route.lunch
        on_the_way = lunch is not None and any(
            before.departure_s <= lunch.start_s and lunch.end_s <= visit.arrival_s
            for before, visit in zip(route.visits, route.visits[1:], strict=False)
        )
        total -= lunch.end_s - lunch.start_s if lunch is not None and on_the_way else 0
    return total


class _Lone:
    """One truck: the cheapest day for each set of stops (a mask) that it can serve."""

    def __init__(self, of: Problem, by: Travel, truck: Truck) -> None:
        self._of, self._truck, self._lunch = of, truck, of.lunch
        self._seconds = by.duration_s
        self._prices = by.distance_m if of.options.minimise is Minimise.DISTANCE else by.duration_s
        first_site = 1 + len(of.stops)
        self._sites = [(row, site) for row, site in enumerate(of.sites, first_site) if of.stream in site.streams]
        underway = [each.id for each in of.trucks if each.underway is not None]
        self._begin = first_site + len(of.sites) + underway.index(truck.id) if truck.underway is not None else 0

    def costs(self) -> dict[int, int]:
        """The cost for each mask that can be served; 0 for a truck that stays at the depot."""
        out = self._of.options.vehicle_cost_m if self._truck.underway is None else 0
        labels: dict[int, dict[int, list[Label]]] = {0: {self._begin: list(self._first())}}
        found = {0: 0} if self._truck.underway is None else {}
        for mask in range(1 << len(self._of.stops)):
            here = labels.get(mask, {})
            for place in list(here):
                for label in list(here[place]):
                    self._tip(label, place, here)
            for place, some in here.items():
                for label in some:
                    self._go_on(label, place, mask, labels)
            home = [cost for place, some in here.items() for label in some for cost in self._home(label, place)]
            if home and (mask or self._truck.underway is not None):
                found[mask] = min(home) + out
        return found

    def _first(self) -> Iterator[Label]:
        """It leaves as soon as it may; or later and needs no lunch."""
        truck, on_board = self._truck, self._truck.underway
        start_s = truck.shift.start_s if on_board is None else max(truck.shift.start_s, on_board.at_s)
        kg, dm3 = (on_board.load_kg, on_board.load_dm3) if on_board is not None else (0, 0)
        needs_none = self._lunch is None or start_s >= self._lunch.earliest_s
        yield Label(0, start_s, kg, dm3, needs_none)
        if self._lunch is not None and on_board is None and not needs_none:
            yield Label(0, self._lunch.earliest_s, kg, dm3, eaten=True)

    def _tip(self, label: Label, place: int, here: dict[int, list[Label]]) -> None:
        if label.kg or label.dm3:
            for row, site in self._sites:
                for there in self._ways(label, place, row):
                    for done in _work(there, site.service_s, site.opening):
                        _keep(here.setdefault(row, []), replace(done, kg=0, dm3=0))

    def _go_on(self, label: Label, place: int, mask: int, labels: dict[int, dict[int, list[Label]]]) -> None:
        for number, stop in enumerate(self._of.stops):
            served = mask | 1 << number
            kg, dm3 = label.kg + stop.demand_kg, label.dm3 + stop.demand_dm3
            fits = kg <= self._truck.capacity_kg and dm3 <= self._truck.capacity_dm3
            if served != mask and fits and self._may(stop) and self._in_its_day(served):
                for there in self._ways(label, place, number + 1):
                    for done in _work(there, stop.service_s, stop.windows):
                        _keep(labels.setdefault(served, {}).setdefault(number + 1, []), replace(done, kg=kg, dm3=dm3))

    def _home(self, label: Label, place: int) -> Iterator[int]:
        """What the whole day costs, if it comes home empty, in time, and has eaten if it must."""
        if not (label.kg or label.dm3):
            for there in self._ways(label, place, 0):
                fed = there.eaten or self._lunch is None or there.now_s <= self._lunch.latest_s
                if fed and there.now_s <= self._truck.shift.end_s + self._truck.overtime_s:
                    yield there.cost

    def _ways(self, label: Label, place: int, row: int) -> Iterator[Label]:
        """At the next place: straight on, or with lunch on the road or on arrival."""
        seconds, price = self._seconds[place][row], self._prices[place][row]
        if seconds is None or price is None:
            return
        there = replace(label, cost=label.cost + price, now_s=label.now_s + seconds)
        yield there
        lunch = self._lunch
        if not label.eaten and lunch is not None and label.now_s <= lunch.latest_s:
            yield replace(there, now_s=max(there.now_s, lunch.earliest_s) + lunch.duration_s, eaten=True)

    def _may(self, stop: Stop) -> bool:
        return not stop.trucks or self._truck.id in stop.trucks

    def _in_its_day(self, mask: int) -> bool:
        stops = [stop for number, stop in enumerate(self._of.stops) if mask >> number & 1]
        day, gone = self._truck.day, self._truck.underway.taken if self._truck.underway is not None else None
        added = (
            sum(each.demand_kg for each in stops),
            sum(each.demand_dm3 for each in stops),
            len(stops),
            sum(each.containers for each in stops),
        )
        before = (0, 0, 0, 0) if gone is None else tuple(each or 0 for each in (gone.kg, gone.dm3, gone.stops, gone.containers))
        caps = (day.kg, day.dm3, day.stops, day.containers)
        return all(most is None or not more or more + past <= most for most, more, past in zip(caps, added, before, strict=True))


def _work(label: Label, service_s: int, hours: tuple[Window, ...]) -> Iterator[Label]:
    """The service done as soon as it may begin; nothing after the last window."""
    starts = [max(label.now_s, window.start_s) for window in hours if label.now_s <= window.end_s] if hours else [label.now_s]
    if starts:
        yield replace(label, now_s=min(starts) + service_s)


def _keep(labels: list[Label], new: Label) -> None:
    """Adds a label unless another beats it; drops those that it beats."""
    if not any(label.beats(new) for label in labels):
        labels[:] = [*(label for label in labels if not new.beats(label)), new]
