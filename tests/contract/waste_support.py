"""A small city for the suites of waste: one database, trucks and sites, a solver that a test plays, a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Table, func, select

from cityloop_common import jobs
from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock
from cityloop_common.context import Ctx
from cityloop_common.db import Database, open_db
from cityloop_common.districts import NO_DISTRICTS, Districts
from cityloop_common.envelope import Event
from cityloop_common.eventlog import open_event_log
from cityloop_common.geo import Position
from cityloop_common.ids import Ids
from cityloop_common.jobs import JobView
from cityloop_common.outbox import unpublished
from cityloop_common.pool import Pool
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import kit_metadata
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.ledger.domain import Ticket
from cityloop_waste.planning import problem_json, publishing, work
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.jobs import PLAN
from cityloop_waste.planning.plans import CityPlan, PlanState, Publish
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.points import use_cases as points
from cityloop_waste.points.domain import CollectionPoint, Demand, PointId
from cityloop_waste.registry import Hours
from cityloop_waste.roads import graph
from cityloop_waste.schema import metadata
from cityloop_waste.settings import WasteSettings
from cityloop_waste.streams import Stream
from tests.support import PATIENCE_S, wait_until

TEN = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)  # ten in the morning of the first city
TODAY = date(2026, 11, 26)
CENTRE = Position(109.787, 39.565)


@dataclass
class HandClock(SystemClock):
    """Stands still where a test puts it, or goes on from there; whoever sleeps wakes up all the same."""

    at: datetime | None = None
    since: datetime | None = None

    def now(self) -> datetime:
        if self.at is None or self.since is None:
            return self.at or super().now()
        return self.at + (super().now() - self.since)

    def go_on(self) -> None:
        """From now on time passes."""
        self.at, self.since = self.now(), super().now()

    def go_on_at(self, at: datetime) -> None:
        """It is then, and time passes."""
        self.at, self.since = at, super().now()

    def move(self, **parts: float) -> None:
        """Moves it on, or back."""
        self.at = (self.at or self.now()) + timedelta(**parts)


@dataclass
class OnceCompared(SystemClock):
    """A database's view of such a clock: PostgreSQL compares it with its own at the first unit only, before a test moves it."""

    hand: HandClock

    def now(self) -> datetime:
        return self.hand.now()

    def monotonic(self) -> float:
        return 0.0


Answer = Callable[[Mapping[str, Any], Callable[[Any], None]], Awaitable[Mapping[str, Any]]]


