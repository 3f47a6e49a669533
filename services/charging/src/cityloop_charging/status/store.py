"""SQL of the room `status`: a whole group of reports in a handful of statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Boolean, Column, String, Table, case, func, select

from cityloop_charging.registry.domain import EvseUid, Lifecycle
from cityloop_charging.registry.tables import evse
from cityloop_charging.status.domain import (
    EPOCH,
    INTERVAL,
    LIVE_INTERVALS,
    UNKNOWN_AFTER,
    Around,
    Contact,
    Entry,
    Freshness,
    Key,
    KnownEvse,
    Live,
    Report,
    Status,
    hour_of,
    key_of,
)
from cityloop_charging.status.tables import evse_contact, evse_live, evse_quarantine, evse_status
from cityloop_common import json_rows
from cityloop_common.db import Tx, WriteTx

UNHEARD = "unheard"
PRUNED_AT_ONCE = 200  # EVSEs: an hour's rows of each
CONTACT_FOR = timedelta(days=31)  # it is read for late reports only, and what comes over T/CEC is at most 10 minutes late
QUARANTINED_FOR = timedelta(days=90)
_LIVE = list(evse_live.columns)
_LIVE_NAMES = [column.name for column in _LIVE]
_STATUS = [evse_live.c[name] for name in ("evse_uid", "status", "happened_at", "last_at")]
_ENTRY = [evse_status.c[name] for name in ("evse_uid", "status", "happened_at", "recorded_at", "id", "seq")]
_LATE_NAMES = ("evse_uid", "happened_at", "seq", "status", "hour")
_LATE_REPORT = [*(evse_status.c[name] for name in _LATE_NAMES[:4]), evse_contact.c.hour]
_FOUND_AROUND: list[Column[Any]] = [
    *(Column(column.name, column.type) for column in _LATE_REPORT[:4]),
    Column("held", String),
    *(Column(name, evse_status.c.happened_at.type) for name in ("next_at", "first_at", "last_at", "later_at")),
    Column("journalled", Boolean),
]
_NOTHING: dict[str, object] = {
    "status": "UNKNOWN", "happened_at": EPOCH, "seq": 0, "recorded_at": EPOCH, "entry_id": "", "source": "", "last_at": EPOCH,
    "last_seq": 0, "version": 0, "event_id": "",
}  # fmt: skip


def _late(dialect: str) -> str:
    """A late report that is in the journal already stays one row."""
    same = " AND ".join(f"known.{name} = r.{name}" for name in ("evse_uid", "happened_at", "seq", "status"))
    return json_rows.insertion(dialect, evse_status, where=f"NOT EXISTS (SELECT 1 FROM evse_status AS known WHERE {same})")


def _lock(dialect: str) -> str:
    turn = " FOR UPDATE" if dialect == "postgresql" else ""
    return f"SELECT {', '.join(_LIVE_NAMES)} FROM evse_live WHERE {json_rows.among(dialect, 'evse_uid')} ORDER BY evse_uid{turn}"


def _first(dialect: str) -> str:
    return f"{json_rows.insertion(dialect, evse_live)} ON CONFLICT (evse_uid) DO NOTHING"


def _keep(dialect: str) -> str:
    """The rows are there. An upsert finds each by its key, whatever the table's size was when the plan was made."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in _LIVE_NAMES if name != "evse_uid")
    return f"{json_rows.insertion(dialect, evse_live)} ON CONFLICT (evse_uid) DO UPDATE SET {changes}"


def _extended(dialect: str, table: Table) -> str:
    """A row per key; first, last and count of what is there already go on."""
    name, key = table.name, ", ".join(column.name for column in table.primary_key)
    return (
        f"{json_rows.insertion(dialect, table)} ON CONFLICT ({key}) DO UPDATE SET"
        f" count = {name}.count + excluded.count,"
        f" first_at = CASE WHEN excluded.first_at < {name}.first_at THEN excluded.first_at ELSE {name}.first_at END,"
        f" last_at = CASE WHEN excluded.last_at > {name}.last_at THEN excluded.last_at ELSE {name}.last_at END"
    )


