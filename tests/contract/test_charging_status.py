"""Laws of statuses, the same on every database: the newest is shown, changes are journalled and told, the rest is contact."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import EvseUid, UnknownEvse
from cityloop_charging.status import store, use_cases
from cityloop_charging.status.domain import KnownEvse, Outcome, Report, Status, hour_of
from cityloop_charging.status.tables import evse_contact, evse_live, evse_quarantine, evse_status
from cityloop_common.errors import CityLoopError
from cityloop_common.hot import Hot, HotStatement
from tests.contract.charging_support import OPERATOR, City, city, make_tables, station

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
ONE, TWO = EvseUid(f"{OPERATOR}*S001*S00101"), EvseUid(f"{OPERATOR}*S001*S00102")
FREE, BUSY, BROKEN = Status.AVAILABLE, Status.CHARGING, Status.OUTOFORDER


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city with one station of two EVSEs; nothing was told yet but the station."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        async with opened.db.write() as tx:
            await registry.put_in(tx, opened.ctx, [station()], source="test")
        yield opened


def known(uid: EvseUid = ONE) -> KnownEvse:
    return KnownEvse(uid, f"{OPERATOR}*S001", OPERATOR, None)


def report(minute: float, status: Status, *, uid: EvseUid = ONE, seq: int = 1, park: int | None = None) -> Report:
    return Report(known(uid), status, NOON + timedelta(minutes=minute), "test", seq, park)


async def send(town: City, *reports: Report) -> list[Outcome]:
    """One unit."""
    async with town.db.write() as tx:
        return await use_cases.record_in(tx, town.ctx, reports)


async def journal(town: City, uid: EvseUid = ONE) -> list[tuple[float, Status, bool]]:
    """Minute, status, and whether an event told of it."""
    rows = select(evse_status).where(evse_status.c.evse_uid == uid).order_by(evse_status.c.happened_at, evse_status.c.id)
    async with town.db.read() as tx:
        found = await tx.all(rows)
    return [((row.happened_at - NOON).total_seconds() / 60, Status(row.status), row.event_id is not None) for row in found]


async def heard_of(town: City, uid: EvseUid) -> list[tuple[object, ...]]:
    """The contact of an EVSE."""
    c = evse_contact.c
    async with town.db.read() as tx:
        return [
            tuple(row) for row in await tx.all(select(c.hour, c.first_at, c.last_at, c.count).where(c.evse_uid == uid).order_by(c.hour))
        ]


def count_statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows handed to each hot statement from now on."""
    sent: list[int] = []
    for name in ("all", "run"):
        sends = getattr(Hot, name)

        async def counted(self: Hot, statement: HotStatement, params: Mapping[str, object], sends: Any = sends) -> Any:
            sent.append(max((len(json.loads(value)) for key, value in params.items() if key in {"rows", "ids"}), default=0))  # type: ignore[arg-type]
            return await sends(self, statement, params)

        monkeypatch.setattr(Hot, name, counted)
    return sent


async def told(town: City) -> list[tuple[str, int, object]]:
    """Key, sequence and status of what was told of EVSEs."""
    return [(event.key, event.sequence, event.body()["status"]) for event in await town.told() if event.topic == "charging.evse"]


async def test_a_change_is_journalled_shown_and_told(town: City) -> None:
    """The event has the whole state; its id is in the journal and in the live row."""
    assert await send(town, report(0, FREE), report(5, BUSY, park=50)) == [Outcome.CURRENT, Outcome.CURRENT]
    async with town.db.read() as tx:
        live = await store.live(tx, ONE)
        row = (await tx.all(select(evse_status).where(evse_status.c.status == BUSY.value)))[0]
    assert live is not None
    assert (live.status, live.since, live.version) == (BUSY, NOON + timedelta(minutes=5), 2)
    assert (live.entry.id, live.event_id) == (row.id, row.event_id)
    assert (row.park_status, row.source) == (50, "test")
    event = [event for event in await town.told() if event.topic == "charging.evse"][-1]
    assert (event.id, event.sequence, event.time) == (row.event_id, 2, row.recorded_at)
    named = {"evse_uid": ONE, "location_id": f"{OPERATOR}*S001", "operator_id": OPERATOR}
    assert event.body().items() >= {**named, "status": "CHARGING", "since": "2026-06-01T04:05:00Z"}.items()


