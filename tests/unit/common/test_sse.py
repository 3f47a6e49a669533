"""Event streams: over a real socket, resumable, never slower than their slowest reader, gone at a drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header
from starlette.responses import Response

from cityloop_common import auth, sse
from cityloop_common.rng import Rng
from cityloop_common.sse import Hub, Message, Resume
from tests.support import PATIENCE_S, wait_until
from tests.unit.common.edge import Edge

HISTORY = [Message(f"100-{number}", "place", "p1", f'{{"n":{number}}}') for number in range(1, 6)]


class Streaming:
    """A served application with one hub."""

    def __init__(self, at_edge: Edge, *, max_clients: int = 10, max_queued: int = 50) -> None:
        self.hub = Hub("tiny", clock=at_edge.clock, rng=Rng("sse"), max_clients=max_clients, max_queued=max_queued)
        self.resumed: list[str] = []
        self.known: Sequence[Message] | None = HISTORY
        self.versions: dict[str, int] = {}
        self.url = ""
        self.server: uvicorn.Server | None = None
        self.app = at_edge.app(self._routes())

    def _routes(self) -> APIRouter:
        routes = APIRouter()

        @routes.get("/stream")
        async def stream(
            _: Annotated[auth.Principal, Depends(auth.public)], last_event_id: Annotated[str | None, Header()] = None, key: str = ""
        ) -> Response:
            wants = (lambda message: message.key == key) if key else None
            resume = Resume(self._comes_to, self._resume, lambda key: self.versions.get(key, 0))
            return self.hub.stream(last_event_id=last_event_id, resume=resume, wants=wants)

        return routes

    async def _comes_to(self, position: str) -> bool:
        return True

    async def _resume(self, position: str) -> Sequence[Message] | None:
        self.resumed.append(position)
        known = self.known
        return None if known is None else [message for message in known if message.id > position]


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """The application on a port of the loopback."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", proxy_headers=False, timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server._serve(sockets=[listening]))
            await wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/tiny/v1/stream", server
            server.should_exit = True


class Reader:
    """One client: what it has received so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.text = ""
        self.ended = False

    async def read(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            async for part in self.response.aiter_text():
                self.text += part
        self.ended = True

    def blocks(self) -> list[dict[str, str]]:
        """Events as far as they have come: of a long one the beginning counts."""
        found = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in self.text.split("\n\n")]
        return [block for block in found if "event" in block]

    def events(self) -> list[tuple[str, str]]:
        return [(block.get("id", ""), block["event"]) for block in self.blocks() if block["event"] != "ping"]

    def pings(self) -> list[dict[str, str]]:
        return [block for block in self.blocks() if block["event"] == "ping" and "data" in block]


@asynccontextmanager
async def reading(url: str, **headers: str) -> AsyncIterator[Reader]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client, client.stream("GET", url, headers=headers) as response:
        reader = Reader(response)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(reader.read())
            await wait_until(lambda: "retry:" in reader.text or reader.ended)
            yield reader
            task.cancel()


def message(number: int, key: str = "p1", data: str = "{}") -> Message:
    return Message(f"200-{number}", "place", key, data)


async def test_a_client_gets_what_it_wants_in_order(at_edge: Edge) -> None:
    """With the ids it may resume from, unbuffered."""
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _), reading(f"{url}?key=p1") as reader:
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["x-accel-buffering"] == "no"
        for number in range(5):
            streaming.hub.publish(message(number, "p1" if number != 2 else "p2"))
        await wait_until(lambda: len(reader.events()) == 4)
        assert reader.events() == [(f"200-{number}", "place") for number in (0, 1, 3, 4)]


async def test_a_client_that_left_is_forgotten(at_edge: Edge) -> None:
    """Its queue goes with it."""
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _):
        async with reading(url):
            assert streaming.hub.clients == 1
            assert sse.CLIENTS.value("tiny") == 1
        await wait_until(lambda: streaming.hub.clients == 0)


async def test_a_client_goes_on_where_it_was(at_edge: Edge) -> None:
    """What it missed comes first, what is both missed and queued comes once."""
    streaming = Streaming(at_edge)
    resume = streaming._resume

    async def meanwhile(position: str) -> Sequence[Message] | None:
        for each in [*HISTORY[-2:], message(1)]:
            streaming.hub.publish(each)
        return await resume(position)

    streaming._resume = meanwhile  # type: ignore[method-assign]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-2"}) as reader:
        streaming.hub.publish(HISTORY[-1])
        streaming.hub.publish(message(2))
        await wait_until(lambda: len(reader.events()) >= 5)
        assert [event for event, _ in reader.events()] == ["100-3", "100-4", "100-5", "200-1", "200-2"]


async def test_what_a_client_heard_elsewhere_is_not_told_again(at_edge: Edge) -> None:
    """This replica is behind the one from which the client comes: entries up to the client's own are no news for it."""
    streaming = Streaming(at_edge)
    streaming.known = []
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "200-3"}) as reader:
        for number in range(1, 6):
            streaming.hub.publish(message(number))
        await wait_until(lambda: len(reader.events()) >= 2)
        assert reader.events() == [("200-4", "place"), ("200-5", "place")]


