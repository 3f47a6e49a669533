"""The world itself: what dies stays dead, what is random repeats, what is forbidden is refused."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cityloop_common.eventlog.port import Fenced, Message, Retention, TopicSpec
from tests.simulation.disk import creator, is_write
from tests.simulation.http import Network, NodeTransport
from tests.simulation.log import SESSION_TIMEOUT_S, Broker, SimEventLog
from tests.simulation.loop import Forbidden
from tests.simulation.node import Node
from tests.simulation.plan import Fault, PlannedFault, draw, parse_plan, plan_text, shrink
from tests.simulation.runner import REPOSITORY, Batch, batches
from tests.simulation.sharing import SharedBatches
from tests.simulation.toy import Toy, ToyBug
from tests.simulation.world import Broken, Mode, World

SEEDS = range(20)
# Effects of opening a connection and of a unit that inserts three rows, two points each.
UNIT = ("PRAGMA journal_mode=WAL", "BEGIN IMMEDIATE", *("INSERT INTO fact VALUES (1)",) * 3, "COMMIT")
POINTS = 2 + 2 * len(UNIT)


@pytest.fixture(params=list(Mode))
def world(request: pytest.FixtureRequest) -> World:
    return World(1, request.param)


def _rows(path: Path) -> int:
    """What another process finds; writes too, so that a lock left behind is seen."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        count: int = connection.execute("SELECT count(*) FROM fact").fetchone()[0]
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return count
    finally:
        connection.close()


def _killed_writing(world: World, arm: Callable[[Node], None], told: list[str]) -> tuple[int, Node]:
    """How many rows a unit of three leaves whose node is armed to die, and the node; `told` hears when the unit was done."""
    path = world.folder / "fact.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE fact (n INTEGER)").connection.close()
    node = world.node("writer")

    async def write() -> None:
        connection = await creator(node, path)()
        for statement in UNIT:
            await connection.execute_fetchall(statement)
        told.append("stored")

    async def play() -> int:
        arm(node)
        node.spawn(write(), "write")
        await asyncio.sleep(10)
        return _rows(path)

    return world.run(play()), node


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("point", range(1, POINTS + 1))
def test_a_killed_unit_is_stored_whole_or_not_at_all(point: int, mode: Mode) -> None:
    """Killed at any point of connecting and writing: no row before COMMIT is done, all three after it, and no lock."""
    stored, node = _killed_writing(World(point, mode), lambda node: node.arm(point), [])
    assert stored == (3 if point == POINTS else 0)
    assert node.dead


@pytest.mark.parametrize("place, stored", [(1, 0), (2, 0), (3, 3), (4, 3)])
def test_a_node_dies_on_either_side_of_a_commit(place: int, stored: int, world: World) -> None:
    """Two places before it, when nothing is stored yet, and two after it, when the caller was not told."""
    told: list[str] = []
    found, node = _killed_writing(world, lambda node: node.arm_at_commit(place), told)
    assert found == stored
    assert (node.dead, told) == (True, [])


def test_nothing_of_a_dead_node_runs(world: World) -> None:
    """No `finally`, no `except`, no callback: as after kill -9."""
    ran: list[str] = []

    async def work() -> None:
        try:
            await world.nodes["victim"].point()
        finally:
            ran.append("finally")

    async def play() -> None:
        world.node("victim").arm(1)
        world.nodes["victim"].spawn(work(), "work")
        await asyncio.sleep(1)

    world.run(play())
    assert ran == []


def test_hours_take_no_time_and_timeouts_keep_their_order(world: World) -> None:
    """`sleep`, `timeout` and `TaskGroup` work on virtual time."""
    order: list[int] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    async def play() -> None:
        async with asyncio.TaskGroup() as tasks:
            for seconds in (3600, 60, 600):
                tasks.create_task(wait(seconds))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)

    world.run(play())
    assert order == [60, 600, 3600]
    assert world.loop.now == pytest.approx(3605)


def test_threads_and_sockets_are_refused(world: World) -> None:
    """What would make a run depend on the machine raises at once."""

    async def play() -> None:
        with pytest.raises(Forbidden):
            threading.Thread(target=print).start()
        with pytest.raises(Forbidden):
            await asyncio.open_connection("127.0.0.1", 1)
        assert await asyncio.to_thread(lambda: 7) == 7

    world.run(play())


async def _fail() -> None:
    raise KeyError("unseen")


def test_a_background_task_that_dies_ends_the_run(world: World) -> None:
    """What a process starts must never end with an error."""

    async def play() -> None:
        world.node("api").spawn(_fail(), "fail")
        await asyncio.sleep(1)

    with pytest.raises(Broken, match="unseen"):
        world.run(play())


def test_an_exception_that_nobody_looked_at_is_an_error_of_the_run(world: World) -> None:
    """A task's exception is never lost."""

    async def play() -> None:
        _unseen = asyncio.get_running_loop().create_task(_fail())
        await asyncio.sleep(1)

    world.run(play())
    assert "unseen" in world.errors[0]


def test_a_run_that_waits_for_ever_is_broken(world: World) -> None:
    """Nothing ready and no timer ends the run with the reason, or at the latest the longest time does."""

    async def play() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Broken, match="goes on"):
        world.run(play())