async def test_a_report_that_changes_nothing_is_contact(town: City) -> None:
    """One row per EVSE and hour with first, last and count; no journal row, no event."""
    await send(town, report(0, FREE))
    await send(town, report(10, FREE), report(50, FREE), report(70, FREE), report(20, FREE, uid=TWO))
    await send(town, report(55, FREE), report(40, FREE))
    assert await journal(town) == [(0, FREE, True)]
    async with town.db.read() as tx:
        rows = await tx.all(select(evse_contact).order_by(evse_contact.c.evse_uid, evse_contact.c.hour))
    seen = [(row.evse_uid, *((at - NOON).total_seconds() / 60 for at in (row.hour, row.first_at, row.last_at)), row.count) for row in rows]
    assert seen == [(ONE, 0, 10, 55, 4), (ONE, 60, 70, 70, 1)]
    async with town.db.read() as tx:
        live = await store.live(tx, ONE)
    assert live is not None
    assert (live.since, live.last_at, live.version) == (NOON, NOON + timedelta(minutes=70), 1)


async def test_an_older_report_is_journalled_once_and_changes_nothing(town: City) -> None:
    """Also within one unit and when it comes again; nobody is told."""
    await send(town, report(10, BUSY))
    late = report(5, FREE)
    assert await send(town, late, late) == [Outcome.SUPERSEDED, Outcome.SUPERSEDED]
    assert await send(town, late) == [Outcome.SUPERSEDED]
    assert await journal(town) == [(5, FREE, False), (10, BUSY, True)]
    assert await told(town) == [(ONE, 1, "CHARGING")]


@pytest.mark.parametrize("together", [True, False], ids=["in one unit", "in units of their own"])
async def test_a_late_report_holds_until_the_status_before_it_was_repeated(town: City, together: bool) -> None:
    """Also when something newer is known since, and whatever contact was made in that hour; the same again changes nothing."""
    sent = [report(10, BUSY), report(30, BUSY), report(50, BUSY), report(90, BROKEN), report(20, FREE), report(40, FREE), report(20, FREE)]
    for group in [sent] if together else [[each] for each in sent]:
        await send(town, *group)
    assert [(minute, status) for minute, status, _ in await journal(town)] == [
        (10, BUSY), (20, FREE), (30, BUSY), (40, FREE), (50, BUSY), (90, BROKEN),
    ]  # fmt: skip
    assert await told(town) == [(ONE, 1, "CHARGING"), (ONE, 2, "OUTOFORDER")]
    async with town.db.read() as tx:
        at_the_hour = await store.as_of(tx, at=NOON + timedelta(minutes=60), known_at=town.clock.now())
    assert at_the_hour[ONE].status is BUSY


@pytest.mark.parametrize("together", [False, True])
async def test_a_late_report_of_an_instant_that_has_a_newer_one_interrupts_nothing(town: City, together: bool) -> None:
    """The higher number of one second holds, and its repetition is no entry: what is known now is the journal's newest."""
    sent = (report(0, BUSY, seq=4), report(2, BUSY), report(0, BROKEN, seq=3))
    for group in [sent] if together else [[each] for each in sent]:
        await send(town, *group)
    assert await journal(town) == [(0, BUSY, True), (0, BROKEN, False)]
    async with town.db.read() as tx:
        live = await store.live(tx, ONE)
        newest = (await store.as_of(tx, at=NOON + timedelta(minutes=5), known_at=town.clock.now()))[ONE]
    assert live is not None
    assert (newest.entry_id, newest.since) == (live.entry.id, live.since)


