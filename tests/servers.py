"""Something of one's own on the servers of `make stack`: a database, topics, a Redis database; all gone afterwards."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient

from tests.support import Servers

REDIS_DATABASES = range(1, 16)
CLAIM_S = 1_800


@asynccontextmanager
async def own_database(servers: Servers) -> AsyncIterator[str]:
    """An empty PostgreSQL database, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    await _administer(servers.postgres_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(servers.postgres_url)._replace(path=f"/{name}"))
    finally:
        await _administer(servers.postgres_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _administer(url: str, statement: str) -> None:
    async with asyncio.timeout(60):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def own_topics(servers: Servers) -> AsyncIterator[str]:
    """A prefix that no other test's topics have; the topics under it are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    try:
        yield prefix
    finally:
        admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(servers.kafka_url).netloc)
        async with asyncio.timeout(60):
            await admin.start()
            try:
                if mine := [topic for topic in await admin.list_topics() if topic.startswith(prefix)]:
                    await admin.delete_topics(mine)
            finally:
                await admin.close()


@asynccontextmanager
async def own_redis(servers: Servers) -> AsyncIterator[str]:
    """An empty Redis database: one of 15, claimed in database 0 and flushed before and after."""
    async with redis.asyncio.Redis.from_url(servers.redis_url) as registry:
        number = await _claim(registry)
    url = f"{servers.redis_url.rstrip('/')}/{number}"
    await _flush(url)
    try:
        yield url
    finally:  # on connections of its own: a fault test may have stopped the server in between
        await _flush(url)
        async with redis.asyncio.Redis.from_url(servers.redis_url) as registry:
            await registry.delete(f"cityloop-test-database:{number}")


async def _flush(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as mine:
        await mine.flushdb()


async def _claim(registry: redis.asyncio.Redis) -> int:
    async with asyncio.timeout(60):
        while True:
            for number in REDIS_DATABASES:
                if await registry.set(f"cityloop-test-database:{number}", os.getpid(), nx=True, ex=CLAIM_S):
                    return number
            await asyncio.sleep(0.1)
