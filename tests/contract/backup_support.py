"""People who write into three services, and what a backup that is made meanwhile must hold and must not hold."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, true
from sqlalchemy.engine import make_url

from cityloop_charging.status import store as status_store
from cityloop_charging.status import use_cases as statuses
from cityloop_charging.status.domain import Report as StatusReport
from cityloop_charging.status.domain import Status
from cityloop_charging.status.tables import evse_live
from cityloop_charging.vehicles import use_cases as vehicles
from cityloop_charging.vehicles.domain import Drive, Statement, VehicleClass, VehicleCount
from cityloop_common.backup.manifest import journals
from cityloop_common.clock import SystemClock, city_day
from cityloop_common.db import Database, WriteTx
from cityloop_common.tables import outbox
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.observations.use_cases import Report as CountReport
from cityloop_parking.places.domain import Category
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.domain import Holder, PlaceClosed, PlaceFull, Stay
from cityloop_parking.reservations.scope import OwnedBy
from cityloop_parking.sample import counted_places
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.ledger.domain import Ticket
from cityloop_waste.streams import Stream
from tests.contract.late_support import Suite
from tests.e2e import restored
from tests.e2e.people import unceasing

Written = Mapping[str, Mapping[datetime, frozenset[tuple[str, str]]]]
"""By service and instant at which it was learnt: the tables and ids of the journals' rows and of the events, as one unit wrote them."""


@dataclass(slots=True)
class Unit:
    """A write unit of this process. `ended_at`: the caller had the answer by then; `stored` when that was a good one."""

    service: str
    recorded_at: datetime
    ended_at: datetime | None = None
    stored: bool = False


def watched(monkeypatch: pytest.MonkeyPatch, urls: Mapping[str, str]) -> list[Unit]:
    """Every write unit of this process on these databases from now on, as they begin."""
    names = {make_url(url).database: service for service, url in urls.items()}
    units: list[Unit] = []
    unwatched, clock = Database.write, SystemClock()

    @asynccontextmanager
    async def write(db: Database) -> AsyncIterator[WriteTx]:
        unit = None
        try:
            async with unwatched(db) as tx:
                unit = Unit(names.get(db.url.database, ""), tx.recorded_at)
                units.append(unit)
                yield tx
            unit.stored = True
        finally:
            if unit is not None:
                unit.ended_at = clock.now()

    monkeypatch.setattr(Database, "write", write)
    return units


async def written(given: Mapping[str, str], before: datetime | None = None) -> Written:
    """What the units of a city have written, by its databases; those before an instant, when one is given."""
    found: dict[str, dict[datetime, set[tuple[str, str]]]] = {}
    async with restored.services(given) as opened:
        for service, ctx in opened:
            units = found.setdefault(service.name, defaultdict(set))
            for table in [*(service.metadata.tables[name] for name in journals(service.metadata)), outbox]:
                async with ctx.db.read() as tx:
                    known = true() if before is None else table.c.recorded_at < before
                    for row in await tx.all(select(table.c.id, table.c.recorded_at).where(known)):
                        units[row.recorded_at].add((table.name, row.id))
    return {service: {at: frozenset(rows) for at, rows in units.items()} for service, units in found.items()}


def amiss(units: Sequence[Unit], here: Written, there: Written, taken_at: datetime) -> list[str]:
    """Where a backup contradicts its instant.

    A unit is in it as a whole or not at all; in it when its caller had the answer by the instant, not in it when it began
    later. One that tells no event is not held up when the snapshots are taken: of these only such are too late that began
    when others were let on already.
    """
    known = {(unit.service, unit.recorded_at): unit for unit in units}
    told = {(service, at) for service, found in here.items() for at, rows in found.items() if any(table == "outbox" for table, _ in rows)}
    let_on = min(
        (unit.ended_at for key, unit in known.items() if unit.ended_at and unit.stored and unit.recorded_at > taken_at and key in told),
        default=None,
    )
    assert let_on is not None, "nobody has told of anything since"
    wrong = [f"{service} {at}: nobody wrote it" for service, found in there.items() for at in found.keys() - here[service].keys()]
    for service, found in here.items():
        for at, rows in found.items():
            unit, kept = known[service, at], there[service].get(at, frozenset())
            if kept and kept != rows:
                wrong.append(f"{service} {at}: {len(kept)} of {len(rows)} rows")
            if not kept and unit.stored and unit.ended_at is not None and unit.ended_at <= taken_at:
                wrong.append(f"{service} {at}: lost, though answered at {unit.ended_at}")
            if kept and at > taken_at and ((service, at) in told or at > let_on):
                wrong.append(f"{service} {at}: later than the instant: {sorted({table for table, _ in rows})}")
    return sorted(wrong)


def settled(units: Sequence[Unit], taken_at: datetime) -> datetime:
    """The latest instant under which no unit was open any more when the backup was taken."""
    begun = [unit for unit in units if unit.recorded_at <= taken_at]
    still_open = [unit.recorded_at for unit in begun if unit.ended_at is None or unit.ended_at > taken_at]
    return min(still_open, default=taken_at) - timedelta(microseconds=1)