def state(version: int, id_: str = "", key: str = "p1") -> Message:
    return Message(id_, "place", key, f'{{"v":{version}}}', version)


async def test_of_each_thing_the_newest_state_is_made_up(at_edge: Edge) -> None:
    """Also when the stream has them in another order, or none has a position; what is no state is told each time."""
    streaming = Streaming(at_edge)
    events = [Message(f"200-{number}", "progress", "p1", f'{{"v":"{number}"}}') for number in (4, 5)]
    entries = [state(1, "200-1"), state(3, "200-2"), state(2, "200-3"), *events, state(9, "200-6", "p2")]

    async def missed(_position: str) -> Sequence[Message]:
        return [state(2), state(9, key="p2"), state(7, key="p3"), *entries]

    streaming._resume = missed  # type: ignore[method-assign, assignment]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-1"}) as reader:
        await wait_until(lambda: len(reader.events()) >= 5)
        assert [(block.get("id", ""), block["data"]) for block in reader.blocks() if block["event"] != "ping"] == [
            ("", '{"v":7}'), ("200-2", '{"v":3}'), ("200-4", '{"v":"4"}'), ("200-5", '{"v":"5"}'), ("200-6", '{"v":9}'),
        ]  # fmt: skip


async def test_a_state_is_never_followed_by_an_older_one(at_edge: Edge) -> None:
    """The database told a client more than this replica's stream has told yet; what was queued before is old, too."""
    streaming = Streaming(at_edge)

    async def ahead(_position: str) -> Sequence[Message]:
        streaming.hub.publish(state(3, "200-1"))
        streaming.hub.publish(state(6, key="p2"))
        return [state(5), state(7, "200-4", "p2")]

    streaming._resume = ahead  # type: ignore[method-assign, assignment]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-1"}) as reader:
        await wait_until(lambda: len(reader.events()) >= 2)
        for each in (
            state(4, "200-2"),
            state(6, key="p2"),
            state(7, "200-4", "p2"),
            state(5, "200-5"),
            state(7, key="p2"),
            state(6, "200-6"),
        ):
            streaming.hub.publish(each)
        await wait_until(lambda: len(reader.events()) >= 5)
        assert [(block.get("id", ""), block["data"]) for block in reader.blocks() if block["event"] != "ping"] == [
            ("", '{"v":5}'), ("200-4", '{"v":7}'), ("200-5", '{"v":5}'), ("", '{"v":7}'), ("200-6", '{"v":6}'),
        ]  # fmt: skip


