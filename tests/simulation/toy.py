"""A toy service of CityLoop's shapes, on which the world itself is tested: spaces, holds, outbox, relay, inbox."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Annotated

import httpx
from fastapi import FastAPI, Header, Response
from sqlalchemy import text

from cityloop_common.db import Database, WriteTx
from cityloop_common.errors import CityLoopError
from cityloop_common.eventlog.port import Fenced, Message, Retention, TopicSpec
from tests.simulation.disk import open_on
from tests.simulation.log import SimEventLog
from tests.simulation.node import Node
from tests.simulation.plan import Troubles
from tests.simulation.suite import Boot, Suite
from tests.simulation.world import Broken, World

CAPACITY, LOTS, USERS, LENGTH_S = 6, 8, 60, 60.0
TOPIC, GROUP = "toy.hold", "toy-mirror"
SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE lot (id INTEGER PRIMARY KEY, booked INTEGER NOT NULL);
CREATE TABLE hold (id TEXT PRIMARY KEY, lot INTEGER NOT NULL);
CREATE TABLE outbox (id TEXT PRIMARY KEY, published INTEGER NOT NULL DEFAULT 0);
CREATE TABLE inbox (id TEXT PRIMARY KEY);
CREATE TABLE mirror (holds INTEGER NOT NULL);
INSERT INTO mirror VALUES (0);
"""


class ToyBug(StrEnum):
    """What can be wrong with the toy."""

    NONE = ""
    NO_OUTBOX = "no-outbox"
    INBOX_APART = "inbox-apart"
    CHECK_THEN_INSERT = "check-then-insert"