@dataclass(slots=True)
class Crowd:
    """Drivers, sensors, chargers, weighbridges, officials and dispatchers of a city. `done` counts what they were answered."""

    city: Suite
    done: Counter[str] = field(default_factory=Counter)

    def everybody(self) -> list[Any]:
        """What they do, each on his own."""
        drivers = [partial(self.drive, number) for number in range(2)]
        changing = [partial(self.change, service) for service in self.city.nodes]
        return [*drivers, self.count, self.count_late, self.charge, self.weigh, self.state, *changing]

    async def drive(self, number: int, turn: int) -> None:
        """Holds a space of a large car park and confirms it; who comes too late for one goes on."""
        ctx, me = self.city["parking"].ctx, f"driver-{number}-{turn}"
        roomy = [facts.id for facts in counted_places() if sum(pool.capacity for pool in facts.pools) > 200]
        starts_at = ctx.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1 + turn % 6)
        stay = Stay(roomy[(turn + number) % len(roomy)], Category.STANDARD, starts_at, starts_at + timedelta(hours=1))
        try:
            held = await reservations.hold(ctx, stay, Holder(me, None))
        except (PlaceFull, PlaceClosed):
            return
        self.done["hold"] += 1
        await reservations.confirm(ctx, held.id, OwnedBy(me))
        await asyncio.sleep(0.1)

    async def count(self, turn: int) -> None:
        """Ten car parks are counted at once; a source a turn, as a journal has at most one row a source and minute."""
        await self._count(f"gate-{turn}", turn, 10, timedelta())
        self.done["count"] += 1
        await asyncio.sleep(0.1)

    async def count_late(self, turn: int) -> None:
        """A count that is older than what is known: it is journalled and nobody is told."""
        await self._count(f"late-{turn}", turn, 1, timedelta(hours=2))
        self.done["count-late"] += 1
        await asyncio.sleep(0.03)

    async def _count(self, source: str, turn: int, places: int, ago: timedelta) -> None:
        ctx = self.city["parking"].ctx
        seen = Observation(ctx.clock.now() - ago, source, (Count(Category.STANDARD, occupied=turn % 10),), 900)
        known = counted_places()
        told = [CountReport(known[(turn * places + number) % len(known)].id, seen) for number in range(places)]
        verdicts = await observations.record_many(ctx, told)
        assert not any(isinstance(each, Exception) for each in verdicts), verdicts

    async def charge(self, turn: int) -> None:
        """A charger changes."""
        ctx = self.city["charging"].ctx
        async with ctx.db.write() as tx:
            live = [row.evse_uid for row in await tx.all(select(evse_live.c.evse_uid).order_by(evse_live.c.evse_uid).limit(20))]
            known = await status_store.known(tx, [live[turn % len(live)]])
            status = (Status.CHARGING, Status.AVAILABLE)[turn // len(live) % 2]
            await statuses.record_in(tx, ctx, [StatusReport(each, status, ctx.clock.now(), "crowd", turn) for each in known.values()])
        self.done["status"] += 1
        await asyncio.sleep(0.1)

    async def weigh(self, turn: int) -> None:
        """A truck is weighed."""
        ctx = self.city["waste"].ctx
        ticket = Ticket("recycler-1", "T01", Stream.RECYCLABLE, f"C-{turn}", 7_000 + turn, 5_600, ctx.clock.now())
        await ledger.record(ctx, ticket, operator_id="sample-operator")
        self.done["load"] += 1
        await asyncio.sleep(0.1)

    async def state(self, turn: int) -> None:
        """Officials state what is registered and what is generated: nobody is told."""
        charging, waste = self.city["charging"].ctx, self.city["waste"].ctx
        today = city_day(waste.clock.now())
        count = VehicleCount(VehicleClass.PASSENGER, Drive.BEV, standard=True, vehicles=10_000 + turn)
        await vehicles.state(charging, Statement(today, "crowd", (count,)))
        districts = [each.id for each in waste.districts]
        await ledger.estimate(waste, districts[turn % len(districts)], today, mass_kg=60_000 + turn, method="crowd")
        self.done["statement"] += 1
        await asyncio.sleep(0.03)

    async def change(self, service: str, turn: int) -> None:
        """Car parks, stations and links change; plans are asked for, published and taken back."""
        await self.city.live(service, turn)
        self.done[f"{service}-change"] += 1
        await asyncio.sleep(1)


@asynccontextmanager
async def busy(city: Suite) -> AsyncIterator[Crowd]:
    """A crowd that does not stop until the body is done."""
    crowd = Crowd(city)
    async with unceasing(*crowd.everybody()):
        yield crowd


async def newest(city: Suite) -> dict[str, datetime]:
    """When the newest row of each journal was learnt; that none is empty is the caller's to know."""
    found: dict[str, datetime] = {}
    for name, node in city.nodes.items():
        async with node.ctx.db.read() as tx:
            for table in (node.service.metadata.tables[journal] for journal in journals(node.service.metadata)):
                found[f"{name}.{table.name}"] = await tx.scalar(select(func.max(table.c.recorded_at)))
    return found
