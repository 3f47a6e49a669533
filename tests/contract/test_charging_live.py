"""The invented EVSEs: each has a status from the beginning, some change every few seconds, and people's reports are not talked over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from cityloop_charging import live
from cityloop_charging.registry.domain import EvseUid, Lifecycle
from cityloop_charging.sample import invented_stations
from cityloop_charging.status import store, use_cases
from cityloop_charging.status.domain import Status
from cityloop_charging.status.tables import evse_contact, evse_status
from cityloop_common.clock import instant
from tests.contract.charging_support import City, MovedClock, city, make_tables
from tests.support import wait_until


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[City]:
    """The sample, on SQLite: it is the embedded form's. Its clock stands: an EVSE changes every few seconds."""
    url = f"sqlite:///{tmp_path / 'charging.db'}"
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        opened.clock.stand()
        await live.seed(opened.ctx)
        yield opened


def in_service() -> set[str]:
    return {facts.uid(each) for facts in invented_stations() for each in facts.evses if each.lifecycle is Lifecycle.IN_SERVICE}


async def shown(town: City) -> dict[str, Status]:
    async with town.db.read() as tx:
        return {each.entry.report.evse.uid: each.status for each in await store.page(tx, after="", most=10_000)}


async def test_every_evse_of_the_sample_has_a_first_status(town: City) -> None:
    """Once: seeding again at the same instant changes nothing; a planned one has none."""
    first = await shown(town)
    assert first.keys() == in_service()
    assert len(Counter(first.values())) >= 4
    rows = await town.count(evse_status)
    await live.seed(town.ctx)
    assert await town.count(evse_status) == rows


def test_the_same_minute_is_the_same_in_every_installation() -> None:
    """And within a minute some EVSE changes, but most do not."""
    uids = sorted(in_service())
    noon = instant("2026-11-26T04:00:00Z")
    before = [live.does(uid, noon) for uid in uids]
    assert before == [live.does(uid, noon) for uid in uids]
    assert all(timedelta(0) <= noon - each.since < timedelta(seconds=live.STAY_S) for each in before)
    after = [live.does(uid, noon + timedelta(minutes=1)) for uid in uids]
    changed = sum(one.status is not two.status for one, two in zip(before, after, strict=True))
    assert 2 <= changed <= len(uids) // 5


async def test_it_keeps_alive_and_every_evse_stays_heard_of(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a quarter hour of looking most were heard of within ten minutes, and changes are journalled as they came."""
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.01)
    before = await town.count(evse_status)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(live.keep_alive(town.ctx))
        for _ in range(16):
            town.later(minutes=1)  # a unit that is under way is refused as too old, and the sample looks again
            await wait_until(lambda: settled(town, in_service()))
            await wait_until(lambda: heard_of(town))
        running.cancel()
    assert await town.count(evse_status) - before > len(in_service()) // 5
    assert await town.count(evse_contact) > 0


async def heard_of(town: City) -> bool:
    """Whether every EVSE was heard of not longer ago than the sample repeats itself."""
    async with town.db.read() as tx:
        heard = [each.last_at for each in await store.page(tx, after="", most=10_000)]
    return min(heard) > town.clock.now() - timedelta(seconds=live.HEARD_EVERY_S)


async def test_it_does_not_talk_over_a_report_of_somebody_else(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator says stays until the EVSE's next quarter hour; meanwhile the sample repeats it."""
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.01)
    uid = min(in_service())
    await use_cases.record(town.ctx, uid, Status.INOPERATIVE, happened_at=town.clock.now(), source="operator")
    since = live.does(uid, town.clock.now()).since
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(live.keep_alive(town.ctx))
        town.clock.by += since + timedelta(seconds=live.STAY_S - 1) - town.clock.now()
        others = (await shown(town)).keys() - {uid}
        await wait_until(lambda: settled(town, others))
        assert (await shown(town))[uid] is Status.INOPERATIVE
        town.later(seconds=2)
        await wait_until(lambda: settled(town, {uid}))
        running.cancel()


async def settled(town: City, uids: set[str]) -> bool:
    """Whether these EVSEs do what the sample says."""
    seen, now = await shown(town), town.clock.now()
    return all(seen[EvseUid(uid)] is live.does(uid, now).status for uid in uids)


async def test_the_sample_stops_at_its_size(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks once more and finds the journal full; then it only rests."""
    rows = await town.count(evse_status)
    monkeypatch.setattr(live, "MOST_ENTRIES", rows + 1)
    rested: list[float] = []

    async def sleep(_clock: object, seconds: float) -> None:
        rested.append(seconds)
        await asyncio.sleep(0 if seconds < 60 else 60)

    monkeypatch.setattr(MovedClock, "sleep", sleep)
    town.later(hours=1)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(live.keep_alive(town.ctx))
        await wait_until(lambda: 3600 in rested)
        running.cancel()
    assert rested == [live.LOOK_EVERY_S, 3600]
    assert await town.count(evse_status) > rows
