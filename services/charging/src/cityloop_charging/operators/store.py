"""SQL of the room `operators`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from cityloop_charging.operators.domain import Credentials, Operator, OperatorId, ParkStatus, Profile, is_operator_id
from cityloop_charging.operators.tables import operator
from cityloop_charging.operators.vault import Vault
from cityloop_common.db import HotStatement, Tx, WriteTx

_SHOWN = [operator.c[name] for name in ("id", "name", "profile", "key_id", "version", "created_at", "updated_at")]
_SEALED = HotStatement(
    select(operator.c.id, operator.c.profile, operator.c.sealed, operator.c.key_id, operator.c.version).where(
        operator.c.id == bindparam("asked")
    )
)


async def add(tx: WriteTx, new: Operator, sealed: bytes) -> None:
    """Stores an operator. Raises UniqueViolation when there is one with this id."""
    row = {
        "id": new.id,
        "name": new.name,
        "profile": _written(new.profile),
        "sealed": sealed,
        "key_id": new.key_id,
        "version": new.version,
        "created_at": new.created_at,
        "updated_at": new.updated_at,
    }
    await tx.run(insert(operator), row)


async def reseal(tx: WriteTx, id: OperatorId, sealed: bytes, *, seen: int, key_id: str, at: datetime) -> Operator | None:
    """Replaces an operator's secrets; None when they are of another version than was seen by now."""
    statement = (
        update(operator)
        .where(operator.c.id == id, operator.c.version == seen)
        .values(sealed=sealed, key_id=key_id, version=operator.c.version + 1, updated_at=at)
        .returning(*_SHOWN)
    )
    row = await tx.first(statement)
    return None if row is None else _operator(row)


async def get(tx: Tx, id: str) -> Operator | None:
    """One operator, without its secrets."""
    if not is_operator_id(id):
        return None
    row = await tx.first(select(*_SHOWN).where(operator.c.id == id))
    return None if row is None else _operator(row)


async def everyone(tx: Tx) -> Sequence[Operator]:
    """Every operator in the order of their ids, without secrets."""
    return [_operator(row) for row in await tx.all(select(*_SHOWN).order_by(operator.c.id))]


async def credentials(tx: Tx, vault: Vault, operator_id: str) -> Credentials | None:
    """What an operator's messages are judged by; None when there is no such operator. Raises SecretsUnreadable."""
    if not is_operator_id(operator_id):
        return None
    row = await tx.hot.first(_SEALED, {"asked": operator_id})
    if row is None:
        return None
    found, profile, sealed, key_id, version = row
    secrets, read = vault.open(OperatorId(found), bytes(sealed), key_id=key_id), _read(profile)
    return Credentials(
        operator_id=OperatorId(found),
        operator_secret=secrets.operator_secret,
        data_secret=secrets.data_secret,
        data_iv=secrets.data_iv,
        sig_secret=secrets.sig_secret,
        strict_replay=read.strict_replay,
        park_status=read.park_status,
        version=version,
    )


def _operator(row: Any) -> Operator:
    return Operator(OperatorId(row.id), row.name, _read(row.profile), row.key_id, row.version, row.created_at, row.updated_at)


def _read(profile: Mapping[str, Any]) -> Profile:
    return Profile(bool(profile["strict_replay"]), ParkStatus(profile["park_status"]))


def _written(profile: Profile) -> Mapping[str, object]:
    return {"strict_replay": profile.strict_replay, "park_status": str(profile.park_status)}
