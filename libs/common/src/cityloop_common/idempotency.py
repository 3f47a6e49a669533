"""`Idempotency-Key`: key, body fingerprint and answer live in the effect's own unit."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from cityloop_common.db import HotStatement, WriteTx
from cityloop_common.errors import BadRequest, CityLoopError
from cityloop_common.tables import idempotency

KEPT_FOR = timedelta(hours=48)
PRUNED_AT_ONCE = 2_000
LONGEST_KEY = 200


class KeyReused(CityLoopError):
    """The key came before with another body."""

    slug, status, title = "idempotency-key-reused", 422, "This Idempotency-Key was used with another request"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the caller, and is stored to be given again."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def _claim(dialect_insert: Callable[..., Insert]) -> HotStatement:
    return HotStatement(
        dialect_insert(idempotency)
        .values({name: bindparam(name) for name in ("caller", "key", "fingerprint", "recorded_at")})
        .on_conflict_do_nothing()  # type: ignore[attr-defined]
    )


_CLAIM = {"sqlite": _claim(sqlite.insert), "postgresql": _claim(postgresql.insert)}
_mine = (idempotency.c.caller == bindparam("of_caller")) & (idempotency.c.key == bindparam("of_key"))
_STORED = HotStatement(select(idempotency.c.fingerprint, idempotency.c.status, idempotency.c.headers, idempotency.c.body).where(_mine))
_STORE = HotStatement(
    update(idempotency).where(_mine).values(status=bindparam("status"), headers=bindparam("headers"), body=bindparam("body"))
)


def fingerprint(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same one."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).hexdigest()


async def once(tx: WriteTx, *, caller: str, key: str | None, fingerprint: str, run: Callable[[], Awaitable[Answer]]) -> Answer:
    """Runs the effect once per caller and key inside the open unit; a repetition gets the stored answer.

    A concurrent duplicate waits for the first unit (its row is locked by the unique key). An effect that raises is
    rolled back with its key, so it may be tried again. Without a key the effect simply runs.
    Raises KeyReused (same key, other body), BadRequest (key empty or over 200 characters).
    """
    if key is None:
        return await run()
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadRequest(f"Idempotency-Key has 1 to {LONGEST_KEY} printable characters")
    claimed = await tx.hot.run(
        _CLAIM[tx.dialect_name], {"caller": caller, "key": key, "fingerprint": fingerprint, "recorded_at": tx.recorded_at}
    )
    if not claimed:
        return await _stored(tx, caller, key, fingerprint)
    answer = await run()
    stored = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
    await tx.hot.run(_STORE, {"of_caller": caller, "of_key": key, **stored})
    return answer


async def _stored(tx: WriteTx, caller: str, key: str, fingerprint: str) -> Answer:
    row = await tx.hot.first(_STORED, {"of_caller": caller, "of_key": key})
    if row is None or row[0] != fingerprint:
        raise KeyReused
    return Answer(status=row[1], body=bytes(row[3]), headers=row[2])


async def prune(tx: WriteTx) -> int:
    """Forgets keys older than two days, a batch at most; answers the rows removed."""
    row = (idempotency.c.caller, idempotency.c.key)
    expired = idempotency.c.recorded_at < tx.recorded_at - KEPT_FOR
    old = select(*row).where(expired).order_by(idempotency.c.recorded_at).limit(PRUNED_AT_ONCE)
    return await tx.run(delete(idempotency).where(tuple_(*row).in_(old.with_for_update(skip_locked=True))))