def _pruned(dialect: str, table: Table) -> str:
    """By the key of each EVSE: no index of the hours is needed."""
    return f"DELETE FROM {table.name} WHERE {json_rows.among(dialect, 'evse_uid')} AND hour < :before"


def _known(dialect: str) -> str:
    return (
        "SELECT uid, location_id, operator_id, bay_no FROM evse"
        f" WHERE lifecycle <> '{Lifecycle.REMOVED.value}' AND {json_rows.among(dialect, 'uid')}"
    )


def _standing_in(dialect: str, names: Sequence[str] = _LIVE_NAMES) -> str:
    listed = ", ".join(f"evse_live.{name}" for name in names)
    return (
        f"SELECT {listed} FROM evse JOIN evse_live ON evse_live.evse_uid = evse.uid"
        f" WHERE evse_live.version > 0 AND {json_rows.among(dialect, 'evse.location_id')}"
    )


def _newest(_dialect: str) -> str:
    """One step down the index for each EVSE. The entries are read by id afterwards: joined, PostgreSQL may read the whole journal."""
    return (
        "SELECT (SELECT j.id FROM evse_status AS j"
        " WHERE j.evse_uid = evse.uid AND j.happened_at <= :at AND j.recorded_at <= :known_at"
        " ORDER BY j.happened_at DESC, j.seq DESC, j.recorded_at DESC, j.id DESC LIMIT 1) AS id FROM evse"
    )


def _entries(dialect: str) -> str:
    return f"SELECT {', '.join(each.name for each in _ENTRY)} FROM evse_status WHERE {json_rows.among(dialect, 'id')}"


def _around(dialect: str) -> str:
    """Subqueries, not joins: each is a step down an index for each late report, whatever the tables' sizes were at the plan."""
    ours, theirs = "FROM evse_status AS j WHERE j.evse_uid = r.evse_uid", "FROM evse_contact AS c WHERE c.evse_uid = r.evse_uid"
    named = ", ".join(f"r.{column.name}" for column in _LATE_REPORT[:4])
    return (
        f"SELECT {named},"
        f" (SELECT j.id {ours} AND j.happened_at <= r.happened_at"
        " ORDER BY j.happened_at DESC, j.seq DESC, j.recorded_at DESC, j.id DESC LIMIT 1),"
        f" (SELECT j.happened_at {ours} AND j.happened_at > r.happened_at ORDER BY j.happened_at LIMIT 1),"
        f" (SELECT c.first_at {theirs} AND c.hour = r.hour), (SELECT c.last_at {theirs} AND c.hour = r.hour),"
        f" (SELECT c.first_at {theirs} AND c.hour > r.hour ORDER BY c.hour LIMIT 1),"
        f" EXISTS (SELECT 1 {ours} AND j.happened_at = r.happened_at AND j.seq = r.seq AND j.status = r.status)"
        f" FROM {json_rows.given(dialect, _LATE_REPORT)}"
    )