@dataclass
class PlayedPool:
    """A pool whose work a test plays; `asked` are the payloads it was given, `finish` the wish of the last one's caller to stop.

    What is to be drawn is a straight line.
    """

    answer: Answer
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: int = 0
    finish: asyncio.Event | None = None

    async def run(
        self,
        work: str,
        payload: Mapping[str, object],
        *,
        kill_after_s: float,
        on_progress: Callable[[Any], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """See Pool."""
        given: Mapping[str, Any] = orjson.loads(orjson.dumps(payload))  # as the other process reads it
        if work == "cityloop_waste.planning.work:draw":
            return {"lines": [{"travel": "graph", "line": [[109.787, 39.565], [109.788, 39.565]]} for _ in given["routes"]]}
        assert work == "cityloop_waste.planning.work:solve"
        self.asked.append(given)
        self.finish = stop
        assert on_progress is not None
        try:
            return await self.answer(given, on_progress)
        except asyncio.CancelledError:
            self.stopped += 1
            raise

    async def close(self) -> None:
        """See Pool."""


async def one_round(payload: Mapping[str, Any], on_progress: Callable[[Any], None]) -> Mapping[str, Any]:
    """A plan as the solver answers it: the first truck visits every stop, ten minutes apart, from six o'clock on."""
    on_progress({"elapsed_s": 0.1, "solutions": 1, "vehicles": 1, "unserved": 0, "distance_m": 1000})
    problem = payload["problem"]
    six = 6 * 3600
    visits = [_visit("depot-start", None, six)]
    visits += [_visit("stop", stop["id"], six + 600 * number) for number, stop in enumerate(problem["stops"], 1)]
    last = six + 600 * (len(problem["stops"]) + 1)
    visits += [_visit("unload", problem["sites"][0]["id"], last), _visit("depot-end", None, last + 600)]
    route = {"truck": problem["trucks"][0]["id"], "distance_m": 1000, "duration_s": last + 600 - six, "visits": visits}
    return {
        "stream": problem["stream"],
        "travel": "estimate",
        "vehicles": 1,
        "cost": {"distance_m": 1000, "duration_s": route["duration_s"]},
        "routes": [route],
        "unserved": [],
        "verified": True,
        "seconds": 1.0,
        "ended": "time",
    }


async def solved(payload: Mapping[str, Any], on_progress: Callable[[Any], None]) -> Mapping[str, Any]:
    """What the product's own planner answers, in this process: on estimated roads, after a few solutions, judged by the verifier."""
    problem = problem_json.read(payload["problem"])
    travel = graph.estimate(problem.positions())
    plan, ended = work.planned(problem, travel, SystemClock(), _Heard(on_progress), solutions=10)
    answer = problem_json.write_plan(plan, stream=problem.stream, travel=travel.source)
    if "roads" in payload:
        answer |= {"travel": "graph", "lines": [{"travel": "graph", "line": [[109.788, 39.565], [109.79, 39.565]]} for _ in plan.routes]}
    return answer | {"seconds": 0.1, "ended": ended.value}


@dataclass
class _Heard:
    """A progress that is never asked to stop."""

    tell: Callable[[Any], None]

    def __call__(self, value: object) -> bool:
        self.tell(value)
        return False

    def stopped(self) -> bool:
        return False


def _visit(kind: str, id: str | None, at_s: int) -> dict[str, object]:
    times = {"arrival_s": at_s, "start_s": at_s, "departure_s": at_s + 120}
    return {"kind": kind, "id": id, **times, "load_kg": 100, "load_dm3": 400}


@dataclass
class Town:
    """Waste in one process over one database; `clock` is what everything in it sees."""

    ctx: WasteCtx
    clock: HandClock

    @property
    def db(self) -> Database:
        return self.ctx.db

    async def told(self, topic: str = "") -> list[Event]:
        """The events in the outbox, in their order."""
        async with self.db.read() as tx:
            return [event for _, event in await unpublished(tx, but=(), most=10_000) if event.topic.startswith(topic)]

    async def count(self, table: Table) -> int:
        """Rows of a table."""
        async with self.db.read() as tx:
            return int(await tx.scalar(select(func.count()).select_from(table)))

    async def furnish(self) -> None:
        """A depot, a truck and points for kitchen waste, and sites of every kind of `site`."""
        async with self.db.write() as tx:
            await fleet.put_depots(tx, [Depot(DepotId("depot-1"), "车场", None, CENTRE)])
            await fleet.put_trucks(tx, [truck(), truck("T02", Stream.OTHER), truck("T03", operator="other-op")])
            kinds = {SiteKind.BIOGAS: (Stream.KITCHEN,), SiteKind.INCINERATOR: (Stream.OTHER, Stream.KITCHEN)}
            every = tuple(Stream)
            await fleet.put_sites(tx, [site(kind, kinds.get(kind, every)) for kind in SiteKind])
            await fleet.put_sites(tx, [replace(site(SiteKind.RECYCLER, every), id=SiteId("rival-1"), operator_id="rival")])
            await points.keep_in(tx, self.ctx, [point(number) for number in range(1, 4)])

    async def ask(self, stream: Stream = Stream.KITCHEN, *, on: date = TODAY, publish: Publish = Publish.BY_HAND) -> CityPlan:
        """Asks for a plan of the registry."""
        return await planning.ask_for_day(self.ctx, stream, Wish(on, publish), seconds=5)

    async def ready(self, stream: Stream = Stream.KITCHEN, *, on: date = TODAY, publish: Publish = Publish.BY_HAND) -> CityPlan:
        """A plan whose search has ended."""
        asked = await self.ask(stream, on=on, publish=publish)
        task = await planning.begin(self.ctx, asked.id)
        assert task is not None
        kept = await planning.keep(self.ctx, asked.id, await one_round(task.payload, lambda _: None))
        assert kept is not None
        async with self.db.write() as tx:
            await jobs.request_cancel(tx, asked.job_id)  # no worker shall take it again
        return kept

    async def publish(self, plan_id: str) -> CityPlan:
        """Publishes a plan."""
        async with self.db.write() as tx:
            return await publishing.publish_in(tx, self.ctx, plan_id)

    async def withdraw(self, plan_id: str) -> CityPlan:
        """Withdraws a plan."""
        async with self.db.write() as tx:
            return await publishing.withdraw_in(tx, self.ctx, plan_id)

    async def cancel(self, plan_id: str) -> CityPlan:
        """Cancels a plan."""
        async with self.db.write() as tx:
            return await planning.cancel_in(tx, self.ctx, plan_id)

    async def state(self, plan_id: str) -> PlanState:
        """A plan's state."""
        return (await planning.find(self.ctx, plan_id)).plan.state

    async def until(self, plan_id: str, *states: PlanState, within_s: float = PATIENCE_S) -> CityPlan:
        """Waits for a state."""

        async def there() -> CityPlan | None:
            plan = (await planning.find(self.ctx, plan_id)).plan
            return plan if plan.state in states else None

        found = await wait_until(there, within_s, what=f"plan {states}")
        assert found is not None
        return found

    async def job(self, plan: CityPlan) -> JobView:
        """A plan's job."""
        async with self.db.read() as tx:
            return await jobs.view(tx, self.ctx, plan.job_id)

    @asynccontextmanager
    async def working(self, worker: str = "w1") -> AsyncIterator[asyncio.Task[None]]:
        """A worker that takes jobs."""
        task = asyncio.get_running_loop().create_task(jobs.run_jobs(self.ctx, [PLAN], worker))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def town(
    url: str, folder: Path, *, pool: Pool | None = None, districts: Districts = NO_DISTRICTS, **settings: Any
) -> AsyncIterator[Town]:
    """Opens a town with its tables; several over one url are replicas of it."""
    hand, rng = HandClock(), Rng()
    db = open_db(url, clock=OnceCompared(hand))
    await db.run_sync(_create)
    async with db.write():
        hand.at = TEN  # the clocks have been compared
    log = open_event_log(f"sqlite:///{folder / 'events.db'}", clock=hand)
    cache = open_cache("memory:", clock=SystemClock())
    config = WasteSettings(shared=SharedSettings(var=folder), **settings)
    played = pool or PlayedPool(one_round)
    ctx = Ctx("waste", config, hand, Ids(hand, rng.stream("ids")), rng, db, log, cache, played, districts)
    try:
        yield Town(ctx, hand)
    finally:
        await log.close()
        await cache.close()
        await db.close()


def _create(connection: Connection) -> None:
    kit_metadata.create_all(connection)
    metadata.create_all(connection)


def truck(id: str = "T01", stream: Stream = Stream.KITCHEN, operator: str = "op") -> Truck:
    """A truck of the depot, on duty from five to one."""
    shift = Hours(5 * 3600, 13 * 3600)
    return Truck(TruckId(id), operator, stream, DepotId("depot-1"), 5_000, 9_000, shift, max_mass_kg=12_000)


def site(kind: SiteKind, streams: tuple[Stream, ...]) -> Site:
    """A site of the operator `op`; the landfill takes trucks of `op` only."""
    haulers = ("op",) if kind is SiteKind.LANDFILL else ()
    return Site(SiteId(f"{kind}-1"), kind, kind.value, None, "op", CENTRE, None, streams, 600, haulers=haulers)


def point(number: int, *, at: Position | None = None) -> CollectionPoint:
    """A point with kitchen and other waste, 100 m a number east of the centre."""
    position = at or Position(CENTRE.lon + number * 0.00117, CENTRE.lat)
    demands = (Demand(Stream.KITCHEN, 100, 200, 120), Demand(Stream.OTHER, 150, 600, 120))
    return CollectionPoint(PointId(f"P{number}"), f"点{number}", None, position, None, demands)


def ticket(number: str = "A1", **changes: Any) -> Ticket:
    """A load of kitchen waste, weighed at nine at the biogas plant: 4,000 kg net."""
    nine = TEN - timedelta(hours=1)
    return replace(Ticket("biogas-1", "T01", Stream.KITCHEN, number, 9_000, 5_000, nine), **changes)
