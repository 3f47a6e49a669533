"""Laws of operators and their secrets, the same on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from cityloop_charging.operators import store, use_cases
from cityloop_charging.operators.domain import (
    InvalidOperator,
    Operator,
    OperatorExists,
    ParkStatus,
    Profile,
    Secrets,
    SecretsRotated,
    SecretsUnreadable,
    UnknownOperator,
)
from cityloop_charging.operators.tables import operator
from cityloop_charging.operators.use_cases import NewOperator
from cityloop_charging.operators.vault import Vault
from cityloop_common.db import Tx
from cityloop_common.rng import Rng
from cityloop_common.settings import SettingsError, SharedSettings
from tests.contract.charging_support import OPERATOR, City, city, make_tables
from tests.support import PATIENCE_S

OWN = Secrets("1234567890abcdef", b"1234567890abcdef", b"1234567890abcdef", b"1234567890abcdef")


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def stored(folder: Path) -> bytes:
    """All that lies in the files of a SQLite database; nothing on PostgreSQL."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("city.db*")))


async def test_what_was_issued_is_what_messages_are_judged_by(town: City) -> None:
    """With the profile; another process with the same key reads it too."""
    vault = use_cases.open_vault(town.ctx)
    issued = await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "运营商", Profile(True, ParkStatus.LOCKED)))
    async with town.db.read() as tx:
        found = await store.credentials(tx, use_cases.open_vault(town.ctx), OPERATOR)
        assert await store.credentials(tx, vault, "888000001") is None
        assert await store.credentials(tx, vault, "x\x00") is None
    assert found is not None
    held = Secrets(found.operator_secret, found.data_secret, found.data_iv, found.sig_secret)
    assert (held, found.strict_replay, found.park_status, found.version) == (issued.secrets, True, ParkStatus.LOCKED, 1)


async def test_new_secrets_end_the_old_ones(town: City) -> None:
    """A new version; nobody else's change."""
    vault = use_cases.open_vault(town.ctx)
    first = await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "a", secrets=OWN))
    other = await use_cases.add(town.ctx, vault, NewOperator("888000001", "b"))
    assert first.secrets == OWN
    second = await use_cases.rotate(town.ctx, vault, OPERATOR)
    async with town.db.read() as tx:
        found, same = await store.credentials(tx, vault, OPERATOR), await store.credentials(tx, vault, "888000001")
    assert found is not None
    assert same is not None
    assert (found.version, found.data_secret, found.sig_secret) == (2, second.secrets.data_secret, second.secrets.sig_secret)
    assert found.data_secret != OWN.data_secret
    assert same.data_secret == other.secrets.data_secret
    with pytest.raises(UnknownOperator):
        await use_cases.rotate(town.ctx, vault, "777000001")


async def test_of_two_rotations_at_once_only_one_shows_secrets(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the same version: the one that is shown secrets has those that hold, the other is told."""
    vault = use_cases.open_vault(town.ctx)
    await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "a"))
    both, seen = asyncio.Barrier(2), store.get

    async def see(tx: Tx, id: str) -> Operator | None:
        found = await seen(tx, id)
        await both.wait()
        return found

    monkeypatch.setattr(store, "get", see)
    async with asyncio.timeout(PATIENCE_S):
        ended = await asyncio.gather(*(use_cases.rotate(town.ctx, vault, OPERATOR) for _ in range(2)), return_exceptions=True)
    [issued] = [each for each in ended if isinstance(each, use_cases.Issued)]
    assert [type(each) for each in ended if each is not issued] == [SecretsRotated]
    async with town.db.read() as tx:
        held = await store.credentials(tx, vault, OPERATOR)
    assert held is not None
    assert (held.version, held.sig_secret) == (issued.operator.version, issued.secrets.sig_secret) == (2, issued.secrets.sig_secret)


async def test_an_operator_is_added_once(town: City) -> None:
    """A second one with the id is refused, and changes nothing; so is one that cannot be."""
    vault = use_cases.open_vault(town.ctx)
    await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "a", secrets=OWN))
    with pytest.raises(OperatorExists):
        await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "b"))
    with pytest.raises(InvalidOperator):
        await use_cases.add(town.ctx, vault, NewOperator("777000001", "c", secrets=replace(OWN, data_iv=b"short")))
    assert [(each.id, each.name) for each in await use_cases.everyone(town.ctx)] == [(OPERATOR, "a")]


async def test_no_secret_rests_in_the_clear_and_a_lost_key_says_so(town: City, tmp_path: Path) -> None:
    """Neither in the row nor in the file; another key opens nothing, another operator's row neither."""
    vault = use_cases.open_vault(town.ctx)
    await use_cases.add(town.ctx, vault, NewOperator(OPERATOR, "a", secrets=replace(OWN, sig_secret=b"very-own-signature")))
    await use_cases.add(town.ctx, vault, NewOperator("888000001", "b"))
    async with town.db.read() as tx:
        rows = {row.id: row for row in await tx.all(operator.select())}
        with pytest.raises(SecretsUnreadable):
            await store.credentials(tx, Vault(b"other" * 8, rng=Rng()), OPERATOR)
    assert b"very-own-signature" not in bytes(rows[OPERATOR].sealed)
    assert b"very-own-signature" not in stored(tmp_path)
    async with town.db.write() as tx:
        await tx.run(update(operator).where(operator.c.id == "888000001").values(sealed=rows[OPERATOR].sealed))
    async with town.db.read() as tx:
        with pytest.raises(SecretsUnreadable):
            await store.credentials(tx, vault, "888000001")


async def test_production_needs_the_key_as_a_setting(town: City, tmp_path: Path) -> None:
    """A key that nobody set is never invented there."""
    shared = SharedSettings(var=tmp_path, environment="production")
    bare = town.ctx.settings.model_copy(update={"shared": shared})
    ctx = replace(town.ctx, settings=bare)
    with pytest.raises(SettingsError, match="charging-secrets"):
        use_cases.open_vault(ctx)