async def test_what_a_replica_tells_until_it_is_as_far_as_the_client_is_no_news(at_edge: Edge) -> None:
    """With a position or without one, however much it is: others hear it at once, and nobody waits for the one who waits."""
    streaming = Streaming(at_edge, max_queued=50)
    streaming.known, streaming.versions = [], {"p1": 9}

    async def comes_to(_position: str) -> bool:
        await streaming.hub.publish_all(state(1, key=f"p{number}") for number in range(120))
        streaming.hub.reset("trimmed")
        streaming.hub.publish(state(5, "200-2"))
        return True

    streaming._comes_to = comes_to  # type: ignore[method-assign, assignment]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "200-2"}) as reader:
        await wait_until(lambda: streaming.resumed)
        await asyncio.sleep(0)
        streaming.hub.publish(state(6, "200-3"))
        await wait_until(reader.events)
        assert reader.events() == [("200-3", "place")]


@pytest.mark.parametrize("how", ["reset", "many"])
async def test_who_is_not_told_all_while_catching_up_starts_again(how: str, at_edge: Edge) -> None:
    """The stream was lost, or more came than a queue holds: said once, and what comes then is heard."""
    streaming = Streaming(at_edge, max_queued=10)

    async def missed(_position: str) -> Sequence[Message]:
        if how == "reset":
            streaming.hub.reset("trimmed")
        else:
            await streaming.hub.publish_all(message(number) for number in range(11))
        return HISTORY

    streaming._resume = missed  # type: ignore[method-assign, assignment]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-1"}) as reader:
        await wait_until(reader.events)
        streaming.hub.publish(Message("300-1", "place", "p1", "{}"))
        await wait_until(lambda: ("300-1", "place") in reader.events())
        assert reader.events()[0] == ("", "reset")


async def test_a_replica_that_does_not_come_as_far_says_so(at_edge: Edge) -> None:
    """The client reads everything again; nothing is made up from what is older."""
    streaming = Streaming(at_edge)

    async def comes_to(_position: str) -> bool:
        return False

    streaming._comes_to = comes_to  # type: ignore[method-assign, assignment]
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-1"}) as reader:
        await wait_until(reader.events)
        streaming.hub.publish(message(1))
        await wait_until(lambda: len(reader.events()) >= 2)
        assert (reader.events(), streaming.resumed) == ([("", "reset"), ("200-1", "place")], [])


async def test_a_stream_that_counts_from_anywhere_is_heard_after_a_reset(at_edge: Edge) -> None:
    """The client's position was of a stream that is gone: its numbers say nothing about the new one's."""
    streaming = Streaming(at_edge)
    streaming.known = None
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "900-1"}) as reader:
        await wait_until(lambda: len(reader.events()) == 1)
        streaming.hub.publish(message(1))
        await wait_until(lambda: len(reader.events()) == 2)
        assert reader.events() == [("", "reset"), ("200-1", "place")]


@pytest.mark.parametrize("position", ["100-1", "rubbish", "9" * 100])
async def test_a_client_that_cannot_go_on_starts_again(at_edge: Edge, position: str) -> None:
    """A position that is trimmed or none is a reset, never a silent gap."""
    streaming = Streaming(at_edge)
    streaming.known = None
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": position}) as reader:
        await wait_until(lambda: reader.events() == [("", "reset")])
        assert streaming.resumed == ([position] if position == "100-1" else [])


async def test_everyone_hears_a_reset(at_edge: Edge) -> None:
    """And afterwards a new stream may count from anywhere."""
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _), reading(url) as reader:
        streaming.hub.publish(message(1))
        streaming.hub.reset("cache-lost")
        streaming.hub.publish(Message("", "place", "p1", "{}"))
        streaming.hub.publish(Message("150-1", "place", "p1", "{}"))
        await wait_until(lambda: len(reader.events()) == 4)
        assert reader.events() == [("200-1", "place"), ("", "reset"), ("", "place"), ("150-1", "place")]


