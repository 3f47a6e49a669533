"""A way to PostgreSQL that ends after a message of the server, as it does when the server is stopped, killed or unplugged."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

LINGERS_S = 0.05
HEAD_BYTES = 5


class End(StrEnum):
    """How a session ends."""

    RESET = "reset, nothing more arrives"
    HALF = "in the middle of a message"
    TOLD = "told after the message, and closed"
    TOLD_EARLY = "told after the message, closed a while later"
    TOLD_INSTEAD = "told in place of the message, closed a while later"


@dataclass(slots=True)
class Way:
    """The proxy. Once cut, nobody gets through until it is mended."""

    host: str
    port: int
    end: End = End.RESET
    at: int = 0  # counts the server's messages of all sessions; 0 is never
    passed: int = 0
    is_cut: bool = False
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut_after(self, messages: int, end: End) -> None:
        """The message of this number, counted from now, is the last."""
        self.at, self.end, self.passed = messages, end, 0

    def mend(self) -> None:
        self.at, self.is_cut = 0, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        self.open.add(writer)
        server_reader, server_writer = await asyncio.open_connection(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as both:
                up = both.create_task(_copy(reader, server_writer))
                await self._down(server_reader, writer)
                up.cancel()
        except* (OSError, EOFError):
            pass
        finally:
            self.open.discard(writer)
            for each in (writer, server_writer):
                each.transport.abort()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await reader.readexactly(1)  # the answer to SSLRequest has no head
        while True:
            self.passed += 1
            if self.passed == self.at:
                await self._cut(writer, message)
                return
            writer.write(message)
            head = await reader.readexactly(HEAD_BYTES)
            message = head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)

    async def _cut(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        self.is_cut = True
        for other in self.open - {writer}:
            other.transport.abort()
        match self.end:
            case End.RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            case End.HALF:
                writer.write(message[: len(message) // 2])
            case End.TOLD | End.TOLD_EARLY:
                writer.write(message + _fatal())
            case End.TOLD_INSTEAD:
                writer.write(_fatal())
        if self.end in {End.TOLD_EARLY, End.TOLD_INSTEAD}:
            await asyncio.sleep(LINGERS_S)
        writer.close()
        await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


def _fatal() -> bytes:
    """What a session says when its server is stopped."""
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@asynccontextmanager
async def way_to(url: str) -> AsyncIterator[tuple[Way, str]]:
    """A way to the server of a database, and the database's address by it."""
    parts = urlsplit(url)
    way = Way(parts.hostname or "127.0.0.1", parts.port or 5432)
    async with await asyncio.start_server(way.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield way, urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
        for each in way.open:
            each.transport.abort()
