"""SQL of T/CEC: which connectors an operator has, and which envelopes came before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, tuple_

from cityloop_charging.protocols.tcec.tables import tcec_seen
from cityloop_charging.registry.domain import Lifecycle
from cityloop_charging.registry.tables import evse
from cityloop_charging.status.domain import KnownEvse
from cityloop_common import json_rows
from cityloop_common.db import Tx, WriteTx

KEPT_FOR = timedelta(hours=24)
MOST_AHEAD = timedelta(days=31)  # so that a clock that is years ahead does not keep its envelopes for years
PRUNED_AT_ONCE = 2_000
_ENVELOPE = [tcec_seen.c[name] for name in ("operator_id", "interface", "time_stamp", "seq", "sig")]
_ASKED = [*_ENVELOPE, evse.c.connector_id]


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
    stamped_at: datetime


@dataclass(slots=True)
class Known:
    """What is known of an envelope and what it names.

    `version`: of the operator's secrets, None for no such operator. `answered`: what the same envelope was answered before;
    `reused`: another one had its key. `evses`: by connector, those that the operator has.
    """

    version: int | None
    answered: int | None
    reused: bool
    evses: dict[str, KnownEvse]


def _look_up(dialect: str) -> str:
    """Subqueries, not joins: each is a look into an index, whatever the tables' sizes were when the plan was made."""
    names = ", ".join(f"r.{column.name}" for column in _ASKED)
    its = " AND ".join(f"s.{name} = r.{name}" for name in ("operator_id", "interface", "time_stamp", "seq"))
    here = f"e.operator_id = r.operator_id AND e.connector_id = r.connector_id AND e.lifecycle <> '{Lifecycle.REMOVED.value}'"
    return (
        f"SELECT {names}, (SELECT o.version FROM operator AS o WHERE o.id = r.operator_id),"
        f" (SELECT s.status FROM tcec_seen AS s WHERE {its} AND s.sig = r.sig),"
        f" EXISTS (SELECT 1 FROM tcec_seen AS s WHERE {its} AND s.sig <> r.sig),"
        f" (SELECT e.uid FROM evse AS e WHERE {here}), (SELECT e.location_id FROM evse AS e WHERE {here}),"
        f" (SELECT e.bay_no FROM evse AS e WHERE {here}) FROM {json_rows.given(dialect, _ASKED)}"
    )


def _remember(dialect: str) -> str:
    return f"{json_rows.insertion(dialect, tcec_seen)} ON CONFLICT DO NOTHING RETURNING {', '.join(column.name for column in _ENVELOPE)}"


_LOOK_UP = json_rows.statements(_look_up, "rows")
_REMEMBER = json_rows.statements(_remember, "rows")


async def look_up(tx: Tx, envelopes: Mapping[tuple[Key, str], Sequence[str]]) -> dict[tuple[Key, str], Known]:
    """What is known of envelopes, by key and signature, and of the connectors that each names."""
    asked = [
        {**key._asdict(), "sig": sig, "connector_id": connector_id}
        for (key, sig), connector_ids in envelopes.items()
        for connector_id in connector_ids
    ]
    found: dict[tuple[Key, str], Known] = {}
    for row in await tx.hot.all(_LOOK_UP[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, asked)}):
        operator_id, interface, time_stamp, seq, sig, connector_id, version, answered, reused, uid, location_id, bay_no = row
        envelope = (Key(operator_id, interface, time_stamp, seq), sig)
        known = found.setdefault(envelope, Known(version, answered, bool(reused), {}))
        if uid is not None:
            known.evses[connector_id] = KnownEvse(uid, location_id, operator_id, bay_no)
    return found


async def remember(tx: WriteTx, envelopes: Sequence[Seen]) -> set[tuple[Key, str]]:
    """Notes envelopes; answers those that nobody noted before, as key and signature. Held until the unit ends."""
    now = tx.recorded_at
    rows = [
        each.key._asdict()
        | {"sig": each.sig, "strict": each.strict, "status": each.status, "recorded_at": now}
        | {"kept_until": max(now, min(each.stamped_at, now + MOST_AHEAD)) + KEPT_FOR}
        for each in sorted(envelopes, key=lambda one: (one.key, one.sig))  # in one order, so that replicas wait and never deadlock
    ]
    noted = await tx.hot.all(_REMEMBER[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, rows)})
    return {(Key(*row[:4]), row[4]) for row in noted}


async def prune(tx: WriteTx) -> int:
    """Forgets envelopes a day after they came and after their TimeStamp, a batch at most; answers the rows removed."""
    key = tuple_(*_ENVELOPE)
    old = select(*_ENVELOPE).where(tcec_seen.c.kept_until < tx.recorded_at).order_by(tcec_seen.c.kept_until)
    return await tx.run(delete(tcec_seen).where(key.in_(old.limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True))))
