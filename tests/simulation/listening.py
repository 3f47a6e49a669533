"""Clients of event streams (SSE): each keeps what a service told it, goes on where it was, and reads again after a reset."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.simulation import asgi
from tests.simulation.node import Node
from tests.simulation.world import Broken, World

OPENS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a stream."""

    id: str
    event: str
    data: Mapping[str, Any]


class Line:
    """One open stream to one node; it ends with the node."""

    def __init__(self, world: World, node: Node, path: str, last_id: str | None) -> None:
        self._world = world
        self._node = node
        self._path = path
        self._last_id = last_id
        self._body = asgi.Body(b"")
        self._text = ""
        self.told: deque[Told] = deque()
        self.news = asyncio.Event()
        self.open = asyncio.Event()
        self.over = False

    def dial(self) -> None:
        """Starts the request as a task of the node."""
        assert self._node.app is not None
        self._node.on_death(self._end)
        headers = {"accept": "text/event-stream"} | ({} if self._last_id is None else {"last-event-id": self._last_id})
        request = httpx.Request("GET", f"http://{self._node.name}{self._path}", headers=headers)
        self._node.spawn(self._node.app(asgi.scope(request), self._body, self._send), f"stream {self._path}")

    def hang_up(self) -> None:
        """The client leaves."""
        self._node.no_longer(self._end)
        self._end()
        self._body.leave()

    def _end(self) -> None:
        self.over = True
        self.open.set()
        self.news.set()

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if message["status"] != 200:
                self._end()
            return
        self._text += message.get("body", b"").decode()
        *blocks, self._text = self._text.split("\n\n")
        told = [one for block in blocks if (one := _read(block)) is not None]
        self._world.note(self._node.label, f"tells {self._path} {[(one.id, one.event) for one in told]}")
        self.told.extend(told)
        self.open.set()
        if told:
            self.news.set()
        if not message.get("more_body", False):
            self._end()


def _read(block: str) -> Told | None:
    """An event; None for comments and the time to wait."""
    fields: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
    return Told(fields.get("id", ""), fields["event"], json.loads(fields["data"])) if "event" in fields else None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a client listens to: `read` makes the state by key out of an answer of `whole`, `take` key and value out of an event."""

    hosts: Sequence[str]
    stream: str
    event: str
    whole: str
    read: Callable[[Any], dict[str, Any]]
    take: Callable[[Mapping[str, Any]], tuple[str, Any]]
    token: str = ""


class Listener:
    """A client that believes what it is told. `state` is what it would show."""

    def __init__(self, world: World, client: httpx.AsyncClient, subject: Subject, name: str) -> None:
        self._world = world
        self._client = client
        self._subject = subject
        self._rng = world.stream(f"listener/{name}")
        self._last_id: str | None = None
        self.state: dict[str, Any] = {}
        self.events = 0

    async def live(self) -> None:
        """For ever: a stream after the other."""
        while True:
            node = self._world.nodes.get(self._rng.choice(self._subject.hosts))
            if node is not None and not node.dead and node.app is not None:
                line = Line(self._world, node, self._subject.stream, self._last_id)
                line.dial()
                try:
                    await self._listen(line, node)
                finally:
                    line.hang_up()
            await asyncio.sleep(self._rng.uniform(0.2, 2))

    async def _listen(self, line: Line, node: Node) -> None:
        try:
            async with asyncio.timeout(OPENS_WITHIN_S):
                await line.open.wait()
        except TimeoutError:
            return
        if self._last_id is None and not await self._read_whole(node):
            return
        while not (line.over and not line.told):
            await line.news.wait()
            if not line.over:
                line.news.clear()
            while line.told:
                if not await self._take(line.told.popleft(), node):
                    return

    async def _take(self, told: Told, node: Node) -> bool:
        """False when the state could not be read again: the next stream begins anew."""
        if told.event == "reset":
            self._last_id = None
            return await self._read_whole(node)
        if told.event == self._subject.event:
            key, value = self._subject.take(told.data)
            self.state[key] = value
            self.events += 1
        self._last_id = told.id or self._last_id
        return True

    async def _read_whole(self, node: Node) -> bool:
        """The whole state, from the node whose stream is open: what changed meanwhile is in the stream behind it."""
        headers = {"Authorization": f"Bearer {self._subject.token}"} if self._subject.token else {}
        try:
            answer = await self._client.get(f"http://{node.name}{self._subject.whole}", headers=headers)
        except httpx.TransportError:
            return False
        if answer.status_code == 503:
            return False
        if answer.status_code != 200:
            raise Broken(f"{node.name} answers {self._subject.whole} {answer.status_code} {answer.text[:200]}")
        self.state = self._subject.read(answer.json())
        return True
