"""Runs a process: binds the port, starts the loops, and at SIGTERM or Ctrl-C ends everything in the right order.

The order: readiness fails and each answer closes its connection, the balancer looks away, streams end, the server answers what
it has and closes, the loops come to the end of what they have in hand, the ports close. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from cityloop_common.errors import Unavailable
from cityloop_common.http import Health
from cityloop_common.service import Loop
from cityloop_common.settings import SharedSettings
from cityloop_common.supervisor import supervised

log = structlog.get_logger(__name__)
# Longer than balancers keep a connection that nobody uses (nginx and most others 60 s): they close it first, so that no request
# meets a server that is just closing.
KEEP_ALIVE_S = 75


class PortTaken(Exception):
    """Another process listens there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process runs. `close_first` ends open streams before the server waits for its requests."""

    app: ASGIApp
    healths: Sequence[Health]
    loops: Mapping[str, Loop]
    close_first: Sequence[Callable[[], None]] = ()
    drain_for_s: float = 0.0
    on_ready: Callable[[], None] | None = None


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the runtime decides the order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(shared: SharedSettings) -> socket.socket:
    """The listening socket. Raises PortTaken, which names the setting."""
    family = socket.AF_INET6 if ":" in shared.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((shared.host, shared.port))
    except OSError as error:
        listening.close()
        said = f"port {shared.port} on {shared.host} cannot be used ({error.strerror})"
        raise PortTaken(f"{said}; choose another with CITYLOOP_PORT") from error
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def spare_collector() -> None:
    """What was built at the start is never looked through for garbage again, and the rest less often.

    Reference counts free nearly everything; looking for cycles took about 40 % of the time of relaying and consuming.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(plan: Plan, listening: socket.socket, shared: SharedSettings) -> None:
    """Serves until SIGTERM or SIGINT; raises what a dead loop raised."""
    config = uvicorn.Config(
        plan.app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=int(shared.stop_within_s),
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=2048,
    )
    server = _Server(config)
    spare_collector()
    with _stop_signals() as stop:
        async with supervised(plan.loops), _serving(server, listening):
            if plan.on_ready is not None:
                plan.on_ready()
            await stop.wait()
            for health in plan.healths:
                health.drain()
            await asyncio.sleep(plan.drain_for_s)
            for close in plan.close_first:
                close()


@contextlib.asynccontextmanager
async def _serving(server: uvicorn.Server, listening: socket.socket) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listening]), name="http")
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                if serving.done():
                    raise Unavailable("the HTTP server did not start")
            yield
        finally:
            server.should_exit = True


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def ask() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the process's main coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
