"""Where something may stand in the invented city: sites beside its streets, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from cityloop_common.invented.roads import streets
from cityloop_common.invented.shapes import Metres, Street, along, apart_m, chance, from_line_m, length_m, path

KERB_M = 3.0  # from the middle of a street to what stands along it
HEAVIEST_KG = 18_000  # the largest collection truck with its load
Site = tuple[Metres, Street]  # a point and the street that it stands at
_CORNER_M, _STEP_M = 70.0, 45.0
_ENOUGH_M = 450.0  # farther apart than this is no better
_CENTRE = Metres(0.0, 0.0)


@cache
def paths() -> tuple[tuple[Street, tuple[Metres, ...]], ...]:
    """Every street with its vertices in the plane."""
    return tuple((street, path(street)) for street in streets())


def nearest(at: Metres) -> Street:
    """The street that a point is nearest to."""
    return min(paths(), key=lambda each: (from_line_m(at, each[1]), each[0].id))[0]


def from_streets_m(at: Metres) -> float:
    """How far a point is from the nearest street."""
    return min(from_line_m(at, points) for _, points in paths())


def nearest_m(at: Metres, others: Iterable[Metres]) -> float:
    """How far a point is from the nearest of others; infinite when there is none."""
    return min((apart_m(at, other) for other in others), default=float("inf"))


def takes_trucks(street: Street) -> bool:
    """Whether the heaviest collection truck may enter."""
    return street.max_mass_kg is None or street.max_mass_kg >= HEAVIEST_KG


def beside(street: Street, points: Sequence[Metres], *, nearest_m: float, farthest_m: float) -> Iterator[Site]:
    """Sites on both sides of a street, so far from its line, away from its ends."""
    whole_m = length_m(points)
    for step in range(int(max(0.0, whole_m - 2 * _CORNER_M) / _STEP_M) + 1):
        for side in (1, -1):
            off_m = nearest_m + (farthest_m - nearest_m) * chance(f"beside {street.id} {step} {side}")
            at_m = _CORNER_M + step * _STEP_M if whole_m > 2 * _CORNER_M else whole_m / 2
            yield along(points, at_m, left_m=side * off_m), street


class Ground:
    """Sites to choose from: `apart_m` from what stands already, `clear_m` from every street; the best is taken first.

    Good is far from the others and rather near the centre, with some chance in it.
    """

    def __init__(self, sites: Iterable[Site], taken: Iterable[Metres], *, apart_m: float, clear_m: float = 0.0) -> None:
        self._sites, around = list(sites), tuple(taken)
        self._apart_m, self._clear_m = apart_m, clear_m
        self._free_m = [nearest_m(at, around) for at, _ in self._sites]
        self._liked = [110 * chance(f"site {at.x:.0f} {at.y:.0f}") - 0.09 * nearest_m(at, [_CENTRE]) for at, _ in self._sites]

    def take(self) -> Site:
        """The best site that is left."""
        free = [number for number, free_m in enumerate(self._free_m) if free_m > self._apart_m]
        free.sort(key=lambda number: self._liked[number] + min(_ENOUGH_M, self._free_m[number]), reverse=True)
        at, street = next(self._sites[number] for number in free if from_streets_m(self._sites[number][0]) >= self._clear_m)
        self._free_m = [min(free_m, apart_m(at, site)) for free_m, (site, _) in zip(self._free_m, self._sites, strict=True)]
        return at, street
