"""Three services over one log in one process: their loops can be stopped and started, what one has heard of another emptied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, select

from cityloop_charging.bays import use_cases as bays
from cityloop_charging.bays.domain import By, Decider
from cityloop_charging.bays.tables import place as heard_place
from cityloop_charging.bays.tables import place_version
from cityloop_charging.registry import store as registry_store
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.tables import location
from cityloop_charging.service import SERVICE as CHARGING
from cityloop_charging.status import store as status_store
from cityloop_charging.status import use_cases as statuses
from cityloop_charging.status.domain import Report, Status
from cityloop_charging.status.tables import evse_live
from cityloop_common import outbox
from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock, city_day
from cityloop_common.consuming import run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import open_db
from cityloop_common.districts import from_settings
from cityloop_common.eventlog import EventLog, Message, Record, open_event_log
from cityloop_common.ids import Ids
from cityloop_common.indicator import Ask, evaluate, moment
from cityloop_common.relay import run_relay
from cityloop_common.rng import Rng
from cityloop_common.service import Service
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import inbox, inbox_sequence, job, kit_metadata
from cityloop_parking.chargers.tables import charger, charger_location
from cityloop_parking.closures.tables import closure, collection_plan
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.observations.use_cases import Report as CountReport
from cityloop_parking.places import store as place_store
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Category, PlaceState, Pool
from cityloop_parking.places.tables import place
from cityloop_parking.search.tables import search_entry
from cityloop_parking.service import SERVICE as PARKING
from cityloop_waste.planning import publishing
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.plans import Publish
from cityloop_waste.planning.tables import plan_version, street_section
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.service import SERVICE as WASTE
from cityloop_waste.streams import Stream
from tests.contract.waste_support import one_round
from tests.support import wait_until

SERVICES: Mapping[str, Service] = {each.name: each for each in (PARKING, CHARGING, WASTE)}
# What each service keeps of what the others, and it itself, have told.
MIRRORS: Mapping[str, Sequence[Table]] = {
    "parking": (charger_location, charger, collection_plan, closure, search_entry),
    "charging": (heard_place, place_version),
    "waste": (street_section,),
}
# Ids of rows, instants of hearing, and versions that count units and not what they hold.
_NOT_COMPARED = {"recorded_at", "updated_at", "chargers_version", "closures_version"}
_NOT_COMPARED_OF = {"search_entry": {"version"}, "place_version": {"id"}}
BY = By(Decider.OFFICER, "somebody")
Row = tuple[Any, ...]


@dataclass
class Node:
    """A service with its own database; `running` are its relay and consumers while it is up."""

    service: Service
    ctx: Ctx[Any]
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begins to publish and to consume."""
        assert not self.running
        loops = [run_relay(self.ctx, "test"), *(run_consumer(self.ctx, consumer) for consumer in self.service.consumers)]
        self.running = [asyncio.get_running_loop().create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Ends both wherever they are."""
        for task in self.running:
            task.cancel()
        ended = await asyncio.gather(*self.running, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        self.running = []

    async def rows(self, asked: Any) -> list[Row]:
        """The rows of a statement, in their order."""
        async with self.ctx.db.read() as tx:
            return [tuple(row) for row in await tx.all(asked)]

    async def mirror(self) -> dict[str, list[Row]]:
        """What it keeps of others' words, as far as it does not depend on when or how often it heard them."""
        found: dict[str, list[Row]] = {}
        for table in MIRRORS[self.service.name]:
            but = _NOT_COMPARED | _NOT_COMPARED_OF.get(table.name, set())
            rows = await self.rows(select(*(column for column in table.columns if column.name not in but)))
            found[table.name] = sorted(rows, key=repr)
        return found

    async def forget(self, *topics: str) -> None:
        """Empties what it has learnt from others, and what its consumers know of these topics."""
        consumers = [each.name for each in self.service.consumers]
        async with self.ctx.db.write() as tx:
            for table in MIRRORS[self.service.name]:
                await tx.run(delete(table))
            known = inbox_sequence.c.topic.in_(topics) & inbox_sequence.c.consumer.in_(consumers)
            await tx.run(delete(inbox_sequence).where(known))
            await tx.run(delete(inbox).where(inbox.c.consumer.in_(consumers)))


@dataclass
class Suite:
    """The three over one log; `settings` are those of a command that works on the same databases and log."""

    log: EventLog
    nodes: dict[str, Node]
    settings: Mapping[str, str]
    folder: Path
    plans: int = 0

    def __getitem__(self, service: str) -> Node:
        return self.nodes[service]

    async def quiet(self) -> None:
        """Waits until everything that was told has been sent and heard by everybody who is up, and nothing of it was put aside."""
        await wait_until(self._is_quiet, 90, every=0.05)

    async def _is_quiet(self) -> bool:
        """What is heard may be told of in turn: nothing waits, and before and after that was seen all had heard the same."""
        heard = await self._all_heard()
        return heard is not None and not await self._waits() and await self._all_heard() == heard

    async def _waits(self) -> bool:
        for node in self.nodes.values():
            if node.running:
                async with node.ctx.db.read() as tx:
                    if (await outbox.backlog(tx))[0]:
                        return True
        return False

    async def _all_heard(self) -> dict[str, int] | None:
        """How much was told in each topic, when whoever is up has heard it all."""
        topics = {topic.name: topic for topic in await self.log.describe()}
        assert not any(sum(topic.end_offsets.values()) for name, topic in topics.items() if name.endswith(".dlq"))
        for node in self.nodes.values():
            for consumer in node.service.consumers if node.running else ():
                for name in consumer.topics:
                    topic = topics[name]
                    left = sum(topic.end_offsets.values()) - sum(topic.begin_offsets.values())
                    if topic.lag_records.get(consumer.name, left):
                        return None
        return {name: sum(topic.end_offsets.values()) for name, topic in topics.items()}

    async def stop(self) -> None:
        """Stops whoever is up."""
        for node in self.nodes.values():
            await node.stop()

    def start(self) -> None:
        """Starts whoever is down."""
        for node in self.nodes.values():
            if not node.running:
                node.start()

    async def share(self) -> dict[str, Any]:
        """The 15 % share as it stands now: every scheme in the whole, by district and by car park."""
        ctx = self["charging"].ctx
        now = ctx.clock.now()
        indicator = next(each for each in CHARGING.indicators if each.name == "ev-bay-share")
        found = await evaluate(ctx, indicator, Ask(moment(city_day(now), now), True, 1, ctx.districts.version))
        return {
            scheme: (each.total, dict(each.by_district), [(row.key, row.numerator, row.denominator, row.why) for row in each.rows])
            for scheme, each in found.items()
        }

    # What happens in the city.

    async def seed(self, *services: str) -> None:
        """The invented city."""
        for name in services or tuple(SERVICES):
            sample = SERVICES[name].sample
            assert sample is not None
            await sample(self[name].ctx)

    async def live(self, name: str, turn: int) -> None:
        """Some of what happens in a service, another thing each turn."""
        await {"parking": self._park, "charging": self._charge, "waste": self._collect}[name](turn)

    async def _park(self, turn: int) -> None:
        """Bays are built, a car park closes or opens, a street is renamed, cars are counted."""
        ctx = self["parking"].ctx
        async with ctx.db.write() as tx:
            known = await place_store.page(tx, after="", most=100)
            for index, one in enumerate(known):
                facts = one.facts
                if index % 7 == turn % 7:
                    first = facts.pools[0]
                    facts = replace(facts, pools=(Pool(first.category, first.capacity + 1, first.walk_in_reserve), *facts.pools[1:]))
                elif index % 11 == turn % 11 and facts.kind.value != "on_street":
                    facts = replace(facts, state=PlaceState.OPEN if facts.state is PlaceState.CLOSED else PlaceState.CLOSED)
                elif index % 5 == turn % 5:
                    facts = replace(facts, name=f"{facts.name.split(' ')[0]} {turn}")
                await places.upsert_place_in(tx, ctx, facts, operator_id=one.operator_id)
        counts = (Count(Category.STANDARD, occupied=turn),)
        seen = [Observation(ctx.clock.now() - timedelta(seconds=10), f"turn-{turn}", counts, 900)] * 3
        await observations.record_many(ctx, [CountReport(one.id, each) for one, each in zip(known[turn:], seen, strict=False)])

    async def _charge(self, turn: int) -> None:
        """Chargers are used and break, a link is taken back or given, a station loses an EVSE."""
        ctx = self["charging"].ctx
        async with ctx.db.read() as tx:
            stations = await registry_store.page(tx, after="", most=100)
        said = (Status.CHARGING, Status.AVAILABLE, Status.OUTOFORDER)
        async with ctx.db.write() as tx:
            uids = [each.facts.uid(evse) for each in stations[turn % 4 :: 4] for evse in each.facts.evses]
            known = await status_store.known(tx, uids)
            at = ctx.clock.now()
            reports = [
                Report(known[uid], said[(index + turn) % 3], at, "test", turn) for index, uid in enumerate(sorted(known)) if uid in known
            ]
            await statuses.record_in(tx, ctx, reports)
        linked = [each for each in stations if each.place_id is not None]
        one = linked[turn % len(linked)]
        assert one.place_id is not None
        async with ctx.db.write() as tx:
            await bays.withdraw_in(tx, ctx, one.id, one.place_id, BY)
        if turn % 2:
            await bays.confirm(ctx, one.id, one.place_id, BY)
        large = next(each for each in stations[turn % 10 :] if len(each.facts.evses) > 2)
        async with ctx.db.write() as tx:
            await registry.put_in(tx, ctx, [replace(large.facts, evses=large.facts.evses[1:])], source="test")

    async def _collect(self, turn: int) -> None:
        """A plan replaces the one before, or is taken back."""
        ctx = self["waste"].ctx
        on, stream = city_day(ctx.clock.now()) + timedelta(days=1 + turn % 2), (Stream.KITCHEN, Stream.OTHER)[turn % 2]
        asked = await planning.ask_for_day(ctx, stream, Wish(on, Publish.BY_HAND), seconds=5)
        task = await planning.begin(ctx, asked.id)
        assert task is not None
        problem = {**task.payload["problem"], "stops": task.payload["problem"]["stops"][turn % 3 :: 3]}
        kept = await planning.keep(ctx, asked.id, await one_round({"problem": problem}, lambda _: None))
        assert kept is not None
        async with ctx.db.write() as tx:
            await tx.run(delete(job))  # nobody shall search it again
            await publishing.publish_in(tx, ctx, kept.id)
        if turn % 4 == 3:
            async with ctx.db.write() as tx:
                await publishing.withdraw_in(tx, ctx, kept.id)

    async def check_mirrors(self) -> None:
        """What each keeps of another's words is what that other's own tables say."""
        told = await self["parking"].rows(select(place.c.id, place.c.name, place.c.access, place.c.state, place.c.kind, place.c.version))
        p = heard_place.c
        assert sorted(told) == sorted(await self["charging"].rows(select(p.id, p.name, p.access, p.state, p.kind, p.sequence)))
        streets = [(id, name, state, version) for id, name, _, state, kind, version in told if kind == "on_street"]
        s = street_section.c
        assert sorted(streets) == sorted(await self["waste"].rows(select(s.place_id, s.name, s.state, s.version)))
        c = charger_location.c
        stations = await self["charging"].rows(select(location.c.id, location.c.version, location.c.place_id))
        assert sorted(stations, key=repr) == sorted(await self["parking"].rows(select(c.location_id, c.version, c.place_id)), key=repr)
        e, h = evse_live.c, charger.c
        live = await self["charging"].rows(select(e.evse_uid, e.location_id, e.version, e.status).where(e.version > 0))
        assert sorted(live) == sorted(await self["parking"].rows(select(h.evse_uid, h.location_id, h.version, h.status)))
        assert await self._published_closures() == sorted(
            await self["parking"].rows(select(closure.c.stream, closure.c.on_day, closure.c.place_id, closure.c.starts_at))
        )

    async def _published_closures(self) -> list[Row]:
        """Of each stream and day what its newest word closes, spans that touch taken together as waste told them."""
        v = plan_version.c
        newest: dict[tuple[str, date], Any] = {}
        for stream, on, closures in await self["waste"].rows(select(v.stream, v.on_day, v.closures).order_by(v.version)):
            newest[stream, on] = closures
        return sorted(
            (stream, on.isoformat(), place_id, datetime.fromisoformat(starts_at).astimezone(UTC))
            for (stream, on), closures in newest.items()
            for place_id, starts_at, _ in closures
        )


@asynccontextmanager
async def suite(folder: Path, log_url: str, databases: Mapping[str, str], *, clock: SystemClock | None = None) -> AsyncIterator[Suite]:
    """Opens the three, with their tables and topics, all of them down."""
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        log = open_event_log(log_url, clock=clock)
        stack.push_async_callback(log.close)
        nodes = {name: await _node(stack, SERVICES[name], folder, log, url, clock) for name, url in databases.items()}
        for service in SERVICES.values():
            await log.create_topics(service.topics())
        settings = {f"CITYLOOP_{name.upper()}_DATABASE_URL": url for name, url in databases.items()}
        made = Suite(log, nodes, {"CITYLOOP_VAR": str(folder), "CITYLOOP_EVENT_LOG_URL": log_url, **settings}, folder)
        stack.push_async_callback(made.stop)
        yield made


async def _node(stack: AsyncExitStack, service: Service, folder: Path, log: EventLog, url: str, clock: SystemClock) -> Node:
    rng, shared = Rng(f"late/{service.name}"), SharedSettings(var=folder)
    db, cache = open_db(url, clock=clock), open_cache("memory:", clock=clock)
    stack.push_async_callback(cache.close)
    stack.push_async_callback(db.close)

    def create(connection: Connection) -> None:
        kit_metadata.create_all(connection)
        service.metadata.create_all(connection)

    await db.run_sync(create)
    ids = Ids(clock, rng.stream("ids"))
    ctx = Ctx(service.name, service.settings(shared=shared), clock, ids, rng, db, log, cache, districts=from_settings(shared))
    return Node(service, ctx)


def again(record: Record) -> Message:
    """A record as it was sent."""
    return Message(record.topic, record.key or b"", record.value, tuple(record.headers.items()))
