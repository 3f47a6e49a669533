"""The same request, once: key, fingerprint and answer live in the effect's own unit."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from cityloop_common import idempotency
from cityloop_common.db import Database, WriteTx
from cityloop_common.errors import BadRequest
from cityloop_common.idempotency import Answer, KeyReused
from cityloop_common.tables import idempotency as keys
from tests.contract.kit_support import effect


async def _post(db: Database, *, key: str | None = "k", body: bytes = b"1", caller: str = "me", slow: float = 0) -> Answer:
    """A request whose effect is one row; its answer numbers the rows."""

    async with db.write() as tx:

        async def run() -> Answer:
            count = int(await tx.scalar(select(func.count()).select_from(effect)))
            await asyncio.sleep(slow)
            await tx.run(insert(effect).values(id=f"{caller}-{count}", n=count, recorded_at=tx.recorded_at))
            return Answer(201, str(count).encode(), {"location": f"/{count}"})

        print_of = idempotency.fingerprint("POST", "/things", body)
        return await idempotency.once(tx, caller=caller, key=key, fingerprint=print_of, run=run)


async def _effects(db: Database) -> int:
    async with db.read() as tx:
        return int(await tx.scalar(select(func.count()).select_from(effect)))


async def test_a_repetition_gets_the_stored_answer(kit_db: Database) -> None:
    """Status, headers and body as they were; no second effect."""
    first = await _post(kit_db)
    assert await _post(kit_db) == first == Answer(201, b"0", {"location": "/0"})
    assert await _effects(kit_db) == 1


async def test_another_body_under_the_same_key_is_refused(kit_db: Database) -> None:
    """422, and nothing happens."""
    await _post(kit_db)
    with pytest.raises(KeyReused):
        await _post(kit_db, body=b"2")
    assert await _effects(kit_db) == 1


async def test_keys_belong_to_their_callers(kit_db: Database) -> None:
    """Another caller's same key is another key."""
    await _post(kit_db, caller="a")
    await _post(kit_db, caller="b")
    assert await _effects(kit_db) == 2


async def test_without_a_key_every_request_is_new(kit_db: Database) -> None:
    """The key is what makes it safe."""
    await _post(kit_db, key=None)
    await _post(kit_db, key=None)
    assert await _effects(kit_db) == 2


async def test_a_concurrent_duplicate_waits_for_the_first(kit_db: Database) -> None:
    """Ten at once: one effect, ten same answers."""
    answers = await asyncio.gather(*(_post(kit_db, slow=0.05) for _ in range(10)))
    assert len({answer.body for answer in answers}) == 1
    assert await _effects(kit_db) == 1


async def test_an_effect_that_fails_may_be_tried_again(kit_db: Database) -> None:
    """The key is rolled back with the effect."""

    async def fail() -> Answer:
        raise RuntimeError

    async def attempt(tx: WriteTx) -> None:
        print_of = idempotency.fingerprint("POST", "/things", b"1")
        await idempotency.once(tx, caller="me", key="k", fingerprint=print_of, run=fail)

    with pytest.raises(RuntimeError):
        async with kit_db.write() as tx:
            await attempt(tx)
    assert (await _post(kit_db)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "line\nbreak"])
async def test_a_key_that_is_none_is_refused(kit_db: Database, key: str) -> None:
    """1 to 200 printable characters."""
    with pytest.raises(BadRequest):
        await _post(kit_db, key=key)


async def test_old_keys_go_in_batches_and_young_ones_stay(kit_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a unit removes a batch of the oldest at most."""
    monkeypatch.setattr(idempotency, "PRUNED_AT_ONCE", 3)
    async with kit_db.write() as tx:
        at = [tx.recorded_at - idempotency.KEPT_FOR - timedelta(hours=hours) for hours in range(-1, 5)]
        rows = [{"caller": "me", "key": f"k{n}", "fingerprint": "f", "recorded_at": when} for n, when in enumerate(at)]
        await tx.run(insert(keys), rows)
    removed = []
    for _ in range(3):
        async with kit_db.write() as tx:
            removed.append(await idempotency.prune(tx))
    assert removed == [3, 2, 0]
    async with kit_db.read() as tx:
        assert [row.key for row in await tx.all(select(keys.c.key))] == ["k0"]
