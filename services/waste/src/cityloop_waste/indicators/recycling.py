"""The household-waste recycling rate of the calendar year up to a day. Pure arithmetic over the journals' rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from itertools import chain

from cityloop_common.indicator import Moment, NoData, Row
from cityloop_waste.fleet.domain import SiteKind
from cityloop_waste.streams import HOUSEHOLD, Stream

GENERATED, HAULED = "generated", "hauled"
RECYCLED_STREAMS: frozenset[str] = frozenset({Stream.RECYCLABLE, Stream.KITCHEN})
NOT_RECYCLING: frozenset[str] = frozenset({SiteKind.INCINERATOR, SiteKind.LANDFILL, SiteKind.TRANSFER})


class Why(StrEnum):
    """What a row counts as, or why it counts for nothing."""

    RECYCLED = "recycled"
    HAULED = "hauled"
    ESTIMATE = "estimate"
    TRANSFER = "transfer"
    NOT_HOUSEHOLD = "not-household"
    NO_ESTIMATE = "no-estimate"
    NOT_RECYCLED = "not-recycled"
    MOVED = "moved"
    VOID = "void"


_RECYCLED, _NOT_RECYCLED, _NO_ESTIMATE = Why.RECYCLED, Why.NOT_RECYCLED, Why.NO_ESTIMATE
_HOUSEHOLD_FATES = frozenset({Why.RECYCLED, Why.HAULED})


@dataclass(frozen=True, slots=True)
class CountedLoad:
    """The newest known version of a load. `evidence` names its ticket and the journal rows of all known versions, oldest first;
    `void` was taken back."""

    chain_id: str
    day: date
    stream: str
    site_kind: str
    net_kg: int
    district: str | None
    evidence: Mapping[str, object]
    void: bool = False


@dataclass(frozen=True, slots=True)
class CountedEstimate:
    """The newest known version of what a district generated on a day."""

    day: date
    district: str
    mass_kg: int
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Facts:
    """The year up to a day, as known at an instant. `moved` was told of in it first, and lies outside of it by its newest version."""

    loads: Sequence[CountedLoad]
    estimates: Sequence[CountedEstimate]
    moved: Sequence[CountedLoad] = ()


def rows(facts: Facts, _moment: Moment, scheme: str) -> Iterable[Row]:
    """A row a load, and with generated mass as denominator a row an estimate; one by one, for a year has tens of thousands.

    `hauled`: recycled / all household loads at their last site. `generated`: recycled / estimated, where only days that have
    an estimate count on both sides: of the load's own district, or of any where the load names none. A load that was moved
    to another time is listed and counts for nothing. Raises NoData when there is nothing at all.
    """
    if not facts.loads and not facts.moved and not (scheme == GENERATED and facts.estimates):
        raise NoData("nothing was weighed since the first of January")
    moved = (Row(each.chain_id, 0, 0, each.district, Why.MOVED, each.evidence) for each in facts.moved)
    return chain(_hauled(facts) if scheme == HAULED else _generated(facts), moved)


def _hauled(facts: Facts) -> Iterator[Row]:
    for load in facts.loads:
        fate, net = _fate(load.stream, load.site_kind, void=load.void), load.net_kg
        recycled, hauled = (net if fate is _RECYCLED else 0), (net if fate in _HOUSEHOLD_FATES else 0)
        yield Row(load.chain_id, recycled, hauled, load.district, fate, load.evidence)


def _generated(facts: Facts) -> Iterator[Row]:
    districts = {(each.day, each.district) for each in facts.estimates}
    days = {each.day for each in facts.estimates}
    for each in facts.estimates:
        yield Row(f"{each.day} {each.district}", 0, each.mass_kg, each.district, Why.ESTIMATE, each.evidence)
    for load in facts.loads:
        known = load.day in days if load.district is None else (load.day, load.district) in districts
        fate = _fate(load.stream, load.site_kind, void=load.void)
        if fate in _HOUSEHOLD_FATES:
            fate = _NO_ESTIMATE if not known else _RECYCLED if fate is _RECYCLED else _NOT_RECYCLED
        yield Row(load.chain_id, load.net_kg if fate is _RECYCLED else 0, 0, load.district, fate, load.evidence)


@cache
def _fate(stream: str, site_kind: str, *, void: bool) -> Why:
    """What became of a load; recycled are recyclables and kitchen waste that went neither into fire nor into the ground.

    A year has tens of thousands of loads and few of these answers.
    """
    if void:
        return Why.VOID
    if stream not in HOUSEHOLD:
        return Why.NOT_HOUSEHOLD
    if site_kind == SiteKind.TRANSFER:
        return Why.TRANSFER
    return Why.RECYCLED if stream in RECYCLED_STREAMS and site_kind not in NOT_RECYCLING else Why.HAULED
