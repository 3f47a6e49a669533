"""HTTP between nodes: a request is a task of the server's node, and dies with it."""

from __future__ import annotations

import asyncio

import httpx

from tests.simulation import asgi
from tests.simulation.node import Node
from tests.simulation.world import World


class Network:
    """Which name answers, and how many answers get lost on the way back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lost = 0.0
        self.rng = world.stream("network")


class NodeTransport(httpx.AsyncBaseTransport):
    """Carries requests to the node that the URL's host names."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._world = network.world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._latency()
        server = self._world.nodes.get(request.url.host)
        if server is None or server.dead or server.app is None:
            raise httpx.ConnectError(f"{request.url.host} does not listen", request=request)
        await request.aread()
        answer = self._ask(server, request)
        response = await answer
        await self._latency()
        if self._network.rng.random() < self._network.lost:
            raise httpx.ReadTimeout("the answer got lost", request=request)
        self._world.note(server.label, f"answers {request.method} {request.url.raw_path.decode()} {response.status_code}")
        return response

    def _ask(self, server: Node, request: httpx.Request) -> asyncio.Future[httpx.Response]:
        answer: asyncio.Future[httpx.Response] = self._world.loop.create_future()

        def reset() -> None:
            if not answer.done():
                answer.set_exception(httpx.ReadError("connection reset", request=request))

        async def serve() -> None:
            assert server.app is not None
            try:
                response = await asgi.answer(server.app, request)
            except Exception as error:
                self._world.error(f"{server.label} {request.method} {request.url.path}: {error!r}")
                reset()
            else:
                if not answer.done():
                    answer.set_result(response)
            finally:
                server.no_longer(reset)

        server.on_death(reset)
        server.spawn(serve(), f"{request.method} {request.url.path}")
        return answer

    async def _latency(self) -> None:
        await asyncio.sleep(self._network.rng.uniform(0.0005, 0.02))
