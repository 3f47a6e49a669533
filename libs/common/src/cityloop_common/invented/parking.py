"""Car parks of the invented city."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from cityloop_common.invented.names import KERBSIDE, KNOWN, OFF_STREET, Named
from cityloop_common.invented.shapes import MARK, MARK_EN, Spot, SpotKind, metres, position
from cityloop_common.invented.siting import KERB_M, Ground, Site, beside, nearest, paths, takes_trucks

CAR_PARKS = 60
_EVERY_THIRD = 3  # of the car parks after the known ones is kerbside
_APART_M = 160.0
_YARD_M = 25.0  # from every street
_TOWN_KMH = 50


def names() -> dict[int, Named]:
    """What the car parks are called, by number."""
    first = len(KNOWN) + 1
    along = range(first + _EVERY_THIRD - 1, CAR_PARKS, _EVERY_THIRD)
    yards = (number for number in range(first, CAR_PARKS + 1) if number not in along)
    return (
        {number: known.named for number, known in enumerate(KNOWN, 1)}
        | dict(zip(along, KERBSIDE, strict=True))
        | dict(zip(yards, OFF_STREET, strict=True))
    )


@cache
def car_parks() -> tuple[Spot, ...]:
    """The car parks, numbers 1 to 60; the first twelve are those of parking's first sample."""
    found: dict[Named, Site] = {known.named: (metres(known.position), nearest(metres(known.position))) for known in KNOWN}
    for named in KERBSIDE:  # first: they have less choice
        found[named] = Ground(_along(named.of), [at for at, _ in found.values()], apart_m=_APART_M).take()
    yards = Ground(_yards(), [at for at, _ in found.values()], apart_m=_APART_M, clear_m=_YARD_M)
    for named in OFF_STREET:
        found[named] = yards.take()
    kerbside = {known.named for known in KNOWN if known.kerbside} | set(KERBSIDE)
    return tuple(_spot(number, named, found[named], kerbside=named in kerbside) for number, named in sorted(names().items()))


def _along(name: str) -> Iterator[Site]:
    """Bays along a street of that name, where collection trucks pass too."""
    for street, points in paths():
        if street.name == name + MARK and takes_trucks(street):
            yield from beside(street, points, nearest_m=KERB_M, farthest_m=KERB_M)


def _yards() -> Iterator[Site]:
    """Yards and garages at the streets of the town."""
    for street, points in paths():
        if street.speed_kmh <= _TOWN_KMH:
            yield from beside(street, points, nearest_m=30.0, farthest_m=60.0)


def _spot(number: int, named: Named, site: Site, *, kerbside: bool) -> Spot:
    at, street = site
    return Spot(
        number=number,
        kind=SpotKind.CAR_PARK,
        name=f"{named.of}{named.what}{MARK}",
        name_en=f"{named.of_en}{named.what_en}{MARK_EN}",
        position=position(at),
        street=street.id,
        kerbside=kerbside,
    )