_JOURNAL = json_rows.statements(lambda dialect: json_rows.insertion(dialect, evse_status), "rows")
_LATE = json_rows.statements(_late, "rows")
_LOCK = json_rows.statements(_lock, "ids", columns=_LIVE)
_FIRST = json_rows.statements(_first, "rows")
_KEEP = json_rows.statements(_keep, "rows")
_CONTACT = json_rows.statements(lambda dialect: _extended(dialect, evse_contact), "rows")
_QUARANTINE = json_rows.statements(lambda dialect: _extended(dialect, evse_quarantine), "rows")
_KNOWN = json_rows.statements(_known, "ids")
_STANDING_IN = json_rows.statements(_standing_in, "ids", columns=_LIVE)
_STATUSES_IN = json_rows.statements(partial(_standing_in, names=[column.name for column in _STATUS]), "ids", columns=_STATUS)
_INSTANT = evse_status.c.happened_at.type
_NEWEST = json_rows.statements(_newest, "at", "known_at", columns=[evse_status.c.id], types={"at": _INSTANT, "known_at": _INSTANT})
_ENTRIES = json_rows.statements(_entries, "ids", columns=_ENTRY)
_PRUNED = [
    (kept_for, json_rows.statements(partial(_pruned, table=table), "ids", "before", types={"before": _INSTANT}))
    for table, kept_for in ((evse_contact, CONTACT_FOR), (evse_quarantine, QUARANTINED_FOR))
]
_AROUND = json_rows.statements(_around, "rows", columns=_FOUND_AROUND)


@dataclass(frozen=True, slots=True)
class StatusAt:
    """What the journal says of an EVSE at an instant, and the row that says so."""

    evse_uid: EvseUid
    status: Status
    since: datetime
    recorded_at: datetime
    entry_id: str


async def known(tx: Tx, uids: Iterable[str]) -> dict[EvseUid, KnownEvse]:
    """The EVSEs that are not removed, of those with these ids; an id must be one (`is_evse_uid`)."""
    rows = await tx.hot.all(_KNOWN[tx.dialect_name], {"ids": json_rows.rows(tx.dialect_name, sorted(uids))})
    return {row[0]: KnownEvse(*row) for row in rows}


async def lock(tx: WriteTx, evses: Mapping[EvseUid, KnownEvse]) -> dict[EvseUid, Live]:
    """Holds the EVSEs' rows until the unit ends, in the order of their ids; what is known of those that were reported before."""
    ids = {"ids": json_rows.rows(tx.dialect_name, sorted(evses))}
    rows = await tx.hot.all(_LOCK[tx.dialect_name], ids)
    if len(rows) < len(evses):
        there = {row[0] for row in rows}
        new = [_identity(evses[uid]) | _NOTHING for uid in sorted(evses) if uid not in there]
        await tx.hot.run(_FIRST[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, new)})
        rows = await tx.hot.all(_LOCK[tx.dialect_name], ids)
    lives = [_live(row) for row in rows]
    return {live.entry.report.evse.uid: live for live in lives if live.version}


async def write_journal(tx: WriteTx, entries: Sequence[tuple[Entry, str | None]]) -> None:
    """Appends entries, each with the event that tells of it."""
    await tx.hot.run(
        _JOURNAL[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, [_entry_row(entry, event_id) for entry, event_id in entries])}
    )


async def write_late(tx: WriteTx, entries: Sequence[Entry]) -> None:
    """Appends entries that nobody is told of, unless the journal has them: same EVSE, instant, sequence and status."""
    distinct = {(e.report.evse.uid, e.report.happened_at, e.report.seq, e.report.status): e for e in reversed(entries)}
    rows = [_entry_row(entry, None) for entry in reversed(distinct.values())]
    await tx.hot.run(_LATE[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, rows)})


async def around(tx: Tx, reports: Iterable[Report]) -> dict[Key, Around]:
    """What journal and contact have around late reports."""
    asked = [dict(zip(_LATE_NAMES, (*key_of(each), hour_of(each.happened_at)), strict=True)) for each in reports]
    rows = await tx.hot.all(_AROUND[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, asked)})
    ids = json_rows.rows(tx.dialect_name, sorted({row[4] for row in rows if row[4] is not None}))
    held = {
        id_: ((happened_at, seq, recorded_at, id_), Status(status))
        for _, status, happened_at, recorded_at, id_, seq in await tx.hot.all(_ENTRIES[tx.dialect_name], {"ids": ids})
    }
    found: dict[Key, Around] = {}
    for uid, happened_at, seq, status, held_id, next_at, first_at, last_at, later_at, journalled in rows:
        in_hour = None if first_at is None else (first_at, last_at)
        found[EvseUid(uid), happened_at, seq, Status(status)] = Around(held.get(held_id), next_at, in_hour, later_at, journalled)
    return found


