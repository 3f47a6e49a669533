"""Server-Sent Events: every client gets the changes of its replica, and can go on where it was."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cityloop_common import telemetry
from cityloop_common.cache import NOWHERE, Position, position_of
from cityloop_common.clock import Clock, rfc3339
from cityloop_common.errors import Unavailable
from cityloop_common.rng import Rng

PING_S = 8.0  # clients are promised one at least every 10 s
SEND_DEADLINE_S = 20.0
CLOSE_WITHIN_S = 1.0
CAUGHT_UP_WITHIN_S = PING_S
MAX_CLIENTS = 2_000
MAX_QUEUED = 256
AT_ONCE = 100  # messages, of many, before clients have their turn to send what they were given
ROOM_WITHIN_S = 1.0
_RETRY_MS = range(1_000, 5_000)  # spread, so that a replica's clients do not all come to the next one at once
CLIENTS = telemetry.gauge("sse_clients", "Open event streams")
ENDED = telemetry.counter("sse_streams_ended_total", "Event streams by why they ended", ("service", "reason"))


@dataclass(frozen=True, slots=True)
class Message:
    """One event; `id` is its position in the fan-out stream, `data` one JSON text, `key` what it is about.

    Without an id (read from the database while the stream is away) it cannot be resumed from. A state has a `version` that grows
    with each change of what it is about: a client is never told an older one after a newer one. 0: it is no state.
    """

    id: str
    event: str
    key: str
    data: str
    version: int = 0


Wants = Callable[[Message], bool]


@dataclass(frozen=True, slots=True)
class Resume:
    """How a replica lets a client go on behind its Last-Event-ID, of whichever replica that was.

    `comes_to` waits until this replica has heard what the client has; False when it does not. Then `missed` says what came after
    it, or None when that cannot be told any more. `version` is the newest state of a key that is known here.
    """

    comes_to: Callable[[str], Awaitable[bool]]
    missed: Callable[[str], Awaitable[Sequence[Message] | None]]
    version: Callable[[str], int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Something to send, with the key and the version of the state that it tells."""

    encoded: bytes
    position: Position = NOWHERE
    key: str = ""
    version: int = 0


@dataclass(slots=True, eq=False)
class _Client:
    wants: Wants
    newest: Position = NOWHERE
    queue: deque[_Part] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ahead: dict[str, int] = field(default_factory=dict)  # versions that it was told when it came, until this replica is as far
    waits: bool = False  # for this replica to come as far as it is: what is told meanwhile is no news for it
    catches_up: bool = False
    lost: bool = False  # something, while it caught up
    ending: str = ""
    scope: anyio.CancelScope | None = None

    def put(self, part: _Part) -> None:
        self.newest = max(self.newest, part.position)
        self.queue.append(part)
        self.ready.set()

    def is_news(self, of: Message | _Part, position: Position, newest: Position) -> bool:
        """Whether it was told neither this entry of the stream nor a later state of the same thing."""
        if of.version and (told := self.ahead.get(of.key)) is not None:
            if of.version < told:
                return False
            del self.ahead[of.key]
        return position == NOWHERE or position > newest

    def catch_up(self, messages: Sequence[Message], last: Position, version: Callable[[str], int]) -> None:
        """It is told these before its queue, which began before they were read: what is in both is taken out of the queue."""
        sent = max([last, *(position_of(message.id) for message in messages)])
        self.ahead = {message.key: message.version for message in messages if message.version}
        self.queue = deque(part for part in self.queue if self.is_news(part, part.position, sent))
        self.ahead = {key: newest for key, newest in self.ahead.items() if newest > version(key)}
        self.newest = max(self.newest, sent)

    def end(self, reason: str) -> None:
        self.ending = self.ending or reason
        self.ready.set()


