"""A month of weighbridges and estimates: late, corrected, moved to another day or year, sent again. And what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from cityloop_common.context import Ctx
from cityloop_common.indicator import Row
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet import use_cases as fleet_cases
from cityloop_waste.fleet.domain import Depot, DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.ledger.domain import LoadVoided, NetNotPositive, Ticket, TicketTaken
from cityloop_waste.ledger.tables import generation_estimate, load
from cityloop_waste.registry import Hours
from cityloop_waste.service import SERVICE
from cityloop_waste.streams import Stream
from tests.contract.recompute_support import (
    DAYS,
    MICROSECOND,
    WITHOUT_LATE,
    Counted,
    History,
    Seen,
    day_of,
    instant,
    midnight,
    position,
)

OPERATOR = "op-1"
LOADS_A_DAY = 9
_SITES: Mapping[str, tuple[SiteKind, tuple[Stream, ...]]] = {
    "recycler-1": (SiteKind.RECYCLER, (Stream.RECYCLABLE,)),
    "biogas-1": (SiteKind.BIOGAS, (Stream.KITCHEN,)),
    "incinerator-1": (SiteKind.INCINERATOR, (Stream.OTHER, Stream.RECYCLABLE, Stream.KITCHEN)),
    "landfill-1": (SiteKind.LANDFILL, (Stream.OTHER, Stream.CONSTRUCTION, Stream.HAZARDOUS)),
    "transfer-1": (SiteKind.TRANSFER, (Stream.OTHER, Stream.KITCHEN, Stream.RECYCLABLE)),
}
_TRUCKS: Mapping[str, tuple[Stream, str | None]] = {
    "T01": (Stream.RECYCLABLE, "d1"),
    "T02": (Stream.KITCHEN, "d2"),
    "T03": (Stream.OTHER, "d3"),
    "T04": (Stream.KITCHEN, None),
    "T05": (Stream.CONSTRUCTION, "d1"),
}


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a load as the weighbridge told it."""

    number: int
    weighed_at: datetime
    learnt_at: datetime
    stream: str
    kind: str
    net_kg: int
    district: str | None
    void: bool = False


@dataclass(slots=True)
class Weighed:
    """A load: its newest ticket, the id that the service gave it, every version."""

    ticket: Ticket
    chain_id: str = ""
    newest_id: str = ""
    versions: list[Version] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Estimated:
    """An estimate as the city told it."""

    district: str
    on: date
    learnt_at: datetime
    number: int
    mass_kg: int


