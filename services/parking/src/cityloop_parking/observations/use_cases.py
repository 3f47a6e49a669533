"""What one does with counts: take them, one or many, and tell of them again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cityloop_common import outbox
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import CityLoopError
from cityloop_common.grouped import GroupedWrite
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import store
from cityloop_parking.observations.domain import InvalidObservation, Known, Observation, Outcome, Taken, check_time, resolve
from cityloop_parking.observations.events import Published, occupancy_observed
from cityloop_parking.places.domain import UnknownPlace, is_place_id

PAGE = 200
GROUP = 64


@dataclass(frozen=True, slots=True)
class Report:
    """Counts on their way in; `operator_id` is whose places the reporter may speak for, None for every place."""

    place_id: str
    observation: Observation
    operator_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a report."""

    place_id: str
    outcome: Outcome
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A report that can be true, with its counts resolved."""

    index: int
    report: Report
    taken: Sequence[Taken]


Counter = GroupedWrite[Report, Verdict]


def open_counter(ctx: ParkingCtx) -> Counter:
    """Reports of one API replica that share units: `submit` a Report, `run` under the supervisor."""
    return GroupedWrite(ctx.db, partial(_record_group, ctx), max_items=GROUP)


async def record(ctx: ParkingCtx, place_id: str, observation: Observation) -> Verdict:
    """One report that this service itself makes. Raises UnknownPlace, InvalidObservation, FromTheFuture."""
    async with ctx.db.write() as tx:
        outcome = (await record_in(tx, ctx, [Report(place_id, observation)]))[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def record_many(ctx: ParkingCtx, reports: Sequence[Report]) -> Sequence[Verdict | Exception]:
    """A batch in one unit; what cannot be true is an outcome of its own and stops no other."""
    async with ctx.db.write() as tx:
        return await record_in(tx, ctx, reports)


async def record_in(tx: WriteTx, ctx: ParkingCtx, reports: Sequence[Report]) -> Sequence[Verdict | Exception]:
    """Stores reports in an open unit: journal, newest counts (older never wins), one event a place. One outcome each."""
    places = await store.known(tx, {report.place_id for report in reports if is_place_id(report.place_id)})
    outcomes: list[Verdict | Exception] = [UnknownPlace()] * len(reports)
    accepted: list[_Accepted] = []
    for index, report in enumerate(reports):
        try:
            accepted.append(_Accepted(index, report, _believed(report, places.get(report.place_id), ctx.clock.now())))
        except CityLoopError as error:
            outcomes[index] = error
    if not accepted:
        return outcomes
    versions = await store.take_turns(tx, {each.report.place_id for each in accepted})
    event_ids = {place_id: ctx.ids.new() for place_id in sorted(versions)}
    winners = _newest(ctx, tx, accepted)
    moved = await store.keep_newest(tx, [row for row, _ in winners.values()])
    told = {(index, pair[1]): event_ids[pair[0]] for pair, (_, index) in winners.items() if pair in moved}
    await store.write_journal(tx, [_journal_row(tx, ctx, each, taken, told) for each in accepted for taken in each.taken])
    await _publish(tx, ctx, {place_id for place_id, _ in moved}, versions, event_ids)
    current = {index for index, _ in told}
    for each in accepted:
        outcome = Outcome.CURRENT if each.index in current else Outcome.SUPERSEDED
        outcomes[each.index] = Verdict(each.report.place_id, outcome, tx.recorded_at)
    return outcomes


async def record_past_in(tx: WriteTx, ctx: ParkingCtx, reports: Sequence[Report]) -> None:
    """Journals what was counted long ago, of an invented city: it is nobody's newest count, and nobody is told of it."""
    known = await store.known(tx, {report.place_id for report in reports})
    rows: list[dict[str, object]] = []
    for index, report in enumerate(reports):
        accepted = _Accepted(index, report, _believed(report, known.get(report.place_id), ctx.clock.now()))
        rows += [_journal_row(tx, ctx, accepted, taken, {}) for taken in accepted.taken]
    await store.write_journal(tx, rows)