class Hub:
    """The open streams of one API replica."""

    def __init__(self, service: str, *, clock: Clock, rng: Rng, max_clients: int = MAX_CLIENTS, max_queued: int = MAX_QUEUED) -> None:
        self._service = service
        self._clock = clock
        self._random = rng.stream("sse")
        self._max_clients = max_clients
        self._max_queued = max_queued
        self._clients: dict[_Client, None] = {}
        self._closed = False
        self._room = asyncio.Event()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def publish(self, message: Message) -> None:
        """To every client that wants it. A client whose queue is full is told to start again, and dropped."""
        part: _Part | None = None
        position = position_of(message.id)
        for client in list(self._clients):
            if client.ending or client.waits or not client.wants(message) or not client.is_news(message, position, client.newest):
                continue
            if len(client.queue) >= self._max_queued:
                client.queue.clear()
                if client.catches_up:
                    client.lost = True
                    continue
                client.put(_reset("slow"))
                client.end("slow")
                continue
            part = part or _Part(_encode(message), position, message.key, message.version)
            client.put(part)

    async def publish_all(self, messages: Iterable[Message]) -> None:
        """Many, in their order, so that whoever reads hears all: after each hundred, clients that are behind have time to send.

        They have a second in all; one that does not read is dropped then. Each message is taken when its turn comes: other work
        runs between them, so let the iterable say what is so by then.
        """
        until = anyio.current_time() + ROOM_WITHIN_S
        for number, message in enumerate(messages, 1):
            self.publish(message)
            if number % AT_ONCE == 0:
                await self._give_way(until)

    async def _give_way(self, until: float) -> None:
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while any(
                    len(client.queue) > self._max_queued // 2 for client in self._clients if not (client.ending or client.catches_up)
                ):
                    self._room.clear()
                    await self._room.wait()

    def reset(self, reason: str) -> None:
        """Tells every client that events may be missing: read the state again. `reason`: `trimmed`, `cache-lost`.

        One that waits for this replica is told by what it finds then.
        """
        part = _reset(reason)
        for client in self._clients:
            if not (client.ending or client.waits):
                client.newest = NOWHERE  # a new stream may count from anywhere
                client.ahead.clear()
                client.lost = client.catches_up
                client.put(part)

    def close(self) -> None:
        """Ends every stream, before the server waits for open answers; new ones are refused."""
        self._closed = True
        for client in list(self._clients):
            client.end("drain")
            if client.scope is not None:
                client.scope.deadline = anyio.current_time() + CLOSE_WITHIN_S  # a stuck send does not hold the drain

    def stream(self, *, last_event_id: str | None = None, resume: Resume | None = None, wants: Wants | None = None) -> EventStream:
        """The answer of a stream endpoint. Raises Unavailable when there are too many, or at a drain."""
        if self._closed or len(self._clients) >= self._max_clients:
            raise Unavailable("No more event streams here.", retry_after_s=5)
        return EventStream(self, last_event_id=last_event_id, resume=resume, wants=wants or _everything)

    def _join(self, client: _Client) -> None:
        self._clients[client] = None
        CLIENTS.set(self._service, to=len(self._clients))
        if self._closed:
            client.end("drain")

    def _leave(self, client: _Client) -> None:
        self._clients.pop(client, None)
        self._room.set()
        CLIENTS.set(self._service, to=len(self._clients))
        ENDED.add(self._service, client.ending or "left")

    def _hello(self) -> bytes:
        return format_sse_event(comment="cityloop", retry=self._random.choice(_RETRY_MS))

    def _ping(self) -> bytes:
        """A real event: a browser's script does not see comments, and a proxy keeps a connection on which something comes."""
        return format_sse_event(data_str=f'{{"at":"{rfc3339(self._clock.now())}"}}', event="ping")


class EventStream(Response):
    """One client's stream: hello and a first ping, what it missed, then what comes, with a ping every 8 s."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, *, last_event_id: str | None, resume: Resume | None, wants: Wants) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._last_event_id = last_event_id
        self._resume = resume
        again = last_event_id is not None
        self._client = _Client(wants, position_of(last_event_id or ""), waits=again, catches_up=again)
        self._pings_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub, client = self._hub, self._client
        hub._join(client)
        try:
            async with anyio.create_task_group() as group:
                client.scope = group.cancel_scope
                group.start_soon(self._watch, receive, group.cancel_scope)
                await self._write(send)
                group.cancel_scope.cancel()
        finally:
            hub._leave(client)

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        scope.cancel()

    async def _write(self, send: Send) -> None:
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _send(send, self._hub._hello() + self._ping())
            await self._catch_up(send)
            while part := await self._next():
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await _send(send, part)
            async with asyncio.timeout(SEND_DEADLINE_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            self._client.end("slow")

    async def _catch_up(self, send: Send) -> None:
        """What came between the client's last event and its place in this replica's queue, never twice, of each thing the newest."""
        if self._last_event_id is None:
            return
        client, resume, told = self._client, self._resume, b""
        missed = await self._missed(self._last_event_id)
        if resume is None or missed is None or client.lost:
            client.newest = max((part.position for part in client.queue), default=NOWHERE)
            told = _reset("trimmed").encoded
        else:
            wanted = _newest([message for message in missed if client.wants(message)])
            client.catch_up(wanted, position_of(self._last_event_id), resume.version)
            told = b"".join(_encode(message) for message in wanted)
        client.waits = client.catches_up = False
        if told:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await _send(send, told)

    async def _missed(self, last_event_id: str) -> Sequence[Message] | None:
        if self._resume is not None and position_of(last_event_id) > NOWHERE:
            with suppress(TimeoutError, Unavailable):
                async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
                    if await self._resume.comes_to(last_event_id):
                        self._client.waits = False  # from here on everything is queued, then what lies before it is read
                        return await self._resume.missed(last_event_id)
        return None

    async def _next(self) -> bytes:
        """The next thing to send; nothing when the stream ends."""
        client = self._client
        while not client.queue:
            if client.ending:
                return b""
            client.ready.clear()
            try:
                async with asyncio.timeout_at(self._pings_at):
                    await client.ready.wait()
            except TimeoutError:
                return self._ping()
        parts = b"".join(part.encoded for part in client.queue)
        client.queue.clear()
        self._hub._room.set()
        return parts if anyio.current_time() < self._pings_at else parts + self._ping()

    def _ping(self) -> bytes:
        self._pings_at = anyio.current_time() + PING_S
        return self._hub._ping()


async def _send(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


def _everything(_: Message) -> bool:
    return True


def _encode(message: Message) -> bytes:
    return format_sse_event(data_str=message.data, event=message.event, id=message.id or None)


def _reset(reason: str) -> _Part:
    return _Part(format_sse_event(data_str=f'{{"reason":"{reason}"}}', event="reset"))


def _newest(messages: Sequence[Message]) -> list[Message]:
    """Without the states that a later one of the same thing replaces: a client may have heard of that one already."""
    last: dict[str, Message] = {}
    for message in messages:
        if message.version and ((known := last.get(message.key)) is None or known.version <= message.version):
            last[message.key] = message
    return [message for message in messages if not message.version or last[message.key] is message]
