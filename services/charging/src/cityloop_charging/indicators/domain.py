"""The formulas of charging's figures: facts at a moment in, rows out. Definitions and sources: docs/concepts/charging.md."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from cityloop_charging.bays.domain import ServingEvse, served_bays
from cityloop_charging.registry.domain import Access, Lifecycle
from cityloop_charging.status.domain import Status
from cityloop_common.indicator import Moment, NoData, Row, gap_to
from cityloop_common.indicator.domain import Better

SHARE_TARGET = Fraction(15, 100)
RATIO_TARGET = Fraction(1, 3)
FACILITIES_TARGET = Fraction(5_000)
BROKEN = frozenset({Status.INOPERATIVE, Status.OUTOFORDER, Status.PLANNED, Status.REMOVED})
REPORTING = frozenset({Status.AVAILABLE, Status.CHARGING, Status.RESERVED, Status.BLOCKED})
ON_STREET = "on_street"
ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class LinkFact:
    """The decision that a station stands in a car park: who took it, by role, and the journal row that says so."""

    decider: str
    row: str


@dataclass(frozen=True, slots=True)
class EvseFact:
    """An EVSE as it was: its place is that of its station's confirmed link, `open` its station, which lies in the city or elsewhere.

    `rows` are the journal rows that say so; `link` is the decision on its place, where a figure asks for places.
    """

    uid: str
    location_id: str
    access: Access
    lifecycle: Lifecycle
    standard: bool
    bay_no: str | None
    place_id: str | None
    district: str | None
    status: Status
    open: bool
    rows: Sequence[str]
    in_city: bool = True
    link: LinkFact | None = None


@dataclass(frozen=True, slots=True)
class PlaceFact:
    """A car park as charging had heard of it, in the city or elsewhere."""

    place_id: str
    name: str
    access: str
    state: str
    kind: str
    district: str | None
    total_bays: int
    row: str
    in_city: bool = True


@dataclass(frozen=True, slots=True)
class VehiclesFact:
    """Registered vehicles of one class and drive in one district."""

    key: str
    vehicles: int
    standard: bool
    district: str | None
    row: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What charging's figures count, at one moment."""

    evses: Sequence[EvseFact] = ()
    places: Sequence[PlaceFact] = ()
    vehicles: Sequence[VehiclesFact] = ()
    by_place: Mapping[str, Sequence[EvseFact]] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, list[EvseFact]] = {}
        for each in self.evses:
            if each.place_id is not None:
                found.setdefault(each.place_id, []).append(each)
        object.__setattr__(self, "by_place", found)


def operational(evse: EvseFact) -> bool:
    """In service in an open station, and its newest report does not say that it is broken. Never reported: the register counts."""
    return evse.lifecycle is Lifecycle.IN_SERVICE and evse.open and evse.status not in BROKEN


def reporting(evse: EvseFact) -> bool:
    """In service in an open station, and its newest report says that it works."""
    return evse.lifecycle is Lifecycle.IN_SERVICE and evse.open and evse.status in REPORTING


def _counts(evse: EvseFact, scheme: str) -> bool:
    return reporting(evse) if scheme == "reporting" else operational(evse)


def bay_share(facts: Facts, _moment: Moment, scheme: str) -> Sequence[Row]:
    """A row per car park. Of a public one in service: bays served by a confirmed, operational EVSE, of all its bays; others count nothing.

    Nor does one that lies elsewhere. `off-street` leaves on-street places out on both sides; `reporting` counts only EVSEs whose
    newest report says that they work. Raises NoData while no car park is known.
    """
    if not facts.places:
        raise NoData("no car park is known")
    return [_bay_row(place, facts.by_place.get(place.place_id, ()), scheme) for place in facts.places]