async def test_a_group_comes_to_what_its_reports_come_to_one_by_one(town: City) -> None:
    """Journal, contact and what was told, whatever comes in which order: groups of all sizes beside units of one report each."""
    pairs = 12
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, [station(2, evses=2 * pairs)], source="test")
    uids = [EvseUid(f"{OPERATOR}*S002*S002{number:02d}") for number in range(1, 2 * pairs + 1)]
    chance = random.Random(5)
    for together, alone in zip(uids[:pairs], uids[pairs:], strict=True):
        minutes = [chance.randrange(0, 180, 3) for _ in range(60)]
        sent = [report(minute, chance.choice([FREE, BUSY, BROKEN]), seq=chance.randrange(2)) for minute in minutes]
        while sent:
            group, sent = sent[:20], sent[chance.choice([5, 20]) :]
            at_once = await send(town, *(replace(each, evse=known(together)) for each in group))
            assert at_once == [(await send(town, replace(each, evse=known(alone))))[0] for each in group]
        assert [row[:2] for row in await journal(town, together)] == [row[:2] for row in await journal(town, alone)]
        assert await heard_of(town, together) == await heard_of(town, alone)
    versions = {uid: [(sequence, status) for key, sequence, status in await told(town) if key == uid] for uid in uids}
    assert [versions[uid] for uid in uids[:pairs]] == [versions[uid] for uid in uids[pairs:]]


@pytest.mark.parametrize("newer", [False, True], ids=["within the present status", "within an earlier one"])
async def test_late_reports_cost_the_same_few_statements_however_many_they_are(
    town: City, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    """Two hundred that each interrupt a repeated status, in one unit with others: no more statements than two, and a row each."""
    costs: list[tuple[int, int]] = []
    for number, uid in enumerate((ONE, TWO)):
        most = (2, 200)[number]
        await send(town, report(-1, BUSY, uid=uid), *(report(2 * minute, BUSY, uid=uid) for minute in range(most + 1)))
        if newer:
            await send(town, report(2 * most + 2, BROKEN, uid=uid))
        late = [report(2 * minute + 1, FREE, uid=uid) for minute in reversed(range(most))]
        with monkeypatch.context() as counting:
            sent = count_statements(counting)
            outcomes = await send(town, *late, *(report(500 + minute, FREE, uid=uid) for minute in range(2)))
        assert outcomes[:most] == [Outcome.SUPERSEDED] * most
        costs.append((len(sent), max(sent)))
    (few, _), (many, rows) = costs
    assert many == few <= 10
    assert rows <= 2 * 200 + 2


async def test_a_late_report_does_not_hide_a_repetition_after_it(town: City) -> None:
    """The journal gets the repetition, too, and the city hears from when on the status is true."""
    await send(town, report(10, BUSY), report(30, BUSY))
    assert await send(town, report(20, FREE)) == [Outcome.SUPERSEDED]
    assert await journal(town) == [(10, BUSY, True), (20, FREE, False), (30, BUSY, True)]
    assert await told(town) == [(ONE, 1, "CHARGING"), (ONE, 2, "CHARGING")]


async def test_statuses_as_they_were_and_as_they_were_known(town: City) -> None:
    """A late report changes what is known of an instant, not what was known then."""
    town.clock.by = NOON + timedelta(hours=2) - town.clock.now() + town.clock.by
    await send(town, report(0, FREE), report(60, BUSY))
    before = town.clock.now()
    town.later(minutes=10)
    await send(town, report(30, BROKEN), report(50, FREE, uid=TWO))
    at = NOON + timedelta(minutes=45)
    async with town.db.read() as tx:
        as_known = await store.as_of(tx, at=at, known_at=before)
        restated = await store.as_of(tx, at=at, known_at=town.clock.now())
        earlier = await store.as_of(tx, at=NOON - timedelta(seconds=1), known_at=town.clock.now())
        later = await store.as_of(tx, at=NOON + timedelta(hours=9), known_at=town.clock.now())
    assert {uid: found.status for uid, found in as_known.items()} == {ONE: FREE}
    assert {uid: found.status for uid, found in restated.items()} == {ONE: BROKEN}
    assert restated[ONE].since == NOON + timedelta(minutes=30)
    assert earlier == {}
    assert {uid: found.status for uid, found in later.items()} == {ONE: BUSY, TWO: FREE}


async def test_as_of_breaks_ties_as_the_present_does(town: City) -> None:
    """Same stamp: the sequence decides, then what was learnt later."""
    await send(town, report(0, FREE, seq=2), report(0, BUSY, seq=1))
    await send(town, report(0, BROKEN, seq=2))
    async with town.db.read() as tx:
        found = await store.as_of(tx, at=NOON, known_at=town.clock.now())
        live = await store.live(tx, ONE)
    assert live is not None
    assert (found[ONE].status, found[ONE].entry_id) == (BROKEN, live.entry.id)


async def test_republished_events_are_the_ones_that_were_sent(town: City) -> None:
    """Same id, sequence, time and bytes, also after reports that told nobody."""
    await send(town, report(0, FREE), report(5, BUSY), report(1, BROKEN, uid=TWO))
    await send(town, report(3, BROKEN), report(9, BUSY))
    newest = {event.key: event for event in await town.told() if event.topic == "charging.evse"}
    assert [event async for event in use_cases.republished(town.ctx, None)] == [newest[ONE], newest[TWO]]
    assert [event async for event in use_cases.republished(town.ctx, TWO)] == [newest[TWO]]


async def test_an_event_keeps_its_bytes_when_the_station_changes(town: City) -> None:
    """The bay that was told is the bay that is told again; the next status tells the new one."""
    await send(town, report(0, FREE))
    numbered = tuple(replace(each, bay_no="A1") for each in station().evses)
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, [replace(station(), evses=numbered)], source="test")
    first = [event for event in await town.told() if event.topic == "charging.evse"]
    assert [event async for event in use_cases.republished(town.ctx, None)] == first
    await use_cases.record(town.ctx, ONE, BUSY, happened_at=NOON + timedelta(minutes=5), source="test")
    (again,) = [event async for event in use_cases.republished(town.ctx, None)]
    assert again.body()["bay_no"] == "A1"


