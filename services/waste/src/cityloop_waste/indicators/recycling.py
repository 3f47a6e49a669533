"""The household-waste recycling rate of the calendar year up to a day. Pure arithmetic over the journals' rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from cityloop_common.indicator import Moment, Row
from cityloop_waste.fleet.domain import SiteKind
from cityloop_waste.streams import HOUSEHOLD, Stream

GENERATED, HAULED = "generated", "hauled"
RECYCLED_STREAMS = frozenset({Stream.RECYCLABLE, Stream.KITCHEN})
NOT_RECYCLING = frozenset({SiteKind.INCINERATOR, SiteKind.LANDFILL, SiteKind.TRANSFER})


class Why(StrEnum):
    """What a row counts as, or why it counts for nothing."""

    RECYCLED = "recycled"
    HAULED = "hauled"
    ESTIMATE = "estimate"
    TRANSFER = "transfer"
    NOT_HOUSEHOLD = "not-household"
    NO_ESTIMATE = "no-estimate"
    NOT_RECYCLED = "not-recycled"


@dataclass(frozen=True, slots=True)
class CountedLoad:
    """The newest known version of a load; `versions` are the journal rows of all known ones, oldest first."""

    chain_id: str
    day: date
    site_id: str
    site_kind: SiteKind
    truck_id: str
    stream: Stream
    ticket_no: str
    net_kg: int
    district: str | None
    versions: tuple[str, ...]

    @property
    def recycled(self) -> bool:
        """Recyclables and kitchen waste that went neither into fire nor into the ground, counted at the plant's gate."""
        return self.stream in RECYCLED_STREAMS and self.site_kind not in NOT_RECYCLING


@dataclass(frozen=True, slots=True)
class CountedEstimate:
    """The newest known version of what a district generated on a day."""

    day: date
    district: str
    mass_kg: int
    method: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The year up to a day, as known at an instant."""

    loads: Sequence[CountedLoad]
    estimates: Sequence[CountedEstimate]


def rows(facts: Facts, _moment: Moment, scheme: str) -> Sequence[Row]:
    """A row a load, and with generated mass as denominator a row an estimate.

    `hauled`: recycled / all household loads at their last site. `generated`: recycled / estimated, where only days that have
    an estimate count on both sides: of the load's own district, or of any where the load names none.
    """
    return list(_hauled(facts) if scheme == HAULED else _generated(facts))


def _hauled(facts: Facts) -> Iterator[Row]:
    for load in facts.loads:
        why = _not_counted(load)
        if why is None:
            recycled = load.net_kg if load.recycled else 0
            yield _load_row(load, recycled, load.net_kg, Why.RECYCLED if load.recycled else Why.HAULED)
        else:
            yield _load_row(load, 0, 0, why)


def _generated(facts: Facts) -> Iterator[Row]:
    districts = {(each.day, each.district) for each in facts.estimates}
    days = {each.day for each in facts.estimates}
    for each in facts.estimates:
        yield Row(f"{each.day} {each.district}", 0, each.mass_kg, each.district, Why.ESTIMATE, _estimate_evidence(each))
    for load in facts.loads:
        known = load.day in days if load.district is None else (load.day, load.district) in districts
        why = _not_counted(load) or (None if known else Why.NO_ESTIMATE) or (None if load.recycled else Why.NOT_RECYCLED)
        yield _load_row(load, 0 if why else load.net_kg, 0, why or Why.RECYCLED)


def _not_counted(load: CountedLoad) -> Why | None:
    if load.stream not in HOUSEHOLD:
        return Why.NOT_HOUSEHOLD
    return Why.TRANSFER if load.site_kind is SiteKind.TRANSFER else None


def _load_row(load: CountedLoad, numerator: int, denominator: int, why: Why) -> Row:
    evidence: Mapping[str, object] = {
        "load": load.versions[-1],
        "ticket": load.ticket_no,
        "site": load.site_id,
        "site_kind": load.site_kind,
        "truck": load.truck_id,
        "stream": load.stream,
        "net_kg": load.net_kg,
        "day": load.day.isoformat(),
        "journal": list(load.versions),
    }
    return Row(load.chain_id, numerator, denominator, load.district, why, evidence)


def _estimate_evidence(of: CountedEstimate) -> Mapping[str, object]:
    return {"day": of.day.isoformat(), "mass_kg": of.mass_kg, "method": of.method, "journal": list(of.versions)}