class WasteHistory(History):
    """Five sites, five trucks, three districts."""

    service = SERVICE
    journals = (load, generation_estimate)

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self.loads: list[Weighed] = []
        self.estimates: list[Estimated] = []
        self.kinds = {site: kind for site, (kind, _) in _SITES.items()}
        self.districts = {truck: district for truck, (_, district) in _TRUCKS.items()}

    async def begin(self, ctx: Ctx[Any]) -> None:
        await self._keep_registry(ctx)
        for number in range(DAYS):
            for count in range(LOADS_A_DAY):
                self._plan_load(number, count)
            for district in ("d1", "d2", "d3"):
                self._plan_estimate(number, district)
        self._plan_edges()
        self._plan_other_registry()

    # What is told.

    async def _keep_registry(self, ctx: Ctx[Any]) -> None:
        async with ctx.db.write() as tx:
            await fleet.put_depots(tx, [Depot(DepotId("depot"), "depot", None, position(1))])
            trucks = [
                Truck(TruckId(truck), OPERATOR, stream, DepotId("depot"), 8_000, 20_000, Hours(0, 86_400), district=self.districts[truck])
                for truck, (stream, _) in _TRUCKS.items()
            ]
            await fleet.put_trucks(tx, trucks)
            sites = [
                Site(SiteId(site), self.kinds[site], site, None, OPERATOR, position(2), None, streams, 600)
                for site, (_, streams) in _SITES.items()
            ]
            await fleet_cases.keep_sites_in(tx, ctx, sites)

    def _plan_other_registry(self) -> None:
        """A truck changes its district, a plant becomes a transfer station: loads that were told before stay what they were."""

        async def change(ctx: Ctx[Any]) -> None:
            self.districts["T01"] = "d2"
            self.kinds["incinerator-1"] = SiteKind.TRANSFER
            await self._keep_registry(ctx)

        self.plan(instant(16, 12), change)

    def a_ticket(self, number: str) -> Ticket:
        """A load that counts, weighed as the history begins."""
        return Ticket("biogas-1", "T02", Stream.KITCHEN, number, 9_000, 5_000, midnight(0))

    def _ticket(self, weighed_at: datetime, number: str) -> Ticket:
        site = self.rng.choice(sorted(_SITES))
        stream = self.rng.choice(_SITES[site][1])
        gross = self.rng.randint(7_000, 12_000)
        district = self.rng.choice((None, None, "d1", "d3"))
        return Ticket(site, self.rng.choice(sorted(_TRUCKS)), stream, number, gross, self.rng.randint(4_000, 6_000), weighed_at, district)

    def _plan_load(self, number: int, count: int) -> None:
        weighed_at = instant(number, self.rng.uniform(4, 23.9))
        of = Weighed(self._ticket(weighed_at, f"{number}-{count}"))
        at = weighed_at + self.late(number)
        self.plan(at, lambda ctx: self._weigh(ctx, of))
        if self.rng.random() < 0.25:
            self.plan(at + timedelta(minutes=self.rng.randint(0, 3_000)), lambda ctx: self._weigh_again(ctx, of))
        if number >= WITHOUT_LATE and self.rng.random() < 0.3:
            self._plan_correction(of, at + timedelta(minutes=self.rng.randint(1, 8_000)))
        if number >= WITHOUT_LATE and self.rng.random() < 0.08:
            self.plan(at + timedelta(minutes=self.rng.randint(1, 6_000)), lambda ctx: self._take_back(ctx, of))

    def _plan_correction(self, of: Weighed, at: datetime) -> None:
        self.plan(at, lambda ctx: self._correct(ctx, of))
        if self.rng.random() < 0.3:
            self._plan_correction(of, at + timedelta(minutes=self.rng.randint(0, 4_000)))

    def _plan_edges(self) -> None:
        """Loads weighed and learnt at the very instants on which a figure turns."""
        ends = midnight(8)
        known_at = ends + timedelta(minutes=10)
        edges = (
            (ends, ends + timedelta(seconds=1)),  # belongs to the new day
            (ends - MICROSECOND, ends + timedelta(seconds=1)),  # to the old one
            (ends - timedelta(hours=2), known_at),  # known in time
            (ends - timedelta(hours=3), known_at + MICROSECOND),  # too late
            (ends + timedelta(minutes=2), ends - timedelta(minutes=2)),  # a weighbridge's clock is ahead
        )
        for count, (weighed_at, learnt_at) in enumerate(edges):
            of = Weighed(replace(self._ticket(weighed_at, f"edge-{count}"), site_id="biogas-1", stream=Stream.KITCHEN))
            self.plan(learnt_at, partial(self._weigh, of=of))

    async def _weigh(self, ctx: Ctx[Any], of: Weighed) -> None:
        stored = await ledger.record(ctx, of.ticket, operator_id=OPERATOR)
        assert not stored.duplicate
        of.chain_id = of.newest_id = stored.load.id
        self._note(of, of.ticket)
        self.loads.append(of)
        if len(self.loads) % 20:
            return
        with_fault = replace(of.ticket, ticket_no="fault", tare_kg=of.ticket.gross_kg)
        with pytest.raises(NetNotPositive):
            await ledger.record(ctx, with_fault, operator_id=OPERATOR)

    async def _weigh_again(self, ctx: Ctx[Any], of: Weighed) -> None:
        """The same ticket, the same load under another number, and a false one with its number: none is a new load."""
        first = replace(of.ticket, corrects=None) if len(of.versions) == 1 else None
        if first is None:
            return
        for ticket in (first, replace(first, ticket_no=f"{first.ticket_no}-again")):
            assert (await ledger.record(ctx, ticket, operator_id=OPERATOR)).duplicate
        with pytest.raises(TicketTaken):
            await ledger.record(ctx, replace(first, gross_kg=first.gross_kg + 1), operator_id=OPERATOR)

    async def _correct(self, ctx: Ctx[Any], of: Weighed) -> None:
        """Another mass, day, stream or district; told twice."""
        ticket = replace(self._corrected(of.ticket), corrects=of.newest_id)
        if ticket.weighed_at > ctx.clock.now() or of.versions[-1].void:
            return
        stored = await ledger.record(ctx, ticket, operator_id=OPERATOR)
        assert not stored.duplicate
        assert (await ledger.record(ctx, ticket, operator_id=OPERATOR)).duplicate
        self._note(of, ticket)
        of.ticket, of.newest_id = ticket, stored.load.id

    def _corrected(self, ticket: Ticket) -> Ticket:
        what = self.rng.choice(("mass", "mass", "day", "stream", "district"))
        moved = ticket.weighed_at + timedelta(days=self.rng.choice((-4, -2, -1, 1, 3)))
        if what == "day" and moved >= midnight(WITHOUT_LATE):
            return replace(ticket, weighed_at=moved)
        if what == "stream" and len(_SITES[ticket.site_id][1]) > 1:
            return replace(ticket, stream=self.rng.choice([each for each in _SITES[ticket.site_id][1] if each is not ticket.stream]))
        if what == "district":
            return replace(ticket, district="d2" if ticket.district != "d2" else "d1")
        return replace(ticket, gross_kg=ticket.gross_kg + self.rng.choice((-400, -1, 1, 350)))

    def _note(self, of: Weighed, told: Ticket) -> None:
        """A version; what a correction leaves alone stays what it was when the load came, whatever the registry says by now."""
        before = of.versions[-1] if of.versions else None
        kind = before.kind if before else self.kinds[told.site_id].value
        district = told.district or (before.district if before and of.ticket.district is None else self.districts[told.truck_id])
        net = told.gross_kg - told.tare_kg
        of.versions.append(Version(len(of.versions) + 1, told.weighed_at, self.clock.now(), told.stream.value, kind, net, district))

    async def _take_back(self, ctx: Ctx[Any], of: Weighed) -> None:
        """It never was; told twice, and corrected in vain."""
        if of.versions[-1].void:
            return
        voided = await ledger.void(ctx, of.newest_id, "weighed for a test", operator_id=OPERATOR)
        assert await ledger.void(ctx, of.newest_id, "weighed for a test", operator_id=OPERATOR) == voided
        of.newest_id = voided.id
        of.versions.append(replace(of.versions[-1], number=len(of.versions) + 1, learnt_at=self.clock.now(), void=True))
        with pytest.raises(LoadVoided):
            await ledger.record(ctx, replace(of.ticket, gross_kg=of.ticket.gross_kg + 5, corrects=voided.id), operator_id=OPERATOR)

    def _plan_estimate(self, number: int, district: str) -> None:
        at = instant(number + 1, 10 + self.rng.random())
        if number >= WITHOUT_LATE and self.rng.random() < 0.2:
            at += timedelta(days=self.rng.randint(1, 5))
        on, mass = day_of(midnight(number)), self.rng.randint(30_000, 60_000)
        self.plan(at, lambda ctx: self._estimate(ctx, district, on, mass))
        if self.rng.random() < 0.3:
            self.plan(at + timedelta(hours=5), lambda ctx: self._estimate(ctx, district, on, mass))
        if number >= WITHOUT_LATE and self.rng.random() < 0.3:
            other = self.rng.randint(30_000, 60_000)
            self.plan(at + timedelta(hours=self.rng.randint(1, 150)), lambda ctx: self._estimate(ctx, district, on, other))

    async def _estimate(self, ctx: Ctx[Any], district: str, on: date, mass_kg: int) -> None:
        known = [each for each in self.estimates if (each.district, each.on) == (district, on)]
        told = await ledger.estimate(ctx, district, on, mass_kg=mass_kg, method="per-head")
        if known and known[-1].mass_kg == mass_kg:
            assert told.version == len(known), "the same word again is no new one"
            return
        self.estimates.append(Estimated(district, on, ctx.clock.now(), len(known) + 1, mass_kg))

    # What it adds up to.

    def counted(self, name: str, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        assert name == "recycling-rate"
        loads = self._loads(seen)
        return self._hauled(loads) if scheme == "hauled" else self._generated(loads, seen)

    def _loads(self, seen: Seen) -> dict[str, Version]:
        """Each load as it was known, when it was weighed in the year up to the day."""
        found: dict[str, Version] = {}
        for each in self.loads:
            known = [version for version in each.versions if version.learnt_at <= seen.known_at]
            newest = max(known, key=lambda version: version.number, default=None)
            if newest is not None and _new_year(seen.on) <= newest.weighed_at <= seen.at:
                found[each.chain_id] = newest
        return found

    def _hauled(self, loads: Mapping[str, Version]) -> dict[str, Counted]:
        household = {key: each for key, each in loads.items() if _is_household(each)}
        return {key: Counted(each.net_kg if _recycled(each) else 0, each.net_kg, each.district) for key, each in household.items()}

    def _generated(self, loads: Mapping[str, Version], seen: Seen) -> dict[str, Counted]:
        newest: dict[tuple[str, date], Estimated] = {}
        for each in self.estimates:
            if each.learnt_at <= seen.known_at and each.on <= day_of(seen.at) and each.on.year == seen.on.year:
                newest[each.district, each.on] = each
        found = {f"{on} {district}": Counted(0, each.mass_kg, district) for (district, on), each in newest.items()}
        for key, load_ in loads.items():
            on = day_of(load_.weighed_at)
            estimated = any(day == on and load_.district in (None, district) for district, day in newest)
            if estimated and _is_household(load_) and _recycled(load_):
                found[key] = Counted(load_.net_kg, 0, load_.district)
        return found

    def decided_by(self, key: str, row: Row | None) -> Iterable[str]:
        """Whether a load counts is also a question of its day's estimates."""
        return () if row is None or "ticket" not in row.evidence else [f"{row.evidence['day']} {each}" for each in ("d1", "d2", "d3")]

    def evidence(self, row: Row) -> Iterator[str]:
        journal: Any = row.evidence["journal"]
        yield from journal


def _is_household(load_: Version) -> bool:
    return load_.stream != "construction" and load_.kind != "transfer" and not load_.void


def _recycled(load_: Version) -> bool:
    return load_.stream in {"recyclable", "kitchen"} and load_.kind in {"recycler", "biogas"}


def _new_year(on: date) -> datetime:
    return datetime(on.year, 1, 1, tzinfo=UTC) - timedelta(hours=8)
