"""Which of equal trucks drives which route: the one that served most of its stops the day before. It costs nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from cityloop_waste.planning.admission import Day, kind


def same_trucks(day: Day, routes: Sequence[Sequence[int]]) -> list[list[int]]:
    """The routes of rows, one a truck, given among equal trucks to who knows them best. Without a day before nothing changes."""
    given = [list(route) for route in routes]
    known = {each.truck: set(each.stops) for each in day.problem.yesterday}
    named = {truck for stop in day.problem.stops for truck in stop.trucks}
    alike: dict[tuple[object, ...], list[int]] = {}
    for number, truck in enumerate(day.trucks):
        if truck.underway is None and truck.id not in named:
            alike.setdefault(kind(truck), []).append(number)
    for numbers in alike.values():
        stops = [{day.stop(row).id for row in routes[number] if day.is_stop(row)} for number in numbers]
        shared = np.array([[len(known.get(day.trucks[number].id, set()) & each) for each in stops] for number in numbers])
        if shared.any():
            for truck, route in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
                given[numbers[truck]] = list(routes[numbers[route]])
    return given