class Toy(Suite):
    """Two APIs, a relay with a consumer, users who retry until they know."""

    def __init__(self, world: World, bug: ToyBug = ToyBug.NONE) -> None:
        super().__init__(world)
        self.bug = bug
        self.path = world.folder / "toy.sqlite"
        self.acknowledged: set[str] = set()

    @staticmethod
    def troubles() -> Troubles:
        return Troubles(LENGTH_S, ("api-1", "api-2", "worker"), (GROUP,), kills=12, windows=5)

    def boots(self) -> Mapping[str, Boot]:
        return {"api-1": self._api, "api-2": self._api, "worker": self._worker}

    async def prepare(self) -> None:
        self.broker.create([TopicSpec(TOPIC, Retention.DELETE)])
        self._query(SCHEMA + "".join(f"INSERT INTO lot VALUES ({lot}, 0);" for lot in range(LOTS)))

    def _query(self, script: str) -> list[tuple[int, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            if ";" in script:
                connection.executescript(script)
                return []
            return connection.execute(script).fetchall()
        finally:
            connection.close()

    async def _api(self, node: Node) -> None:
        db, log = open_on(node, self.path), SimEventLog(self.broker, node)
        app = FastAPI()

        @app.post("/lots/{lot}/holds")
        async def hold(lot: int, idempotency_key: Annotated[str, Header()]) -> Response:
            try:
                async with db.write() as tx:
                    taken = await self._take(tx, lot, idempotency_key)
            except CityLoopError as error:
                return Response(status_code=error.status)
            if taken and self.bug is ToyBug.NO_OUTBOX:
                await log.send([Message(TOPIC, b"%d" % lot, idempotency_key.encode())])
            return Response(status_code=201 if taken else 409)

        node.app = app

    async def _take(self, tx: WriteTx, lot: int, key: str) -> bool:
        values = {"lot": lot, "key": key, "capacity": CAPACITY}
        if await tx.first(text("SELECT id FROM hold WHERE id = :key"), values):
            return True
        if self.bug is ToyBug.CHECK_THEN_INSERT:
            booked = await tx.scalar(text("SELECT booked FROM lot WHERE id = :lot"), values)
            taken = int(booked < CAPACITY and await tx.run(text("UPDATE lot SET booked = booked + 1 WHERE id = :lot"), values))
        else:
            taken = await tx.run(text("UPDATE lot SET booked = booked + 1 WHERE id = :lot AND booked < :capacity"), values)
        if taken:
            await tx.run(text("INSERT INTO hold VALUES (:key, :lot)"), values)
            if self.bug is not ToyBug.NO_OUTBOX:
                await tx.run(text("INSERT INTO outbox (id) VALUES (:key)"), values)
        return bool(taken)

    async def _worker(self, node: Node) -> None:
        db, log = open_on(node, self.path), SimEventLog(self.broker, node)
        node.spawn(self._forever(lambda: self._relay(db, log)), "relay")
        node.spawn(self._forever(lambda: self._consume(db, log)), "consumer")

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (CityLoopError, Fenced):
                await asyncio.sleep(1.0)

    async def _relay(self, db: Database, log: SimEventLog) -> None:
        async with db.read() as tx:
            rows = await tx.all(text("SELECT id FROM outbox WHERE published = 0 ORDER BY rowid LIMIT 20"))
        outcomes = await log.send([Message(TOPIC, b"1", row[0].encode()) for row in rows])
        sent = [{"id": row[0]} for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if sent:
            async with db.write() as tx:
                await tx.run(text("UPDATE outbox SET published = 1 WHERE id = :id"), sent)
        await asyncio.sleep(1.0)

    async def _consume(self, db: Database, log: SimEventLog) -> None:
        member = await log.subscribe(GROUP, [TOPIC])
        try:
            while True:
                for at, records in (await member.poll(max_records=10, timeout_s=5.0)).items():
                    for record in records:
                        await self._apply(db, (record.value or b"").decode())
                    await member.commit({at: records[-1].offset + 1})
        except (CityLoopError, Fenced):
            await member.close()
            raise

    async def _apply(self, db: Database, key: str) -> None:
        fresh = text("INSERT INTO inbox VALUES (:key) ON CONFLICT DO NOTHING")
        count = text("UPDATE mirror SET holds = holds + 1")
        async with db.write() as tx:
            new = await tx.run(fresh, {"key": key})
            if new and self.bug is not ToyBug.INBOX_APART:
                await tx.run(count)
        if new and self.bug is ToyBug.INBOX_APART:
            async with db.write() as tx:
                await tx.run(count)

    async def traffic(self) -> None:
        async with httpx.AsyncClient(transport=self.transport) as client, asyncio.TaskGroup() as users:
            for number in range(USERS):
                users.create_task(self._user(client, number))

    async def _user(self, client: httpx.AsyncClient, number: int) -> None:
        rng = self.world.stream(f"user/{number}")
        await asyncio.sleep(rng.choice((0.0, rng.uniform(0, LENGTH_S))))
        lot, key = rng.randrange(LOTS), f"key-{number}"
        while True:
            try:
                answer = await client.post(f"http://api-{rng.randint(1, 2)}/lots/{lot}/holds", headers={"Idempotency-Key": key})
            except httpx.TransportError:
                await asyncio.sleep(rng.uniform(0.1, 2))
                continue
            if answer.status_code == 201:
                self.acknowledged.add(key)
            if answer.status_code < 500:
                return
            await asyncio.sleep(rng.uniform(0.1, 2))

    async def drained(self) -> bool:
        return not self._query("SELECT 1 FROM outbox WHERE published = 0") and self.broker.lag(GROUP) == 0

    def check_always(self) -> None:
        over = self._query(f"SELECT id, booked FROM lot WHERE booked > {CAPACITY}")
        if over:
            raise Broken(f"sold twice: {over}")

    def check_at_rest(self) -> None:
        (holds,), (mirrored,) = self._query("SELECT count(*) FROM hold")[0], self._query("SELECT holds FROM mirror")[0]
        if holds != mirrored:
            raise Broken(f"{holds} holds, {mirrored} in the mirror")
        stored = {str(row[0]) for row in self._query("SELECT id FROM hold")}
        if not self.acknowledged <= stored:
            raise Broken(f"acknowledged and not stored: {sorted(self.acknowledged - stored)}")
        self.figures.update(holds=holds, acknowledged=len(self.acknowledged))
