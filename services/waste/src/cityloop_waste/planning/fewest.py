"""How many vehicles a day needs at least, whatever the plan: by what they may take in a day, and by the time that all of it takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from cityloop_waste.planning.model import Clock, Loads, Model

_NO_LIMIT = 1 << 50


@dataclass(frozen=True, slots=True)
class Need:
    """Something that the stops use up, and the most that each vehicle has of it. `total` is never more than a plan for them takes.

    A stop less makes the total fall by at most the largest of `most`.
    """

    total: int
    most: tuple[int, ...]

    def largest_first(self) -> int:
        """Vehicles that are enough if those with the most go first; all when not even they are."""
        left = self.total
        for count, most in enumerate(sorted(self.most, reverse=True)):
            if left <= 0:
                return count
            left -= most
        return len(self.most)

    def all_as_the_largest(self) -> int:
        """Vehicles that are enough if each had as much as the largest: with a stop less at most one fewer."""
        return -(-self.total // max(1, *self.most))


def fewest_vehicles(model: Model, left_out: Collection[int] = ()) -> int:
    """No plan that serves every stop without a prize of its own (but those left out) uses fewer vehicles.

    Capacity (where nobody unloads on the way), caps of the day, and time: of each stop its service and the shortest way on, of each
    trip but the last of a vehicle an unload. Stops that no vehicle could take do not count; at most all vehicles are needed.
    """
    stops = [node for node in range(1, model.copies_from) if node not in model.prizes and node not in left_out]
    return max((need.largest_first() for need in needs(model, stops)), default=0)


def needs(model: Model, stops: Sequence[int]) -> list[Need]:
    """What serving these stops uses up."""
    found = [_need(cap.added, stops, tuple(_NO_LIMIT if most is None else most for most in cap.most)) for cap in model.caps]
    if model.copies_from == model.starts_from:
        found += [_need(loads.added, stops, _rooms(loads)) for loads in model.loads]
    if model.clock is not None:
        found.append(_hours(model, model.clock, stops))
    return [Need(1, (1,) * model.vehicles), *found] if stops else []


def _need(added: Sequence[int], stops: Sequence[int], most: tuple[int, ...]) -> Need:
    return Need(sum(added[node] for node in stops if added[node] <= max(most)), most)


def _rooms(loads: Loads) -> tuple[int, ...]:
    """What vehicles without unloads can still take."""
    begin = loads.begin or (0,) * len(loads.capacity)
    return tuple(max(0, capacity - aboard) for capacity, aboard in zip(loads.capacity, begin, strict=True))


def _hours(model: Model, clock: Clock, stops: Sequence[int]) -> Need:
    """Seconds. With U trips and K vehicles at least U - K unloads come on the way: U of them count, and each vehicle has one more."""
    onward = _onward(clock, range(model.end))
    copies = range(model.copies_from, model.starts_from)
    unload_s = min((onward[node] for node in copies), default=0)
    overtime = clock.overtime_s or (0,) * model.vehicles
    most = tuple(
        max(0, shift.end_s - shift.start_s + late - onward[model.start(vehicle)] + unload_s)
        for vehicle, (shift, late) in enumerate(zip(clock.shifts, overtime, strict=True))
    )
    possible = [node for node in stops if onward[node] + unload_s <= max(most)]
    trips = max((-(-_need(loads.added, possible, loads.capacity).total // max(1, *loads.capacity)) for loads in model.loads), default=0)
    return Need(sum(onward[node] for node in possible) + trips * unload_s, most)


def _onward(clock: Clock, nodes: Sequence[int]) -> list[int]:
    """Of each node the shortest arc that is not forbidden, its service included; where all are: as if it took no time.

    A stop with nowhere to go is in no plan; its 0 seconds are no claim.
    """
    seconds = np.array(clock.seconds, np.int64)
    seconds[seconds > clock.horizon_s] = _NO_LIMIT
    np.fill_diagonal(seconds, _NO_LIMIT)
    least = seconds.min(1)
    return [0 if least[node] == _NO_LIMIT else int(least[node]) for node in nodes]