async def test_a_slow_client_is_dropped_and_told(at_edge: Edge) -> None:
    """It costs a bounded queue and stops nobody."""
    streaming = Streaming(at_edge, max_queued=10)
    async with served(streaming.app) as (url, _), reading(url) as reader, reading(url) as other:
        for number in range(30):  # without a pause: no client can read meanwhile
            streaming.hub.publish(message(number))
        await wait_until(lambda: reader.ended and other.ended)
        assert reader.events() == [("", "reset")]
        assert '"slow"' in reader.text
    assert streaming.hub.clients == 0


def _has_heard(reader: Reader, events: int) -> bool:
    return len(reader.events()) >= events


async def test_who_reads_hears_all_of_many(at_edge: Edge) -> None:
    """Far more than a queue holds, in one go: clients have time to send between, and nobody who reads is called slow."""
    streaming = Streaming(at_edge, max_queued=256)
    async with served(streaming.app) as (url, _), reading(url) as reader, reading(url) as other:
        await streaming.hub.publish_all(message(number) for number in range(3_000))
        for each in (reader, other):
            await wait_until(partial(_has_heard, each, 3_000))
            assert each.events() == [(f"200-{number}", "place") for number in range(3_000)]


async def test_one_who_does_not_read_holds_the_others_for_a_second_at_most(at_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is dropped as ever."""
    monkeypatch.setattr(sse, "ROOM_WITHIN_S", 0.05)
    hub = Hub("tiny", clock=at_edge.clock, rng=Rng("sse"))
    stuck = sse._Client(lambda _: True)
    hub._join(stuck)
    async with asyncio.timeout(PATIENCE_S):
        await hub.publish_all(message(number) for number in range(2_000))
    assert (stuck.ending, len(stuck.queue)) == ("slow", 1)


async def test_there_is_a_limit_of_clients(at_edge: Edge) -> None:
    """One too many is asked to come again."""
    streaming = Streaming(at_edge, max_clients=1)
    async with served(streaming.app) as (url, _), reading(url), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_drain_ends_every_stream(at_edge: Edge) -> None:
    """The server need not wait, clients that read nothing included."""
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, server), reading(url) as reader:
        port = httpx.URL(url).port
        _, stuck = await asyncio.open_connection("127.0.0.1", port, limit=1)
        stuck.write(b"GET /tiny/v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_until(lambda: streaming.hub.clients == 2)
        streaming.hub.publish(message(1, data="x" * 30_000_000))
        await wait_until(lambda: len(reader.events()) == 1)
        streaming.hub.close()
        await wait_until(lambda: streaming.hub.clients == 0, sse.SEND_DEADLINE_S / 2)
        await wait_until(lambda: reader.ended)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).status_code == 503
        stuck.transport.abort()
        server.should_exit = True


async def test_a_client_is_greeted_with_a_ping(at_edge: Edge) -> None:
    """An event that its script can see, with the replica's time, and no position: it goes on behind its last change."""
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _), reading(url, **{"last-event-id": "100-2"}) as reader:
        await wait_until(lambda: len(reader.events()) == 3)
        assert reader.blocks()[0] == {"event": "ping", "data": '{"at":"2026-11-24T04:00:00Z"}'}
        assert len(reader.pings()) == 1


async def test_a_quiet_stream_is_kept_alive(at_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients and proxies see that it lives."""
    monkeypatch.setattr(sse, "PING_S", 0.02)
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _), reading(url) as reader:
        await wait_until(lambda: len(reader.pings()) >= 3)
        assert reader.events() == []


async def test_a_busy_stream_has_its_pings_too(at_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients need not know which events come often."""
    monkeypatch.setattr(sse, "PING_S", 0.05)
    streaming = Streaming(at_edge)
    async with served(streaming.app) as (url, _), reading(url) as reader:

        def heard(of: int) -> bool:
            return len(reader.events()) == of

        for number in range(1, 1_000):
            streaming.hub.publish(message(number))
            await wait_until(partial(heard, number))
            if len(reader.pings()) >= 3:
                break
        assert len(reader.pings()) >= 3