async def keep(tx: WriteTx, lives: Iterable[Live]) -> None:
    """Writes what is known now of EVSEs that `lock` holds."""
    await tx.hot.run(_KEEP[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, [_live_row(live) for live in lives])})


async def heard(tx: WriteTx, contacts: Iterable[Contact]) -> None:
    """Extends the contact of EVSEs; no EVSE and hour may come twice."""
    rows = [_contact_row(each) for each in sorted(contacts, key=lambda each: (each.evse_uid, each.hour))]
    await tx.hot.run(_CONTACT[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, rows)})


async def quarantine(tx: WriteTx, found: Mapping[tuple[EvseUid, str], Contact]) -> None:
    """Extends what is kept of reports with a stamp that cannot be believed, by EVSE and how it is off; `hour` is that of receipt."""
    rows = [_contact_row(found[key]) | {"skew": key[1]} for key in sorted(found)]
    await tx.hot.run(_QUARANTINE[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, rows)})


async def prune(tx: WriteTx, *, after: str) -> tuple[int, str | None]:
    """Forgets contact after 31 days and quarantined reports after 90, of a batch of EVSEs behind `after`.

    Answers the rows removed, and where the next batch begins; None when there is none.
    """
    batch = select(evse.c.uid).where(evse.c.uid > after).order_by(evse.c.uid).limit(PRUNED_AT_ONCE)
    uids = [row[0] for row in await tx.all(batch)]
    removed = 0
    for kept_for, statements in _PRUNED:
        given = {"ids": json_rows.rows(tx.dialect_name, uids), "before": tx.recorded_at - kept_for}
        removed += await tx.hot.run(statements[tx.dialect_name], given)
    return removed, uids[-1] if len(uids) == PRUNED_AT_ONCE else None


async def standing_in(tx: Tx, location_ids: Iterable[str]) -> dict[EvseUid, Live]:
    """What is known of the EVSEs of stations; those that were never reported are missing."""
    rows = await tx.hot.all(_STANDING_IN[tx.dialect_name], {"ids": json_rows.rows(tx.dialect_name, sorted(location_ids))})
    return {row[0]: _live(row) for row in rows}


async def statuses_in(tx: Tx, location_ids: Iterable[str]) -> dict[EvseUid, tuple[Status, datetime, datetime]]:
    """Of the same EVSEs only the status, since when, and the newest report's stamp: much less work for a whole city."""
    rows = await tx.hot.all(_STATUSES_IN[tx.dialect_name], {"ids": json_rows.rows(tx.dialect_name, sorted(location_ids))})
    return {uid: (Status(status), since, last_at) for uid, status, since, last_at in rows}


async def live(tx: Tx, uid: str) -> Live | None:
    """What is known of one EVSE; None before its first report."""
    row = await tx.first(select(evse_live).where(evse_live.c.evse_uid == uid, evse_live.c.version > 0))
    return None if row is None else _live(row)


async def page(tx: Tx, *, after: str, most: int, only: str | None = None) -> list[Live]:
    """What is known of EVSEs, in the order of their ids, behind `after`."""
    asked = select(evse_live).where(evse_live.c.evse_uid > after, evse_live.c.version > 0)
    if only is not None:
        asked = asked.where(evse_live.c.evse_uid == only)
    return [_live(row) for row in await tx.all(asked.order_by(evse_live.c.evse_uid).limit(most))]


async def told_since(tx: Tx, since: datetime) -> list[Live]:
    """EVSEs whose status was told at `since` or later, in the order of time."""
    asked = select(evse_live).where(evse_live.c.recorded_at >= since, evse_live.c.version > 0)
    return [_live(row) for row in await tx.all(asked.order_by(evse_live.c.recorded_at, evse_live.c.evse_uid))]


