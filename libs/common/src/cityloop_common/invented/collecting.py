"""What the invented city's waste service drives to: collection points along the streets, the depot, the sites at the edge of town."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cityloop_common.invented.parking import car_parks
from cityloop_common.invented.roads import WAYS_OUT
from cityloop_common.invented.shapes import (
    MARK,
    MARK_EN,
    Metres,
    Spot,
    SpotKind,
    Street,
    along,
    along_m,
    chance,
    length_m,
    metres,
    position,
)
from cityloop_common.invented.siting import KERB_M, nearest, nearest_m, paths, takes_trucks

COLLECTION_POINTS = 300
_AT_BAYS_M = ((9.0, 1), (-13.0, -1))  # along the street from kerbside bays, and the side: left 1, right -1
_CORNER_M, _APART_M, _SHIFT_M = 22.0, 30.0, 20.0
_RING_KMH, _RING_WEIGHT = 60, 0.3  # few people live along the ring, nobody along the ways out
_DEPOT = ("环卫停车场", "Sanitation Depot", Metres(2350, -2066))
_SITES = (
    (SpotKind.RECYCLER, "再生资源分拣中心", "Recycling Centre", Metres(2650, -1830)),
    (SpotKind.BIOGAS, "厨余沼气厂", "Kitchen Waste Biogas Plant", Metres(2830, -1681)),
    (SpotKind.INCINERATOR, "垃圾焚烧发电厂", "Waste Incineration Plant", Metres(3000, -2159)),
    (SpotKind.LANDFILL, "北山填埋场", "North Hill Landfill", Metres(3020, 2307)),
    (SpotKind.TRANSFER, "城西转运站", "West Transfer Station", Metres(-2505, -390)),
)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where a collection point stands: so far along a street, at a point beside it."""

    street: Street
    at_m: float
    at: Metres


@cache
def collection_points() -> tuple[Spot, ...]:
    """The collection points, numbers 1 to 300, street by street; the largest truck reaches each."""
    stops = list(_at_kerbside_bays())
    for street, points, at_m in _evenly(COLLECTION_POINTS - len(stops)):
        stops.append(_free(street, points, at_m, [stop.at for stop in stops]))
    counted: Counter[str] = Counter()
    spots = []
    for number, stop in enumerate(sorted(stops, key=lambda stop: (stop.street.id, stop.at_m)), 1):
        counted[stop.street.name] += 1
        spots.append(_point(number, counted[stop.street.name], stop))
    return tuple(spots)


def depot() -> Spot:
    """Where the collection trucks start and end."""
    return _site(SpotKind.DEPOT, *_DEPOT)


def sites() -> tuple[Spot, ...]:
    """Where loads go: recycler, biogas plant, incinerator, landfill, transfer station; each is number 1 of its kind."""
    return tuple(_site(*each) for each in _SITES)


def _at_kerbside_bays() -> Iterator[_Stop]:
    """Two at every kerbside car park: while a truck serves them, its bays are closed."""
    at_id = {street.id: (street, points) for street, points in paths()}
    for park in car_parks():
        if park.kerbside:
            street, points = at_id[park.street]
            bays_m = along_m(metres(park.position), points)
            for off_m, side in _AT_BAYS_M:
                yield _stop(street, points, bays_m + off_m, side)


def _evenly(count: int) -> Iterator[tuple[Street, tuple[Metres, ...], float]]:
    """Places at equal distances along all streets that trucks may enter, one street after the other."""
    pieces = [(street, points, length_m(points) * _weight(street)) for street, points in paths() if _weight(street)]
    gap_m = sum(weighted_m for _, _, weighted_m in pieces) / count
    next_m = gap_m / 2
    for street, points, weighted_m in pieces:
        while next_m < weighted_m:
            yield street, points, next_m / _weight(street)
            next_m += gap_m
        next_m -= weighted_m


def _weight(street: Street) -> float:
    if not takes_trucks(street) or street.name.removesuffix(MARK) in WAYS_OUT:
        return 0.0
    return _RING_WEIGHT if street.speed_kmh == _RING_KMH else 1.0


def _free(street: Street, points: tuple[Metres, ...], at_m: float, taken: list[Metres]) -> _Stop:
    """The place or the nearest along the street that is not at a crossing and not beside another point."""
    last_m = length_m(points) - _CORNER_M
    for step in range(40):
        shifted_m = at_m + (step + 1) // 2 * _SHIFT_M * (1 if step % 2 else -1)
        stop = _stop(street, points, min(last_m, max(_CORNER_M, shifted_m)), 1 if chance(f"side {street.id} {step}") < 0.5 else -1)
        if nearest_m(stop.at, taken) > _APART_M:
            return stop
    raise ValueError(f"{street.id} is full")


def _stop(street: Street, points: tuple[Metres, ...], at_m: float, side: int) -> _Stop:
    return _Stop(street, at_m, along(points, at_m, left_m=side * KERB_M))


def _point(number: int, counted: int, stop: _Stop) -> Spot:
    name, name_en = stop.street.name.removesuffix(MARK), stop.street.name_en.removesuffix(MARK_EN)
    return Spot(
        number=number,
        kind=SpotKind.COLLECTION,
        name=f"{name}第{counted}投放点{MARK}",
        name_en=f"{name_en} Collection Point {counted}{MARK_EN}",
        position=position(stop.at),
        street=stop.street.id,
    )


def _site(kind: SpotKind, name: str, name_en: str, on: Metres) -> Spot:
    """A site at the place of a street that is nearest to `on`."""
    street = nearest(on)
    points = next(points for other, points in paths() if other is street)
    return Spot(1, kind, name + MARK, name_en + MARK_EN, position(along(points, along_m(on, points))), street.id)
