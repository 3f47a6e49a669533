"""Bare HTTP/1.1 over kept connections: cheap enough to be a rush, and it hides no failure by asking again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

ANSWERED_WITHIN_S = 30.0


class Broken(Exception):
    """No answer: the connection was refused, closed or silent; the text says which and to what."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(slots=True)
class Wire:
    """One client's connection, opened when it is needed; `address` is the loopback address that it comes from."""

    port: int
    address: str = "127.0.0.1"
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """One request, once. Raises Broken."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                reader = await self.send(method, path, headers, body)
                status, found = await read_head(reader)
                content = await read_body(reader, found)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            await self.close()
            raise Broken(f"{method} {path}: {error!r}") from error
        if found.get("connection") == "close":
            await self.close()
        return Answer(status, found, content, time.perf_counter() - began)

    async def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> asyncio.StreamReader:
        """Sends a request; the answer is read from what this returns."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
        lines = [f"{method} {path} HTTP/1.1", "host: cityloop", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        if body or method != "GET":
            lines.append(f"content-length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        return self.reader

    async def close(self) -> None:
        writer, self.reader, self.writer = self.writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers. Raises EOFError when the connection ends before."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    return int(head[0].split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The whole body. Raises EOFError for half of one."""
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts: list[bytes] = []
    while part := await read_chunk(reader):
        parts.append(part)
    return b"".join(parts)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk; empty at the proper end of the body. Raises EOFError for any other end."""
    size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
    part = await reader.readexactly(size + 2)
    return part[:-2]


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of a stream, and when it came."""

    id: str
    event: str
    data: str
    at: float


@dataclass(slots=True)
class Listener:
    """A client of an event stream, as a browser is one: when a stream ends it goes on after the last event that it has."""

    wire: Wire
    path: str
    heard: list[Heard] = field(default_factory=list)
    streams: int = 0
    broken: list[str] = field(default_factory=list)
    last_id: str = ""
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Listens until cancelled. A stream that is refused or cut off is noted in `broken`; one that ends properly is not."""
        while True:
            try:
                await self._one_stream()
            except (OSError, EOFError, ValueError) as error:
                self.broken.append(f"{self.path}: {error!r}")
            finally:
                self.is_open.clear()
                await self.wire.close()
            await asyncio.sleep(0.05)

    async def _one_stream(self) -> None:
        headers = {"accept": "text/event-stream", **({"last-event-id": self.last_id} if self.last_id else {})}
        reader = await self.wire.send("GET", self.path, headers)
        status, _ = await read_head(reader)
        if status != 200:
            raise ValueError(f"status {status}")
        self.streams += 1
        rest = b""
        while part := await read_chunk(reader):
            self.is_open.set()
            *frames, rest = (rest + part).split(b"\n\n")
            for frame in frames:
                self._take(frame.decode())

    def _take(self, frame: str) -> None:
        fields = {name: value.lstrip() for name, _, value in (line.partition(":") for line in frame.splitlines()) if name}
        if "data" not in fields:
            return
        self.last_id = fields.get("id", self.last_id)
        self.heard.append(Heard(fields.get("id", ""), fields.get("event", "message"), fields["data"], time.monotonic()))
