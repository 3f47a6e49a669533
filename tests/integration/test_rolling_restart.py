"""Every API and worker of three services is restarted behind HAProxy under load: no request fails, no event is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Row, select

from cityloop_common.clock import SystemClock, instant
from cityloop_common.db import open_db
from cityloop_common.tables import job
from cityloop_parking.reservations.tables import reservation
from cityloop_waste.planning.tables import plan
from tests.e2e.conftest import replicas
from tests.e2e.processes import City
from tests.integration.accounts import Accounts, read_accounts, states
from tests.integration.balancer import Balancer, balanced, program, restart, restart_replica
from tests.integration.measured import Span, figures
from tests.integration.rush import CAPACITY, Rush, day, rushing, storming
from tests.integration.wire import Heard
from tests.support import STRICT, Servers, scaled, wait_until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.stack,
    pytest.mark.faults,
    pytest.mark.stress,
    pytest.mark.timeout(1800),
]
SERVICES = ("parking", "charging", "waste")
REST_S = 3.0
PAUSE_S = scaled(ci=80, full=20) / 1000  # on two cores that are busy with requests a process takes twice as long to start
SETTLED_S = 60.0
TAKEN_OVER_S = 15.0
OCPI = {1: "AVAILABLE", 3: "CHARGING"}


@dataclass(frozen=True, slots=True)
class Behind:
    """A city and the balancer before it."""

    city: City
    balancer: Balancer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(stack: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    """Two API replicas and two workers of each service behind HAProxy, with the drain that services have by default."""
    if program() is None:
        (pytest.fail if STRICT else pytest.skip)("no haproxy: apt-get install haproxy")
    folder = tmp_path_factory.mktemp("rolling")
    given = {"CITYLOOP_DRAIN_FOR_S": "2", "CITYLOOP_TRUSTED_PROXIES": '["127.0.0.1/32"]'}
    async with replicas(folder, stack, SERVICES, **given) as city, balanced(city, folder) as balancer:
        yield Behind(city, balancer)


async def test_a_rolling_restart_fails_no_request_and_loses_no_event(behind: Behind, record_property: Callable[..., None]) -> None:
    """Each process in its turn: the next one goes when the one before is ready, and the balancer has it again."""
    city, balancer = behind.city, behind.balancer
    marks: list[float] = []
    async with rushing(city, balancer.port, pause_s=PAUSE_S) as rush:
        marks.append(time.monotonic())
        await asyncio.sleep(REST_S)
        marks.append(time.monotonic())
        for _ in range(scaled(ci=1, full=5)):
            for service in SERVICES:
                for number in range(2):
                    await restart_replica(balancer, city, service, number)
        marks.append(time.monotonic())
        for _ in range(scaled(ci=1, full=5)):
            for service in SERVICES:
                for worker in city.workers_of[service]:
                    await restart(worker)
        marks.append(time.monotonic())
        await asyncio.sleep(1)
        await rush.rest()
        await wait_until(lambda: not _unheard(rush), every=0.1, what="the last of everything was heard")
    spans = dict(zip(("at rest", "APIs restart", "workers restart"), map(Span, marks, marks[1:]), strict=False))
    told = {name: figures(rush, span) for name, span in spans.items()}
    for name, each in told.items():
        print(f"{name}, {spans[name].end - spans[name].begin:.0f} s: {each}")
        record_property(name, str(each))
    print(f"asked {dict(rush.asked)}; streams {[each.streams for each in rush.listeners]}")
    assert rush.failed == []
    assert await balancer.faults() == {"eresp": 0, "hrsp_5xx": 0, "not_ready": 0}
    assert told["workers restart"].latest_told_s < TAKEN_OVER_S
    accounts = await _settled(city)
    accounts.check()
    _check_told(rush, accounts)
    _check_streams(rush)


async def test_no_request_meets_a_connection_that_is_just_closing(behind: Behind, record_property: Callable[..., None]) -> None:
    """At full speed on kept connections, on both sides of the balancer, while parking's replicas are restarted in turn."""
    before = await behind.balancer.stats()
    async with storming(behind.city.settings, behind.balancer.port, pairs=8) as rush:
        for _ in range(scaled(ci=1, full=10)):
            for number in range(2):
                await restart_replica(behind.balancer, behind.city, "parking", number)
    after = await behind.balancer.stats()
    reused, made = (int(after["parking", "BACKEND"][name]) - int(before["parking", "BACKEND"][name]) for name in ("reuse", "connect"))
    print(f"{sum(rush.asked.values())} requests, {made} connections made and {reused} times used again")
    record_property("requests", sum(rush.asked.values()))
    assert rush.failed == []
    assert reused > 10 * made, "the balancer kept no connections: this proves nothing"
    assert await behind.balancer.faults() == {"eresp": 0, "hrsp_5xx": 0, "not_ready": 0}