async def republished(ctx: ParkingCtx, key: str | None) -> AsyncIterator[Event]:
    """The newest event of every place's counts, or of one, with its old id."""
    after = ""
    while True:
        async with ctx.db.read() as tx:
            found = await store.page_published(tx, after=after, most=PAGE, only=key)
            counts = await store.counts(tx, {each.place_id for each in found}) if found else {}
        if not found:
            return
        for each in found:
            yield occupancy_observed(each, counts.get(each.place_id, []), source=ctx.source)
        after = found[-1].place_id


async def counts_from(ctx: ParkingCtx, source: str) -> int:
    """How many counts of a source are in the journal."""
    async with ctx.db.read() as tx:
        return await store.count_rows(tx, source)


async def _record_group(ctx: ParkingCtx, tx: WriteTx, reports: Sequence[Report]) -> Sequence[Verdict | Exception]:
    return await record_in(tx, ctx, reports)


def _believed(report: Report, place: Known | None, now: datetime) -> Sequence[Taken]:
    """The counts of a report. A place of another operator is as unknown as none."""
    if place is None or (report.operator_id is not None and place.operator_id != report.operator_id):
        raise UnknownPlace
    if not report.observation.source.strip():
        raise InvalidObservation("the source has no name")
    check_time(report.observation.observed_at, now)
    return resolve(report.observation.counts, place.capacity)


def _journal_row(tx: WriteTx, ctx: ParkingCtx, accepted: _Accepted, taken: Taken, told: Mapping[tuple[int, str], str]) -> dict[str, object]:
    seen = accepted.report.observation
    return {
        "id": ctx.ids.new(),
        "place_id": accepted.report.place_id,
        "category": taken.category,
        "source": seen.source,
        "minute": int(seen.observed_at.timestamp()) // 60,
        "happened_at": seen.observed_at,
        "recorded_at": tx.recorded_at,
        "occupied": taken.occupied,
        "capacity": taken.capacity,
        "capacity_reported": taken.capacity_reported,
        "event_id": told.get((accepted.index, taken.category)),
        "interval_s": seen.interval_s or ctx.settings.count_interval_s,
    }


def _newest(ctx: ParkingCtx, tx: WriteTx, accepted: Sequence[_Accepted]) -> dict[tuple[str, str], tuple[dict[str, object], int]]:
    """Of each place and category the newest count of the group, and whose it is; of equals the first."""
    newest: dict[tuple[str, str], tuple[datetime, dict[str, object], int]] = {}
    for each in accepted:
        seen = each.report.observation
        for taken in each.taken:
            pair = (each.report.place_id, taken.category)
            if pair in newest and newest[pair][0] >= seen.observed_at:
                continue
            row = {
                "place_id": pair[0],
                "category": taken.category,
                "occupied": taken.occupied,
                "capacity": taken.capacity,
                "observed_at": seen.observed_at,
                "recorded_at": tx.recorded_at,
                "source": seen.source,
                "interval_s": seen.interval_s or ctx.settings.count_interval_s,
            }
            newest[pair] = (seen.observed_at, row, each.index)
    return {pair: (row, index) for pair, (_, row, index) in newest.items()}


async def _publish(tx: WriteTx, ctx: ParkingCtx, moved: set[str], versions: dict[str, int], event_ids: dict[str, str]) -> None:
    """One event for each place whose counts moved, in the order in which the places were locked."""
    if not moved:
        return
    counts = await store.counts(tx, moved)
    told = [Published(place_id, versions[place_id], event_ids[place_id], tx.recorded_at) for place_id in sorted(moved)]
    await store.note_published(tx, told)
    await outbox.append_many(tx, [occupancy_observed(each, counts[each.place_id], source=ctx.source) for each in told])
