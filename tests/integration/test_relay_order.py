"""A position is taken before its commit: the relay must not pass a unit that commits late with the next event of its key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cityloop_common import outbox
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.eventlog import LogUnavailable, Message
from cityloop_common.relay import relay_once
from tests.contract.kit_support import close_ctx, opened_ctx

pytestmark = pytest.mark.stack


class Thing(BaseModel):
    """A body."""


THING = EventType("kit.thing.happened.v1", "kit.thing", Kind.FACT, Thing)


@dataclass
class Sends:
    """A log that remembers the order in which keys came, refuses one, and lets something happen after the first batch."""

    then: Callable[[], Awaitable[None]]
    refused: bytes = b""
    keys: list[str] = field(default_factory=list)

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        first = not self.keys
        good = [message for message in messages if message.key != self.refused]
        self.keys += [f"{message.key.decode()}{dict(message.headers)['ce_sequence'].decode()}" for message in good]
        if first:
            await self.then()
        return [LogUnavailable("refused") if message.key == self.refused else None for message in messages]

    async def close(self) -> None:
        return


@pytest.fixture
async def ctx(fresh_postgres_url: str, tmp_path: Path) -> AsyncIterator[Ctx[Any]]:
    made = await opened_ctx(fresh_postgres_url, tmp_path)
    yield made
    await close_ctx(made)


def event(ctx: Ctx[Any], key: str, n: int) -> Event:
    return THING.event(Thing(), id=ctx.ids.new(), key=key, sequence=n, time=datetime.now(UTC), source=ctx.source)


async def write(ctx: Ctx[Any], key: str, n: int) -> None:
    async with ctx.db.write() as tx:
        await outbox.append(tx, event(ctx, key, n))


@pytest.mark.parametrize("refused", [b"", b"b"], ids=["all is well", "another key fails"])
async def test_a_late_commit_is_not_passed_by_its_own_key(refused: bytes, ctx: Ctx[Any]) -> None:
    """a1 has the lower position and commits while b1 is being sent; then comes a2: it must not go before a1."""
    async with AsyncExitStack() as late:
        tx = await late.enter_async_context(ctx.db.write())
        await outbox.append(tx, event(ctx, "a", 1))
        await write(ctx, "b", 1)
        await write(ctx, "c", 1)

        async def commit_late() -> None:
            await late.aclose()
            await write(ctx, "a", 2)

        log = Sends(commit_late, refused)
        await ctx.log.close()
        object.__setattr__(ctx, "log", log)
        await relay_once(ctx)
    assert "a2" not in log.keys or log.keys.index("a1") < log.keys.index("a2")
    log.refused = b""
    assert await relay_once(ctx) == 0
    assert [key for key in log.keys if key.startswith("a")] == ["a1", "a2"]
    assert sorted(log.keys) == ["a1", "a2", "b1", "c1"]