async def test_unknown_and_removed_evses_take_no_report(town: City) -> None:
    """Whatever the id looks like."""
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, [station(evses=1)], source="test")
    for uid in ("nowhere", f"{OPERATOR}*S001*none", "no\x00where", TWO):
        with pytest.raises(UnknownEvse):
            await use_cases.record(town.ctx, uid, FREE, happened_at=NOON, source="test")
    assert await use_cases.record(town.ctx, ONE, FREE, happened_at=NOON, source="test") is Outcome.CURRENT


async def test_what_is_quarantined_never_becomes_current(town: City) -> None:
    """Counted by how its stamp is off; journal, live state, contact and city hear nothing; after 90 days it is forgotten."""
    town.later(seconds=3600 - town.clock.now().timestamp() % 3600 + 1)  # an hour that has just begun
    hour = hour_of(town.clock.now())
    for minutes in ((0, 3), (-9,)):
        aside = [(report(minute, FREE), "late") for minute in minutes]
        async with town.db.write() as tx:
            await use_cases.quarantine_in(tx, town.ctx, [*aside, (report(99, BUSY), "early"), (report(99, BUSY, uid=TWO), "early")])
    async with town.db.read() as tx:
        q = evse_quarantine.c
        rows = await tx.all(select(evse_quarantine).order_by(q.evse_uid, q.skew.desc()))
    assert {row.hour for row in rows} == {hour}
    seen = [(row.evse_uid, row.skew, *((at - NOON).total_seconds() / 60 for at in (row.first_at, row.last_at)), row.count) for row in rows]
    assert seen == [(ONE, "late", -9, 3, 3), (ONE, "early", 99, 99, 2), (TWO, "early", 99, 99, 2)]
    assert [await town.count(table) for table in (evse_status, evse_live, evse_contact)] == [0, 0, 0]
    assert await told(town) == []
    town.later(days=89)
    assert await use_cases.prune(town.ctx) == 0
    town.later(days=2)
    assert await use_cases.prune(town.ctx) == 3
    assert await town.count(evse_quarantine) == 0