async def test_a_worker_stopped_in_the_midst_of_a_search_hands_it_over(behind: Behind, record_property: Callable[..., None]) -> None:
    """The other worker takes the plan at once, and no attempt is spent; after kill -9 it would take up to 15 s."""
    city = behind.city
    asker = Rush(behind.balancer.port, city.settings, {})
    db = open_db(city.settings["CITYLOOP_WASTE_DATABASE_URL"], clock=SystemClock(), pool_size=2)

    async def running(*, but: str = "") -> Row[Any] | None:
        async with db.read() as tx:
            return await tx.first(select(job).where(job.c.id == job_id, job.c.state == "running", job.c.worker != but))

    async def ready() -> bool:
        async with db.read() as tx:
            return bool(await tx.scalar(select(job.c.state).where(job.c.id == job_id)) == "done")

    headers = {**asker.bearer("dispatcher"), "idempotency-key": "handed-over"}
    async with asker.wire() as wire:
        asked = await asker.ask(wire, "POST", "/waste/v1/plans", headers, {**day(seconds=20), "publish": "by-hand"}, fine=(202,))
    assert asked is not None, asker.failed
    async with db.read() as tx:
        plan_id = json.loads(asked.body)["plan_id"]
        job_id = str(await tx.scalar(select(plan.c.job_id).where(plan.c.id == plan_id)))
    first = await wait_until(running)
    assert first is not None
    victim = next(each for each in city.workers_of["waste"] if str(each.running.pid) == first.worker.rpartition(":")[2])  # type: ignore[union-attr]
    began = time.monotonic()
    assert await victim.stop() == 0
    second = await wait_until(lambda: running(but=first.worker), TAKEN_OVER_S, every=0.02, what="the other worker has the plan")
    took = time.monotonic() - began
    print(f"the plan went on {took:.2f} s after SIGTERM")
    record_property("handed over after s", round(took, 2))
    assert second is not None
    assert second.attempts == 1
    victim.start()
    await victim.ready()
    await wait_until(ready, 60, every=0.2, what="the plan is ready")
    await db.close()


async def _settled(city: City) -> Accounts:
    """The accounts when nothing is on its way any more."""
    found: list[Accounts] = []

    async def rested() -> bool:
        found.append(await read_accounts(city.settings))
        return found[-1].at_rest()

    await wait_until(rested, SETTLED_S, every=0.5, what="outboxes are empty and everything is read")
    return found[-1]


def _check_told(rush: Rush, accounts: Accounts) -> None:
    """What people were told is what is there: as many events of each thing as answers."""
    for place_id, counts in rush.told.counts.items():
        assert counts
        assert accounts.told("parking.occupancy", place_id) == len(counts), place_id
    for uid, pushed in rush.told.statuses.items():
        assert pushed
        assert accounts.told("charging.evse", uid) == len(pushed), uid
    assert {trip.id: trip.told for trip in rush.told.trips} == {row.id: row.state for row in accounts.of("parking", reservation)}
    for load_id in rush.told.loads.values():
        assert accounts.told("waste.load", load_id) == 1
    assert rush.told.plans
    for plan_id in rush.told.plans:
        assert accounts.told("waste.plan", plan_id) == 1


def _check_streams(rush: Rush) -> None:
    """Each client went on where it was: of each thing it heard the states in their order, and the last one; never `reset`.

    A replica to which a client comes back tells the newest state of each thing: what lay between is folded into it, and one that
    has just started does not know what the one before had told, and repeats it.
    """
    for listener in rush.listeners:
        assert listener.broken == []
        assert listener.streams >= 2, "no stream was ended by a restart"
        assert not [each for each in listener.heard if each.event == "reset"], listener.path
        for uid, since in states(_of(listener.heard, "evse.changed"), "evse_uid", "since").items():
            assert since == sorted(since, key=instant), f"{uid}: statuses take turns, but not their instants"
    for what, heard, told in _streamed(rush):
        back = _first_back(heard, told)
        assert back is None, f"{what}: heard {heard[max(0, back - 5) : back + 5]}, the sixth after a later one"
        assert heard[-1:] == told[-1:], f"{what}: heard to {heard[-3:]}, told to {told[-3:]}"


def _streamed(rush: Rush) -> Iterator[tuple[str, Sequence[object], Sequence[object]]]:
    """Of each stream and each thing: what it is, the states that were heard of it, and those that the answers told."""
    for listener in rush.listeners:
        if "/parking/" in listener.path:
            free = states(_of(listener.heard, "place.changed"), "id", "free")
            for place_id, counts in rush.told.counts.items():
                yield place_id, [CAPACITY - each["standard"] for each in free.get(place_id, []) if each], counts
        elif "/charging/" in listener.path:
            status = states(_of(listener.heard, "evse.changed"), "evse_uid", "status")
            for uid, pushed in rush.told.statuses.items():
                yield uid, status.get(uid, []), [OCPI[each] for each in pushed]
        else:
            plans = states(_of(listener.heard, "plan.changed"), "plan_id", "state")
            for plan_id in rush.told.plans:
                yield plan_id, [each for each in plans.get(plan_id, []) if each == "published"], ["published"]  # then another one is


def _unheard(rush: Rush) -> list[str]:
    return [what for what, heard, told in _streamed(rush) if heard[-1:] != told[-1:]]


def _of(heard: Sequence[Heard], event: str) -> list[str]:
    return [each.data for each in heard if each.event == event]


def _first_back(heard: Sequence[object], told: Sequence[object]) -> int | None:
    """Where `heard` goes back behind what it was told; a state may come again, and some may be folded into the next."""
    at = 0
    for number, state in enumerate(heard):
        try:
            at = told.index(state, at)
        except ValueError:
            return number
    return None