def _bay_row(place: PlaceFact, evses: Sequence[EvseFact], scheme: str) -> Row:
    why = _why_no_car_park(place, scheme)
    if why is not None:
        return Row(place.place_id, 0, 0, place.district, why, {"name": place.name, "kind": place.kind, "rows": [place.row]})
    counted = [each for each in evses if _counts(each, scheme)]
    served = served_bays([ServingEvse(each.location_id, each.bay_no) for each in counted], place.total_bays)
    needed = gap_to(SHARE_TARGET, Better.HIGHER, 0, place.total_bays)
    links = {each.location_id: each.link for each in evses if each.link is not None}
    evidence: dict[str, object] = {
        "name": place.name,
        "kind": place.kind,
        "needed": needed,
        "reached": served >= needed,
        "evses": [each.uid for each in counted],
        "not_counted": [each.uid for each in evses if not _counts(each, scheme)],
        "decided_by": {location_id: link.decider for location_id, link in links.items()},
        "rows": [place.row, *(link.row for link in links.values()), *(row for each in evses for row in each.rows)],
    }
    return Row(place.place_id, served, place.total_bays, place.district, "counted", evidence)


def _why_no_car_park(place: PlaceFact, scheme: str) -> str | None:
    if not place.in_city:
        return ELSEWHERE
    if place.state != "open":
        return "closed"
    if place.access != "public":
        return "not-public"
    if scheme == "off-street" and place.kind == ON_STREET:
        return "on-street"
    return None if place.total_bays else "no-bays"


def pile_ratio(facts: Facts, _moment: Moment, scheme: str) -> Sequence[Row]:
    """P standard public charging points to V standard NEVs: a row per point (1/0) and one per kind of vehicle (0/V); 3·P >= V.

    Raises NoData while no station, or no registered vehicle, is known.
    """
    if not any(each.in_city for each in facts.evses):
        raise NoData("no charging point is known")
    if not facts.vehicles:
        raise NoData("no registered vehicles are known")
    return [*_points(facts, scheme), *_vehicles(facts)]


def _points(facts: Facts, scheme: str) -> Iterator[Row]:
    for each in facts.evses:
        why = _why_no_public_pile(each, scheme)
        yield Row(each.uid, int(why == "counted"), 0, each.district, why, {"status": each.status, "rows": list(each.rows)})


def _why_no_public_pile(evse: EvseFact, scheme: str) -> str:
    if not evse.in_city:
        return ELSEWHERE
    if evse.lifecycle is not Lifecycle.IN_SERVICE:
        return str(evse.lifecycle)
    if evse.access is not Access.PUBLIC:
        return "not-public"
    if not evse.standard:
        return "not-standard"
    if not evse.open:
        return "closed"
    if scheme == "reporting" and evse.status not in BROKEN and not reporting(evse):
        return "not-reporting"
    return "counted" if _counts(evse, scheme) else "not-operational"


def _vehicles(facts: Facts) -> Iterator[Row]:
    for each in facts.vehicles:
        why = "counted" if each.standard else "not-standard"
        yield Row(f"vehicles/{each.key}", 0, each.vehicles if each.standard else 0, each.district, why, {"rows": [each.row]})


def facilities(facts: Facts, _moment: Moment, scheme: str) -> Sequence[Row]:
    """A row per charging point: public places and compounds, not planned and not removed; `public` leaves compounds out.

    Broken ones count, and those of closed stations: they were built. What lies elsewhere does not. Raises NoData while no station is known.
    """
    if not any(each.in_city for each in facts.evses):
        raise NoData("no charging point is known")
    accepted = {Access.PUBLIC} if scheme == "public" else {Access.PUBLIC, Access.COMPOUND}
    found = []
    for each in facts.evses:
        why = _why_no_facility(each, accepted)
        found.append(Row(each.uid, int(why == "counted"), 0, each.district, why, {"access": str(each.access), "rows": list(each.rows)}))
    return found


def _why_no_facility(evse: EvseFact, accepted: Collection[Access]) -> str:
    if not evse.in_city:
        return ELSEWHERE
    if evse.lifecycle is not Lifecycle.IN_SERVICE:
        return str(evse.lifecycle)
    if evse.status in {Status.PLANNED, Status.REMOVED}:
        return evse.status.lower()
    return "counted" if evse.access in accepted else str(evse.access)