async def heard_of(tx: Tx, now: datetime) -> tuple[Counter[str], datetime | None]:
    """How many EVSEs in service were heard of how long ago, those never heard of apart, and when any was heard of last."""
    last_at = evse_live.c.last_at
    cases = [(last_at >= now - LIVE_INTERVALS * INTERVAL, Freshness.LIVE.value), (last_at >= now - UNKNOWN_AFTER, Freshness.LATE.value)]
    age = case(*cases, (last_at > EPOCH, Freshness.UNKNOWN.value), else_=UNHEARD).label("age")
    standing = evse.outerjoin(evse_live, evse_live.c.evse_uid == evse.c.uid)
    asked = select(age, func.count().label("evses"), func.max(last_at, type_=last_at.type).label("newest"))
    rows = await tx.all(asked.select_from(standing).where(evse.c.lifecycle == Lifecycle.IN_SERVICE).group_by(age))
    newest = max((row.newest for row in rows if row.newest is not None and row.newest > EPOCH), default=None)
    return Counter({row.age: row.evses for row in rows}), newest


async def as_of(tx: Tx, *, at: datetime, known_at: datetime) -> dict[EvseUid, StatusAt]:
    """Every EVSE's status at `at`, as it was known at `known_at`; EVSEs with no entry by then are missing."""
    newest = await tx.hot.all(_NEWEST[tx.dialect_name], {"at": at, "known_at": known_at})
    ids = json_rows.rows(tx.dialect_name, [row[0] for row in newest if row[0] is not None])
    found = await tx.hot.all(_ENTRIES[tx.dialect_name], {"ids": ids})
    return {uid: StatusAt(uid, Status(status), since, recorded_at, id_) for uid, status, since, recorded_at, id_, _ in found}


async def entries_of(tx: Tx, source: str, *, most: int) -> int:
    """How many journal rows a source has, counted up to `most`."""
    rows = select(evse_status.c.id).where(evse_status.c.source == source).limit(most)
    return len(await tx.all(rows))


def _live(row: Any) -> Live:
    uid, location_id, operator_id, bay_no, status, happened_at, seq, recorded_at, entry_id, source, *newest = row
    report = Report(KnownEvse(uid, location_id, operator_id, bay_no), Status(status), happened_at, source, seq)
    return Live(Entry(entry_id, report, recorded_at), *newest)


def _identity(known_evse: KnownEvse) -> dict[str, object]:
    return {
        "evse_uid": known_evse.uid,
        "location_id": known_evse.location_id,
        "operator_id": known_evse.operator_id,
        "bay_no": known_evse.bay_no,
    }


def _live_row(live: Live) -> dict[str, object]:
    report = live.entry.report
    return _identity(report.evse) | {
        "status": report.status,
        "happened_at": report.happened_at,
        "seq": report.seq,
        "recorded_at": live.entry.recorded_at,
        "entry_id": live.entry.id,
        "source": report.source,
        "last_at": live.last_at,
        "last_seq": live.last_seq,
        "version": live.version,
        "event_id": live.event_id,
    }


def _contact_row(contact: Contact) -> dict[str, object]:
    return {
        "evse_uid": contact.evse_uid,
        "hour": contact.hour,
        "first_at": contact.first_at,
        "last_at": contact.last_at,
        "count": contact.count,
    }


def _entry_row(entry: Entry, event_id: str | None) -> dict[str, object]:
    report = entry.report
    return {
        "id": entry.id,
        "evse_uid": report.evse.uid,
        "status": report.status,
        "happened_at": report.happened_at,
        "seq": report.seq,
        "recorded_at": entry.recorded_at,
        "source": report.source,
        "event_id": event_id,
        "corrects": None,
        "park_status": report.park_status,
        "lock_status": report.lock_status,
    }
