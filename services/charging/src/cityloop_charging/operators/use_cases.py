"""What one does with operators: add one, give it new secrets, list them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cityloop_charging.context import ChargingCtx
from cityloop_charging.operators import store
from cityloop_charging.operators.domain import (
    Operator,
    OperatorExists,
    Profile,
    Secrets,
    SecretsRotated,
    UnknownOperator,
    check_operator,
    check_secrets,
    draw_secrets,
)
from cityloop_charging.operators.vault import Vault
from cityloop_common.db import UniqueViolation, WriteTx
from cityloop_common.keys import key_for


@dataclass(frozen=True, slots=True)
class NewOperator:
    """An operator to be added; `secrets` when it brings its own."""

    id: str
    name: str
    profile: Profile = field(default_factory=Profile)
    secrets: Secrets | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """An operator and its new secrets: shown once, to whoever asked."""

    operator: Operator
    secrets: Secrets


def secret_key(ctx: ChargingCtx) -> bytes:
    """The service's key by the settings; derive from it. Raises SettingsError when it is missing in production, or too short."""
    given = ctx.settings.secret_key
    return key_for("charging-secrets", given.get_secret_value() if given else None, ctx.settings.shared, ctx.rng)


def open_vault(ctx: ChargingCtx) -> Vault:
    """The vault under that key. Raises SettingsError as `secret_key` does."""
    return Vault(secret_key(ctx), rng=ctx.rng)


async def add(ctx: ChargingCtx, vault: Vault, new: NewOperator) -> Issued:
    """Adds an operator with new or its own secrets. Raises InvalidOperator, OperatorExists."""
    async with ctx.db.write() as tx:
        return await add_in(tx, ctx, vault, new)


async def add_in(tx: WriteTx, ctx: ChargingCtx, vault: Vault, new: NewOperator) -> Issued:
    """`add` in an open unit, which must end when this raises."""
    known_as = check_operator(new.id, new.name)
    secrets = draw_secrets(ctx.rng.stream(f"charging/secrets/{known_as}/1")) if new.secrets is None else check_secrets(new.secrets)
    made = Operator(known_as, new.name.strip(), new.profile, vault.key_id, 1, tx.recorded_at, tx.recorded_at)
    try:
        await store.add(tx, made, vault.seal(known_as, secrets))
    except UniqueViolation as violated:
        raise OperatorExists(f"{known_as} is there already: rotate its secrets, or choose another id.") from violated
    return Issued(made, secrets)


async def rotate(ctx: ChargingCtx, vault: Vault, operator_id: str) -> Issued:
    """Gives an operator four new secrets; the old ones end at once.

    Raises UnknownOperator, SecretsRotated (of two at once one gets secrets that hold, and the other is told).
    """
    async with ctx.db.read() as tx:
        known = await store.get(tx, operator_id)
    if known is None:
        raise UnknownOperator
    secrets = draw_secrets(ctx.rng.stream(f"charging/secrets/{known.id}/{known.version + 1}"))
    sealed = vault.seal(known.id, secrets)
    async with ctx.db.write() as write:
        changed = await store.reseal(write, known.id, sealed, seen=known.version, key_id=vault.key_id, at=write.recorded_at)
    if changed is None:
        raise SecretsRotated(f"{known.id} is no more at version {known.version}; its newest secrets were shown to somebody else.")
    return Issued(changed, secrets)


async def everyone(ctx: ChargingCtx) -> Sequence[Operator]:
    """Every operator, without secrets."""
    async with ctx.db.read() as tx:
        return await store.everyone(tx)
