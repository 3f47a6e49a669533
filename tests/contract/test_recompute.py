"""Figures over 30 simulated days: what was published is computed again, what is known now differs where it must, and the rows say why."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from benchmarks.rows import filled
from cityloop_charging.service import SERVICE as CHARGING
from cityloop_common.clock import ManualClock
from cityloop_common.context import Ctx
from cityloop_common.db import UnitTooOld
from cityloop_common.indicator import Ask, Evaluation, Indicator, evaluate, moment
from cityloop_common.indicator.domain import Figure, Status
from cityloop_common.indicator.publishing import publish_due
from cityloop_common.journal import closed_instant
from cityloop_common.migrating import migrate
from cityloop_common.service import Service
from cityloop_common.tables import indicator_value
from cityloop_parking.service import SERVICE as PARKING
from cityloop_waste.ledger import use_cases as ledger
from tests.contract.recompute_charging import ChargingHistory
from tests.contract.recompute_parking import ParkingHistory
from tests.contract.recompute_support import (
    DAYS,
    Counted,
    History,
    JournalRow,
    Seen,
    by_district,
    changed,
    counting,
    day_of,
    journal_rows,
    live_through,
    make_tables,
    midnight,
    opened,
    sums,
)
from tests.contract.recompute_waste import OPERATOR, WasteHistory
from tests.e2e.processes import command


@pytest.fixture(autouse=True)
def _any_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit on PostgreSQL compares its clock with the server's; these live in another month."""
    monkeypatch.setattr("cityloop_common.db.MAX_SKEW", timedelta(days=100_000))


@dataclass(frozen=True, slots=True)
class Slot:
    """What was published of a figure: by scheme the whole and its parts."""

    seen: Seen
    schemes: Mapping[str, tuple[Figure, Mapping[str, Figure]]]


@dataclass(frozen=True, slots=True)
class Told:
    """A history that is over, in its database."""

    ctx: Ctx[Any]
    history: History
    journal: Mapping[str, JournalRow]

    async def evaluated(self, indicator: Indicator, seen: Seen) -> Mapping[str, Evaluation]:
        """Every scheme by the product, as of then and as known then."""
        ask = Ask(moment(seen.on, seen.known_at), False, indicator.formula_version, self.ctx.districts.version)
        return await evaluate(self.ctx, indicator, ask)

    async def published(self, name: str) -> list[Slot]:
        """Everything that was published of a figure, in the order of days and instants."""
        v = indicator_value.c
        async with self.ctx.db.read() as tx:
            rows = await tx.all(select(indicator_value).where(v.name == name).order_by(v.on_day, v.known_at))
        found: dict[Seen, dict[str, tuple[Figure, Mapping[str, Figure]]]] = {}
        for row in rows:
            parts = {each["id"]: _figure(each) for each in row.by_district}
            seen = Seen(date.fromisoformat(row.on_day), row.known_at)
            found.setdefault(seen, {})[row.scheme] = (_figure(row._mapping), parts)
        return [Slot(seen, schemes) for seen, schemes in found.items()]