def test_a_dead_server_resets_its_connections(world: World) -> None:
    """The client of a request that dies with its server gets a transport error, and nobody listens afterwards."""

    async def app(scope: object, receive: object, send: object) -> None:
        await world.nodes["api"].point()

    async def play() -> None:
        world.node("api").app = app
        world.nodes["api"].arm(1)
        async with httpx.AsyncClient(transport=NodeTransport(Network(world))) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("http://api/")
            with pytest.raises(httpx.ConnectError):
                await client.get("http://api/")

    world.run(play())


def test_uncommitted_records_come_again_after_a_death(world: World) -> None:
    """A dead member holds its partitions until its session ends; its heir starts from what is committed; the slow are fenced."""
    seen: list[bytes | None] = []

    async def play() -> None:
        broker = Broker(world)
        log, heir = SimEventLog(broker, world.node("first")), SimEventLog(broker, world.node("second"))
        await log.create_topics([TopicSpec("t", Retention.DELETE, partitions=1)])
        assert list(await log.send([Message("t", b"k", b"1"), Message("t", b"k", b"2")])) == [None, None]
        member = await log.subscribe("g", ["t"])
        assert await member.poll(max_records=9, timeout_s=1)
        late = await heir.subscribe("g", ["t"])
        assert not await late.poll(max_records=9, timeout_s=1)
        world.nodes["first"].kill()
        await asyncio.sleep(SESSION_TIMEOUT_S)
        while len(seen) < 2:
            for records in (await late.poll(max_records=9, timeout_s=1)).values():
                seen.extend(record.value for record in records)
        with pytest.raises(Fenced):
            await member.__class__(broker, world.nodes["second"], "g", ["t"]).commit({next(iter(late.positions)): 2})

    world.run(play())
    assert seen == [b"1", b"2"]


def test_statements_that_lock_are_known() -> None:
    """Read-committed mode begins at the first write or FOR UPDATE."""
    assert is_write("INSERT INTO t VALUES (1)")
    assert is_write("WITH a AS (SELECT 1) UPDATE t SET x = 1")
    assert is_write("SELECT 1 FROM t /* for update */")
    assert not is_write("SELECT updated_at FROM t")
    assert not is_write("WITH a AS (SELECT 1) SELECT * FROM a")


def test_a_plan_reads_back_as_it_was_written() -> None:
    """What the replay command carries is the plan that ran."""
    plan = draw(random.Random(5), Toy.troubles())
    assert parse_plan(plan_text(plan)) == plan
    assert parse_plan("") == ()


def test_shrinking_keeps_only_the_faults_that_matter() -> None:
    """ddmin: 40 faults, two of which together break something."""
    plan = tuple(PlannedFault(float(second), Fault.COMPACT) for second in range(40))
    guilty = {plan[7], plan[31]}
    assert set(shrink(plan, lambda smaller: guilty <= set(smaller))) == guilty


def _run_toy(folder: Path, hash_seed: str, mode: Mode) -> bytes:
    trace = folder / f"trace-{hash_seed}"
    command = [sys.executable, "-m", "tests.simulation", "--scenario", "toy", "--seed", "3", "--mode", mode, "--trace", str(trace)]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True)
    return trace.read_bytes()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_seed_gives_the_same_trace_byte_for_byte(mode: Mode, tmp_path: Path) -> None:
    """Two processes with different hash seeds agree on every effect and its time."""
    first, second = (_run_toy(tmp_path, hash_seed, mode) for hash_seed in ("1", "2"))
    assert first == second
    assert first.count(b"\n") > 500


TOYS = [batch for bug in ToyBug for batch in batches("toy", SEEDS, bug=bug)]


@pytest.fixture(scope="session")
def toys(shared_folder: Path) -> SharedBatches:
    """The toy with each bug in both modes."""
    return SharedBatches(shared_folder / "toy", TOYS)


async def _broken(toys: SharedBatches, bug: ToyBug, mode: Mode) -> list[str]:
    batch = next(each for each in TOYS if each.bug == bug and each.mode is mode)
    return [f"{result.broken}: {result.replay()}" for result in await toys.results(batch) if result.broken]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_right_toy_breaks_nothing(mode: Mode, toys: SharedBatches) -> None:
    """No false alarm, while nodes really died."""
    assert await _broken(toys, ToyBug.NONE, mode) == []
    results = await toys.results(TOYS[list(Mode).index(mode)])
    assert sum(result.deaths for result in results) > len(SEEDS)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", [ToyBug.NO_OUTBOX, ToyBug.INBOX_APART])
@pytest.mark.parametrize("mode", list(Mode))
async def test_lost_and_doubled_events_are_found(bug: ToyBug, mode: Mode, toys: SharedBatches) -> None:
    """Publishing past the outbox and an inbox apart from its effect are found in either mode."""
    assert await _broken(toys, bug, mode)


@pytest.mark.timeout(900)
async def test_only_read_committed_shows_check_then_insert(toys: SharedBatches) -> None:
    """BEGIN IMMEDIATE hides the race that PostgreSQL would have: this is why each seed runs in both modes."""
    assert await _broken(toys, ToyBug.CHECK_THEN_INSERT, Mode.READ_COMMITTED)
    assert not await _broken(toys, ToyBug.CHECK_THEN_INSERT, Mode.SQLITE)


def test_batches_cover_every_seed_once_in_each_mode() -> None:
    """No seed is left out where batches meet."""
    work = batches("toy", range(3, 10), size=3)
    assert work[0] == Batch("toy", Mode.SQLITE, range(3, 6))
    assert sorted(seed for batch in work for seed in batch.seeds) == sorted([*range(3, 10)] * 2)
