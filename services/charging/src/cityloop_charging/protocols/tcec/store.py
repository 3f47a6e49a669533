"""SQL of T/CEC: which connectors an operator has, and which envelopes came before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, tuple_

from cityloop_charging.protocols.tcec.tables import tcec_seen
from cityloop_charging.registry.domain import Lifecycle
from cityloop_charging.registry.tables import evse
from cityloop_charging.status.domain import KnownEvse
from cityloop_common import json_rows
from cityloop_common.db import Tx, WriteTx

KEPT_FOR = timedelta(hours=24)
PRUNED_AT_ONCE = 2_000
_PAIR = [evse.c.operator_id, evse.c.connector_id]
_KEY = [tcec_seen.c[name] for name in ("operator_id", "interface", "time_stamp", "seq")]
_ENVELOPE = [*_KEY, tcec_seen.c.sig]


class Pair(NamedTuple):
    """A connector as a message names it."""

    operator_id: str
    connector_id: str


class Key(NamedTuple):
    """What an operator promises not to use twice."""

    operator_id: str
    interface: str
    time_stamp: str
    seq: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An envelope about to take effect, with what it is answered."""

    key: Key
    sig: str
    strict: bool
    status: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a pair leads to: the version of the operator's secrets, and its EVSE, if it has one."""

    version: int
    evse: KnownEvse | None


def _connectors(dialect: str) -> str:
    return (
        "SELECT r.operator_id, r.connector_id, operator.version, evse.uid, evse.location_id, evse.bay_no"
        f" FROM {json_rows.given(dialect, _PAIR)} JOIN operator ON operator.id = r.operator_id"
        " LEFT JOIN evse ON evse.operator_id = r.operator_id AND evse.connector_id = r.connector_id"
        f" AND evse.lifecycle <> '{Lifecycle.REMOVED.value}'"
    )


def _seen(dialect: str) -> str:
    listed = ", ".join(f"seen.{column.name}" for column in _ENVELOPE)
    same = " AND ".join(f"seen.{column.name} = r.{column.name}" for column in _KEY)
    return f"SELECT {listed}, seen.status FROM {json_rows.given(dialect, _KEY)} JOIN tcec_seen AS seen ON {same}"


def _remember(dialect: str) -> str:
    return f"{json_rows.insertion(dialect, tcec_seen)} ON CONFLICT DO NOTHING RETURNING {', '.join(column.name for column in _ENVELOPE)}"


_CONNECTORS = json_rows.statements(_connectors, "rows")
_SEEN = json_rows.statements(_seen, "rows")
_REMEMBER = json_rows.statements(_remember, "rows")


async def connectors(tx: Tx, pairs: Iterable[Pair]) -> dict[Pair, Found]:
    """Where connectors lead; pairs of operators that are not known are missing."""
    asked = [pair._asdict() for pair in sorted(pairs)]
    rows = await tx.hot.all(_CONNECTORS[tx.dialect_name], {"rows": json_rows.rows(asked)})
    found: dict[Pair, Found] = {}
    for operator_id, connector_id, version, uid, location_id, bay_no in rows:
        known = None if uid is None else KnownEvse(uid, location_id, operator_id, bay_no)
        found[Pair(operator_id, connector_id)] = Found(version, known)
    return found


async def seen(tx: Tx, keys: Iterable[Key]) -> dict[Key, dict[str, int]]:
    """Of envelopes that came with these keys, the answer by signature."""
    asked = [key._asdict() for key in sorted(keys)]
    found: dict[Key, dict[str, int]] = {}
    for operator_id, interface, time_stamp, seq, sig, status in await tx.hot.all(_SEEN[tx.dialect_name], {"rows": json_rows.rows(asked)}):
        found.setdefault(Key(operator_id, interface, time_stamp, seq), {})[sig] = status
    return found


async def remember(tx: WriteTx, envelopes: Sequence[Seen]) -> set[tuple[Key, str]]:
    """Notes envelopes; answers those that nobody noted before, as key and signature. Held until the unit ends."""
    rows = [
        {**each.key._asdict(), "sig": each.sig, "strict": each.strict, "status": each.status, "recorded_at": tx.recorded_at}
        for each in sorted(envelopes, key=lambda one: (one.key, one.sig))  # in one order, so that replicas wait and never deadlock
    ]
    noted = await tx.hot.all(_REMEMBER[tx.dialect_name], {"rows": json_rows.rows(rows)})
    return {(Key(*row[:4]), row[4]) for row in noted}


async def prune(tx: WriteTx) -> int:
    """Forgets envelopes after a day, a batch at most; answers the rows removed."""
    key = tuple_(*_ENVELOPE)
    old = select(*_ENVELOPE).where(tcec_seen.c.recorded_at < tx.recorded_at - KEPT_FOR).order_by(tcec_seen.c.recorded_at)
    return await tx.run(delete(tcec_seen).where(key.in_(old.limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True))))