def _figure(row: Any) -> Figure:
    return Figure(row["numerator"], row["denominator"], Status(row["status"]), row["gap"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [WasteHistory, ParkingHistory, ChargingHistory])
async def test_a_published_figure_is_computed_again_and_a_restated_one_says_why(kind: type[History], url: str, tmp_path: Path) -> None:
    """Late, corrected and doubled facts: old instants give the published integers, new ones those of an oracle that shares no code."""
    history = kind("one")
    async with opened(history.service, history.clock, url, tmp_path) as ctx:
        await make_tables(ctx, history.service)
        await live_through(ctx, history)
        told = Told(ctx, history, await journal_rows(ctx, history.journals))
        for indicator in history.service.indicators:
            slots = await told.published(indicator.name)
            for slot in slots:
                await _is_computed_again(told, indicator, slot)
            nights = {slot.seen.on: slot for slot in slots if slot.seen.known_at == _night_after(slot.seen.on)}
            assert sorted(nights) == [day_of(midnight(number)) for number in range(DAYS)], "every day was published as it stood at its end"
            differing = [count for on in sorted(nights) for count in await _is_restated(told, indicator, nights[on].seen)]
            assert sum(each > 0 for each in differing) >= 3, f"{indicator.name}: nothing came late enough to be seen"
            assert 0 in differing, f"{indicator.name}: no day stayed as it was"


def _night_after(on: date) -> datetime:
    return datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(days=1, hours=-8, minutes=10)


async def _is_computed_again(told: Told, indicator: Indicator, slot: Slot) -> None:
    """At the published instant: the published integers, in the whole and by district, and the oracle's."""
    again = await told.evaluated(indicator, slot.seen)
    assert slot.schemes.keys() == again.keys() == {each.id for each in indicator.schemes}
    for scheme, (total, parts) in slot.schemes.items():
        assert (again[scheme].total, dict(again[scheme].by_district)) == (total, parts), (indicator.name, scheme, slot.seen)
        _is_the_oracles(told, indicator, again[scheme], slot.seen)


def _is_the_oracles(told: Told, indicator: Indicator, of: Evaluation, seen: Seen) -> Mapping[str, Counted]:
    """Row by row, and therefore in every sum; every journal row that is named was known then."""
    expected = told.history.counted(indicator.name, of.scheme, seen)
    nothing = expected is None or (indicator.fixed_denominator is None and not sums(expected).denominator)
    assert nothing == (of.total.status is Status.NO_DATA), (indicator.name, of.scheme, seen, of.missing)
    expected = expected or {}
    found = counting(of.rows)
    assert found == expected, (indicator.name, of.scheme, seen, sorted(changed(found, expected)))
    whole, parts = sums(expected), by_district(expected)
    assert of.total.numerator == whole.numerator
    assert {name: part.numerator for name, part in of.by_district.items() if part.numerator} == {
        name: part.numerator for name, part in parts.items() if part.numerator
    }
    if indicator.fixed_denominator is None:
        assert of.total.denominator == whole.denominator
        assert {name: part.denominator for name, part in of.by_district.items() if part.denominator} == {
            name: part.denominator for name, part in parts.items() if part.denominator
        }
    for row in of.rows:
        for named in told.history.evidence(row):
            assert told.journal[named].recorded_at <= seen.known_at, (row.key, named)
    return expected


async def _is_restated(told: Told, indicator: Indicator, then: Seen) -> list[int]:
    """As known now: the oracle's; what differs was learnt since, and each row that differs names it. How many do, scheme by scheme."""
    now = Seen(then.on, closed_instant(told.ctx.clock.now()))
    before, after = await told.evaluated(indicator, then), await told.evaluated(indicator, now)
    differing = []
    for scheme in before:
        old = _is_the_oracles(told, indicator, before[scheme], then)
        new = _is_the_oracles(told, indicator, after[scheme], now)
        keys = changed(counting(before[scheme].rows), counting(after[scheme].rows))
        assert keys == changed(old, new)
        assert (sums(old) == sums(new)) == (_sums(before[scheme]) == _sums(after[scheme]))
        _say_why(told, keys, after[scheme], then, nothing_was_known=before[scheme].missing is not None)
        differing.append(len(keys))
    return differing


def _sums(of: Evaluation) -> tuple[int, int]:
    return sums(counting(of.rows))


def _say_why(told: Told, keys: set[str], after: Evaluation, then: Seen, *, nothing_was_known: bool) -> None:
    """Each row that differs names a journal row that was learnt since, or another row decides on it that differs and does."""
    by_key = {row.key: row for row in after.rows}
    late = {id_ for id_, row in told.journal.items() if row.recorded_at > then.known_at}

    def names_late(key: str) -> bool:
        return key in by_key and not late.isdisjoint(told.history.evidence(by_key[key]))

    if nothing_was_known:  # a figure as a whole
        assert not keys or any(names_late(key) for key in by_key), (after.indicator, after.scheme, then)
        return
    for key in keys:
        row = by_key.get(key)
        others = told.history.decided_by(key, row)
        assert names_late(key) or any(names_late(other) for other in others), (after.indicator, after.scheme, then, key, row)


async def test_a_slow_unit_never_changes_a_published_figure(url: str, tmp_path: Path) -> None:
    """A load is weighed, a figure is published over its instant, the unit commits too late: refused, and the figure stays."""
    history = WasteHistory("slow")
    indicator = history.service.indicators[0]
    async with opened(history.service, history.clock, url, tmp_path) as ctx:
        await make_tables(ctx, history.service)
        await history.begin(ctx)
        told, clock = Told(ctx, history, {}), history.clock
        clock.advance((midnight(1) + timedelta(minutes=9, seconds=50) - clock.now()).total_seconds())
        kept, lost = (replace(history.a_ticket(number), weighed_at=midnight(1) - timedelta(hours=1)) for number in ("kept", "lost"))
        async with ctx.db.write() as tx:
            await ledger.record_in(tx, ctx, kept, operator_id=OPERATOR)
            closed = Seen(day_of(midnight(0)), closed_instant(clock.now() + timedelta(seconds=25)))
            early = await told.evaluated(indicator, closed)
            clock.advance(25)
        assert await told.evaluated(indicator, closed) == early, "a unit that is in time lies after every closed instant"
        with pytest.raises(UnitTooOld):
            async with ctx.db.write() as tx:
                await ledger.record_in(tx, ctx, lost, operator_id=OPERATOR)
                clock.advance(61)
                if ctx.db.dialect_name == "postgresql":  # on SQLite whoever publishes waits for this unit
                    assert await publish_due(ctx, [indicator]) > 0
        await publish_due(ctx, [indicator])
        slot = next(each for each in await told.published(indicator.name) if each.seen.known_at == _night_after(each.seen.on))
        again = (await told.evaluated(indicator, slot.seen))["hauled"]
        assert [row.evidence["ticket"] for row in again.rows] == ["kept"]
        assert slot.schemes["hauled"][0] == again.total


@pytest.mark.slow
async def test_the_command_line_computes_a_figure_again(tmp_path: Path) -> None:
    """It says that it equals what was published; after a journal row was tampered with it says no, and ends with 1."""
    history, file = WasteHistory("line"), tmp_path / "waste.db"
    async with opened(history.service, history.clock, f"sqlite:///{file}", tmp_path) as ctx:
        await migrate(ctx.db, history.service.migrations, history.service.metadata)
        await live_through(ctx, history, nights=9)
    seen = Seen(day_of(midnight(7)), _night_after(day_of(midnight(7))))
    body, status = _recompute(file, tmp_path, seen)
    assert (body["equals_published"], status) == (True, 0)
    assert body["numerator"] == sums(history.counted("recycling-rate", "hauled", seen) or {}).numerator > 0
    for number, tampering in enumerate(_tamperings(history, seen)):
        copy = tmp_path / f"copy-{number}.db"
        shutil.copy(file, copy)
        with sqlite3.connect(copy) as connection:
            assert connection.execute(*tampering).rowcount == 1
        connection.close()
        body, status = _recompute(copy, tmp_path, seen)
        assert (body["equals_published"], status) == (False, 1), tampering


def _tamperings(history: WasteHistory, seen: Seen) -> list[tuple[str, tuple[object, ...]]]:
    """Another mass, another district, a row that is gone, one that was learnt later and pretends that it was not."""
    counted = history.counted("recycling-rate", "hauled", seen) or {}
    once = {each.chain_id for each in history.loads if len(each.versions) == 1}
    load = next(key for key in sorted(counted) if key in once)
    late = next(
        each.chain_id
        for each in history.loads
        if each.chain_id in once
        and each.versions[0].weighed_at < seen.at
        and each.versions[0].learnt_at > seen.known_at
        and each.chain_id in (history.counted("recycling-rate", "hauled", Seen(seen.on, each.versions[0].learnt_at)) or {})
    )
    elsewhere = "d2" if counted[load].district != "d2" else "d1"
    return [
        ("UPDATE load SET gross_kg = gross_kg + 1, net_kg = net_kg + 1 WHERE id = ?", (load,)),
        ("UPDATE load SET district = ? WHERE id = ?", (elsewhere, load)),
        ("DELETE FROM load WHERE id = ?", (load,)),
        ("UPDATE load SET recorded_at = happened_at WHERE id = ?", (late,)),
    ]


def _recompute(file: Path, folder: Path, seen: Seen) -> tuple[dict[str, Any], int]:
    settings = {"CITYLOOP_VAR": str(folder), "CITYLOOP_WASTE_DATABASE_URL": f"sqlite:///{file}"}
    asked = ("--on", seen.on.isoformat(), "--known-at", seen.known_at.isoformat(), "--scheme", "hauled", "--json")
    done = command(settings, folder, "waste", "recompute", "recycling-rate", *asked)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


@pytest.mark.stack
@pytest.mark.parametrize(
    "service, journal, span",
    [
        (CHARGING, "evse_status", filled.span(2, datetime(2026, 1, 2, 12, tzinfo=UTC))),
        (PARKING, "observation", filled.span(1, datetime(2026, 1, 2, 19, tzinfo=UTC))),
    ],
    ids=["charging", "parking"],
)
async def test_a_figure_never_reads_a_whole_journal(
    service: Service, journal: str, span: filled.Span, fresh_postgres_url: str, tmp_path: Path
) -> None:
    """Its cost does not grow with what lies in the journal: PostgreSQL goes down the index for each thing, whatever it has learnt."""
    async with opened(service, ManualClock(span.now), fresh_postgres_url, tmp_path) as ctx:
        await make_tables(ctx, service)
        filling = await (filled.charging if service is CHARGING else filled.parking)(fresh_postgres_url, span)
        assert filling.rows > 20_000
        read = text("SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = :name").bindparams(name=journal)
        for indicator in service.indicators:
            for _ in range(7):  # after five the driver's connection may keep a plan that is good for every instant
                async with ctx.db.read() as tx:
                    await indicator.read(tx, moment(span.last, span.now))
                    assert await tx.scalar(read) == 0, indicator.name