async def test_contact_is_forgotten_after_a_month(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every EVSE, however many batches they are; the newer hours, the journal and the present state stay."""
    monkeypatch.setattr(store, "PRUNED_AT_ONCE", 2)
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, [station(2, evses=3)], source="test")
    uids = [ONE, TWO, *(EvseUid(f"{OPERATOR}*S002*S0020{number}") for number in (1, 2, 3))]
    town.clock.by += NOON + timedelta(hours=3) - town.clock.now()
    for uid in uids:
        await send(town, *(report(minute, FREE, uid=uid) for minute in (0, 10, 70, 130)))
    town.later(days=31, hours=-2, minutes=-1)
    assert await use_cases.prune(town.ctx) == len(uids)
    assert await town.count(evse_contact) == 2 * len(uids)
    assert await use_cases.prune(town.ctx) == 0
    town.later(days=90)
    assert await use_cases.prune(town.ctx) == 2 * len(uids)
    assert [await town.count(table) for table in (evse_status, evse_live)] == [len(uids)] * 2


async def test_nothing_is_stored_of_a_unit_that_fails(town: City) -> None:
    """Not even the row that locks the EVSE."""
    with pytest.raises(CityLoopError):
        async with town.db.write() as tx:
            await use_cases.record_in(tx, town.ctx, [report(0, FREE)])
            raise CityLoopError
    assert [await town.count(table) for table in (evse_status, evse_live)] == [0, 0]
    assert await told(town) == []


async def test_units_in_opposite_order_wait_for_each_other_and_never_deadlock(town: City, url: str, tmp_path: Path) -> None:
    """Two replicas report 30 EVSEs, one upwards and one downwards, eight times at once, the first time each EVSE's first."""
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, [station(2, evses=30)], source="test")
    uids = [EvseUid(f"{OPERATOR}*S002*S002{number:02d}") for number in range(1, 31)]
    async with city(url, tmp_path) as other:
        units = []
        for turn in range(8):
            upwards = [report(turn, FREE, uid=uid, seq=1) for uid in uids]
            downwards = [report(turn, BUSY, uid=uid, seq=2) for uid in reversed(uids)]
            units += [send(town, *upwards), send(other, *downwards)]
        outcomes = await asyncio.gather(*units)
    assert all(len(unit) == 30 for unit in outcomes)
    async with town.db.read() as tx:
        found = await store.page(tx, after="", most=100)
    assert {(live.status, live.last_at, live.last_seq) for live in found} == {(BUSY, NOON + timedelta(minutes=7), 2)}
    sequences: dict[str, list[int]] = {}
    for key, sequence, _ in await told(town):
        sequences.setdefault(key, []).append(sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())


async def test_the_newest_of_every_evse_is_one_seek_each(town: City) -> None:
    """On PostgreSQL the journal is read by its index, backwards from the instant, however long it is."""
    if town.db.dialect_name != "postgresql":
        return
    fill = (
        "INSERT INTO evse_status (id, evse_uid, status, happened_at, seq, recorded_at, source)"
        " SELECT md5(n::text), 'X*' || n % 50, 'AVAILABLE', timestamptz '2026-01-01' + n * interval '1 minute', 1,"
        " timestamptz '2026-01-01' + n * interval '1 minute', 'test' FROM generate_series(1, 50000) n"
    )
    async with town.db.write() as tx:
        await tx.run(text(fill))
        await tx.run(text("ANALYZE evse_status"))
    plan = (
        "EXPLAIN SELECT (SELECT j.id FROM evse_status j WHERE j.evse_uid = evse.uid AND j.happened_at <= '2026-02-01'"
        " AND j.recorded_at <= '2026-02-01' ORDER BY j.happened_at DESC, j.seq DESC, j.recorded_at DESC, j.id DESC LIMIT 1) FROM evse"
    )
    async with town.db.read() as tx:
        lines = [row[0] for row in await tx.all(text(plan))]
    assert any("Index Scan Backward using ix_evse_status_as_of" in line for line in lines), lines
