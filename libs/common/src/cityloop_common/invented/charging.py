"""Charging stations of the invented city: most stand in a car park, some at a street of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from cityloop_common.invented.parking import car_parks, names
from cityloop_common.invented.shapes import MARK, MARK_EN, Spot, SpotKind, around, metres, position
from cityloop_common.invented.siting import Ground, beside, from_streets_m, nearest_m, paths

_IN_CAR_PARK = (  # by station; 0 stands alone. Station 7 has car park 9 for itself, car park 13 has two stations
    1, 2, 4, 5, 0, 6, 9, 7, 10, 0, 12, 13, 13, 14, 0, 16, 17, 18, 19, 0,
    20, 32, 23, 24, 0, 25, 26, 28, 29, 0, 31, 0, 33, 59, 0, 37, 40, 0, 42, 0,
)  # fmt: skip
_FAR_ONES = 6  # of those alone are far from every car park
_FAR_M, _APART_M = 215.0, 250.0
_BESIDE_M = 90.0  # from every car park: those alone are in none
_IN_M = (12.0, 52.0)  # from the position of their car park
_OFF_STREET_M, _OFF_KERB_M = 12.0, 5.0


@cache
def stations() -> tuple[Spot, ...]:
    """The charging stations, numbers 1 to 40."""
    inside = [_inside(number, car_park) for number, car_park in enumerate(_IN_CAR_PARK, 1) if car_park]
    numbers = [number for number, car_park in enumerate(_IN_CAR_PARK, 1) if not car_park]
    alone = list[Spot]()
    for number in numbers:
        away_m = _FAR_M if len(alone) < _FAR_ONES else _BESIDE_M
        alone.append(_alone(number, (*inside, *alone), away_m))
    return tuple(sorted((*inside, *alone), key=lambda spot: spot.number))


def _name(of: str) -> str:
    return f"{of}充电站{MARK}"


def _name_en(of: str) -> str:
    return f"{of} Charging Station{MARK_EN}"


def _inside(number: int, car_park: int) -> Spot:
    park, named = car_parks()[car_park - 1], names()[car_park]
    clear_m = _OFF_KERB_M if park.kerbside else _OFF_STREET_M
    nearest_m, farthest_m = _IN_M
    points = around(metres(park.position), f"station {number}", nearest_m=nearest_m, farthest_m=farthest_m)
    at = next(at for at in points if from_streets_m(at) > clear_m)
    second = car_park in _IN_CAR_PARK[: number - 1]
    name, name_en = (f"{named.of}二号", f"{named.of_en} Second") if second else (named.of, named.of_en)
    return Spot(number, SpotKind.STATION, _name(name), _name_en(name_en), position(at), park.street, car_park=car_park)


def _alone(number: int, others: Sequence[Spot], away_m: float) -> Spot:
    """A station at a street that has none of its name yet, so far from every car park."""
    parks = [metres(park.position) for park in car_parks()]
    called = {other.name for other in others}
    sites = [
        site
        for street, points in paths()
        if _name(street.name.removesuffix(MARK)) not in called
        for site in beside(street, points, nearest_m=14.0, farthest_m=25.0)
        if nearest_m(site[0], parks) > away_m
    ]
    at, street = Ground(sites, [metres(other.position) for other in others], apart_m=_APART_M, clear_m=_OFF_STREET_M).take()
    name, name_en = street.name.removesuffix(MARK), street.name_en.removesuffix(MARK_EN)
    return Spot(number, SpotKind.STATION, _name(name), _name_en(name_en), position(at), street.id)
