"""HAProxy with the configuration of `deploy/haproxy`, in front of a running city."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import City, Process
from tests.support import REPOSITORY, free_port, wait_until

CONFIGURATION = REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg"
NUMBERS = ("one", "two")


def program() -> str | None:
    """Where HAProxy is; Debian puts it where only root looks."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


@dataclass(slots=True)
class Balancer:
    """A running HAProxy: `port` is the city's; what it thinks of its servers is asked over its socket."""

    port: int
    socket: Path
    output: Path

    async def stats(self) -> dict[tuple[str, str], dict[str, str]]:
        """Its figures by backend and server (`show stat`)."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(b"show stat\n")
        lines = (await reader.read(-1)).decode().splitlines()
        writer.close()
        names = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        return {(row["pxname"], row["svname"]): row for row in rows}

    async def sees(self, service: str, number: int, state: str) -> None:
        """Waits until a replica is `UP` or `DOWN` for it."""

        async def seen() -> bool:
            return (await self.stats())[service, NUMBERS[number]]["status"] == state

        await wait_until(seen, every=0.02, what=f"{service} {NUMBERS[number]} is {state} for HAProxy")

    async def faults(self) -> dict[str, int]:
        """Answers that it had to make itself, or that a server broke off; requests that no ready replica could take."""
        rows = [(name, row) for (name, server), row in (await self.stats()).items() if server == "BACKEND"]
        counted = {fault: sum(int(row[fault] or 0) for _, row in rows) for fault in ("eresp", "hrsp_5xx")}
        return counted | {"not_ready": sum(int(row["stot"]) for name, row in rows if name.endswith("-alive"))}


@asynccontextmanager
async def balanced(city: City, folder: Path) -> AsyncIterator[Balancer]:
    """HAProxy in front of the city's API replicas, all of them up; ended at the end."""
    haproxy = program()
    assert haproxy is not None
    made = Balancer(free_port(), folder / "haproxy.sock", folder / "haproxy.out")
    where = {
        f"{service.upper()}_API_{number}": f"127.0.0.1:{process.port}"
        for service, processes in city.apis_of.items()
        for number, process in enumerate(processes, 1)
    }
    given = {**os.environ, "HAPROXY_BIND": f"127.0.0.1:{made.port}", "HAPROXY_SOCKET": str(made.socket), **where}
    with made.output.open("wb") as output:
        command = [haproxy, "-db", "-f", str(CONFIGURATION)]
        running = subprocess.Popen(command, env=given, cwd=folder, stdout=output, stderr=output)  # noqa: ASYNC220 - starts at once
    try:
        await wait_until(made.socket.exists, what=f"HAProxy runs; {made.output}")
        for service in city.apis_of:
            for number in range(len(NUMBERS)):
                await made.sees(service, number, "UP")
        yield made
    finally:
        running.terminate()
        running.wait(10)


async def restart(process: Process) -> float:
    """Ends a process as a deployment does, starts it anew, and waits until it is ready; answers the seconds that the end took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await process.stop() == 0, process.said()
    took = loop.time() - began
    process.start()
    await process.ready()
    return took


async def restart_replica(balancer: Balancer, city: City, service: str, number: int) -> float:
    """One API replica, and the balancer has it again: only then may the next one go."""
    took = await restart(city.apis_of[service][number])
    await balancer.sees(service, number, "UP")
    return took
