"""What one does with statuses: take a group of reports, put aside what cannot be believed, tell of all again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry.domain import EvseUid, UnknownEvse, is_evse_uid
from cityloop_charging.status import store
from cityloop_charging.status.domain import Contact, Freshness, Group, Judged, Live, Outcome, Report, Status, hour_of, judge, late_in
from cityloop_charging.status.events import body, status_changed
from cityloop_common import outbox, telemetry
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.fanout import Change

PAGE = 500
CHANGES = "evses"  # the kind of our entries in the fan-out stream: what one unit told
EVSES = telemetry.gauge("charging_evses", "EVSEs in service by how long ago they were heard of", ("service", "freshness"))
LAST_HEARD = telemetry.gauge("charging_last_heard_timestamp_seconds", "When any EVSE was heard of last; 0 before the first time")
REPORTS = telemetry.counter("evse_status_reports_total", "Reports of EVSEs by what became of them", ("service", "outcome"))


async def record(ctx: ChargingCtx, uid: str, status: Status, *, happened_at: datetime, source: str, seq: int = 0) -> Outcome:
    """One report that this service itself makes. Raises UnknownEvse."""
    async with ctx.db.write() as tx:
        known = await store.known(tx, [uid]) if is_evse_uid(uid) else {}
        if not known:
            raise UnknownEvse
        return (await record_in(tx, ctx, [Report(known[EvseUid(uid)], status, happened_at, source, seq)]))[0]


async def record_in(tx: WriteTx, ctx: ChargingCtx, reports: Sequence[Report]) -> list[Outcome]:
    """Stores reports in an open unit, in their order: journal, newest statuses (older never wins), contact, events.

    Their EVSEs must be known (`store.known`); their stamps must be believed, else `quarantine_in` is their place.
    """
    if not reports:
        return []
    lives = await store.lock(tx, {report.evse.uid: report.evse for report in reports})
    late = late_in(reports, lives)
    group = Group(await store.around(tx, late) if late else {})
    ids = iter(ctx.ids.new, "")
    judged: list[Judged] = []
    for report in reports:
        live = lives.get(report.evse.uid)
        verdict = judge(live, report, recorded_at=tx.recorded_at, ids=ids, repeated_after=group.repeated_after)
        lives[report.evse.uid] = verdict.live
        group.add(report, verdict)
        judged.append(verdict)
    await _write_journal(tx, judged)
    await store.keep(tx, lives.values())
    if contacts := group.contacts:
        await store.heard(tx, contacts)
    await _tell(tx, ctx, [verdict.live for verdict in judged if verdict.told])
    for outcome in Outcome:
        if count := sum(verdict.outcome is outcome for verdict in judged):
            tx.after_commit(partial(REPORTS.add, ctx.service, outcome.value, by=count))
    return [verdict.outcome for verdict in judged]


async def quarantine_in(tx: WriteTx, ctx: ChargingCtx, reports: Sequence[tuple[Report, str]]) -> None:
    """Counts reports whose stamp is `late` or `early` beyond belief: evidence that never becomes a status."""
    if not reports:
        return
    hour = hour_of(tx.recorded_at)
    found: dict[tuple[EvseUid, str], Contact] = {}
    for report, skew in reports:
        new, key = Contact(report.evse.uid, hour, report.happened_at, report.happened_at), (report.evse.uid, skew)
        found[key] = found[key].with_(new) if key in found else new
    await store.quarantine(tx, found)
    tx.after_commit(partial(REPORTS.add, ctx.service, "quarantined", by=len(reports)))


async def republished(ctx: ChargingCtx, key: str | None) -> AsyncIterator[Event]:
    """The newest event of every EVSE, or of one, as it was first published: same id, sequence, time and bytes."""
    after = ""
    while True:
        async with ctx.db.read() as tx:
            found = await store.page(tx, after=after, most=PAGE, only=key)
        if not found:
            return
        for live in found:
            yield status_changed(live, source=ctx.source)
        after = found[-1].entry.report.evse.uid


async def measure(ctx: ChargingCtx) -> int:
    """Sweep: tells how many EVSEs operators have kept telling of, and when one did last."""
    async with ctx.db.read() as tx:
        ages, newest = await store.heard_of(tx, ctx.clock.now())
    for age in (*Freshness, store.UNHEARD):
        EVSES.set(ctx.service, str(age), to=ages[age])
    LAST_HEARD.set(ctx.service, to=0 if newest is None else newest.timestamp())
    return 0


async def prune(ctx: ChargingCtx) -> int:
    """Sweep: forgets old contact and what was quarantined long ago, a unit for each batch of EVSEs."""
    removed, after = 0, ""
    while True:
        async with ctx.db.write() as tx:
            count, following = await store.prune(tx, after=after)
        removed += count
        if following is None:
            return removed
        after = following


async def _write_journal(tx: WriteTx, judged: Sequence[Judged]) -> None:
    """Entries that tell something, then the late ones; an affirmed status comes with the late report that it follows."""
    told = [(verdict.live.entry, verdict.live.event_id) for verdict in judged if verdict.told]
    newest = {entry.id for entry, _ in told}
    late = [entry for verdict in judged for entry in verdict.entries if entry.id not in newest]
    if told:
        await store.write_journal(tx, told)
    if late:
        await store.write_late(tx, late)


async def _tell(tx: WriteTx, ctx: ChargingCtx, lives: Sequence[Live]) -> None:
    """Events for the city, and after the commit one entry for the replicas' streams; what gets lost they read again."""
    if not lives:
        return
    await outbox.append_many(tx, [status_changed(live, source=ctx.source) for live in lives])
    newest = {live.entry.report.evse.uid: live for live in lives}
    told = b"[" + b",".join(b'{"version":%d,"evse":%b}' % (live.version, body(live)) for live in newest.values()) + b"]"
    tx.after_commit(partial(ctx.fanout.offer, Change(CHANGES, "", 0, told)))
