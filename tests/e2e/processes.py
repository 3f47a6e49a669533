"""Real processes of CityLoop for end-to-end tests: the embedded form, and replicas on the servers of `make stack`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx

from cityloop_common.auth import Role
from cityloop_common.clock import SystemClock
from cityloop_common.issuer import DevIssuer
from cityloop_common.rng import Rng
from tests.support import free_port, wait_until

CITYLOOP = Path(sys.executable).with_name("cityloop")
START_WITHIN_S = 180.0
END_WITHIN_S = 60.0  # more than a service lets its requests and loops have
COMMAND_WITHIN_S = 300.0


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without its CityLoop settings, and with those given. What a night job does depends on the hour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CITYLOOP_")}
    return {**kept, "CITYLOOP_WASTE_NIGHT_PLANS": "off", **settings, "PYTHONUNBUFFERED": "1"}


@dataclass(slots=True)
class Process:
    """One process of CityLoop with an HTTP port."""

    arguments: Sequence[str]
    settings: Mapping[str, str]
    folder: Path
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        return self.folder / f"{'-'.join(self.arguments)}-{self.port}.out"

    def start(self) -> None:
        """Starts it, with its output in a file."""
        given = environment({**self.settings, "CITYLOOP_PORT": str(self.port)})
        with self.output.open("ab") as output:
            self.running = subprocess.Popen(
                [CITYLOOP, *self.arguments], env=given, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    async def ready(self, path: str = "/healthz/ready") -> None:
        """Waits until it takes traffic."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as client:

            async def answers() -> bool:
                assert self.running is not None
                if self.running.poll() is not None:
                    raise RuntimeError(f"{self.arguments} ended with {self.running.returncode}: {self.said()}")
                try:
                    answer = await client.get(path)
                except httpx.TransportError as error:
                    raise AssertionError(f"{error!r}; it said: {self.said()}") from error
                assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}; it said: {self.said()}"
                return True

            await wait_until(answers, START_WITHIN_S, every=0.05, what=f"{self.arguments} ready")

    def said(self) -> str:
        """The end of its output."""
        return self.output.read_text(errors="replace")[-2000:] if self.output.exists() else ""

    def said_of(self, request_id: str) -> str:
        """What it logged of one request, with the traceback of what failed; its log holds no personal data."""
        lines = self.output.read_text(errors="replace").splitlines() if self.output.exists() else []
        return "\n".join(line.replace("\\n", "\n") for line in lines if request_id in line)

    def kill(self) -> None:
        """kill -9: nothing of it runs any more."""
        if self.running is not None:
            self.running.kill()
            self.running.wait(END_WITHIN_S)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end and answers its exit status."""
        assert self.running is not None
        process = self.running
        process.send_signal(number)

        def ended() -> bool:
            assert process.poll() is not None, f"it runs, and said: {self.said()}"
            return True

        await wait_until(ended, END_WITHIN_S, what=f"{self.arguments} ended")
        return process.returncode


@asynccontextmanager
async def embedded(folder: Path, **settings: str) -> AsyncIterator[Process]:
    """`cityloop dev` in a folder of its own, ready; killed at the end if it still runs."""
    process = Process(["dev"], {"CITYLOOP_SAMPLE": "static", "CITYLOOP_VAR": str(folder / "var"), **settings}, folder)
    process.start()
    try:
        await process.ready()
        yield process
    finally:
        process.kill()


def token(settings: Mapping[str, str], role: str, *, subject: str = "", operator: str = "", ttl: timedelta = timedelta(hours=1)) -> str:
    """What `cityloop token` prints for these settings, without a process each."""
    issuer, audience = "urn:cityloop:development", "cityloop"
    folder = Path(settings["CITYLOOP_VAR"]) / "keys"
    own = DevIssuer(folder, environment="development", issuer=issuer, audience=audience, clock=SystemClock(), rng=Rng())
    return own.mint(Role(role), subject=subject, operator_id=operator or None, ttl=ttl)


def command(settings: Mapping[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `cityloop ...` with these settings in a folder; what it says and its status are the caller's to judge."""
    return subprocess.run(
        [CITYLOOP, *arguments], env=environment(settings), cwd=folder, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False
    )


@dataclass(slots=True)
class City:
    """Services on real servers: two API replicas and two workers each, and the issuer. `apis` and `workers` are parking's."""

    settings: dict[str, str]
    folder: Path
    apis_of: dict[str, list[Process]]
    workers_of: dict[str, list[Process]]
    issuer: Process

    @property
    def apis(self) -> list[Process]:
        return self.apis_of["parking"]

    @property
    def workers(self) -> list[Process]:
        return self.workers_of["parking"]

    @property
    def processes(self) -> list[Process]:
        of_services = [each for kind in (self.apis_of, self.workers_of) for processes in kind.values() for each in processes]
        return [self.issuer, *of_services]

    async def migrate(self) -> None:
        """Schemas and topics."""
        for service in self.apis_of:
            done = await asyncio.to_thread(command, self.settings, self.folder, service, "migrate")
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def native_settings(var: Path, *, postgres_urls: Mapping[str, str], log_url: str, issuer_port: int) -> dict[str, str]:
    """What a process is told on this machine's servers: the same settings as in docker-compose.yml and deploy/k8s; a test compares."""
    return {
        "CITYLOOP_ENVIRONMENT": "development",
        "CITYLOOP_HOST": "127.0.0.1",
        "CITYLOOP_VAR": str(var),
        "CITYLOOP_LOG_LEVEL": "info",
        **{f"CITYLOOP_{service.upper()}_DATABASE_URL": url for service, url in postgres_urls.items()},
        "CITYLOOP_EVENT_LOG_URL": log_url,
        "CITYLOOP_CACHE_URL": "memory:",
        "CITYLOOP_JWKS_URL": f"http://127.0.0.1:{issuer_port}/issuer/jwks.json",
        "CITYLOOP_ISSUER": "urn:cityloop:development",
        "CITYLOOP_AUDIENCE": "cityloop",
        "CITYLOOP_HASH_KEY": "a hash key of the tests, 32 bytes",
        "CITYLOOP_PARKING_GUEST_KEY": "a guest key of the tests, 32 bytes",
        "CITYLOOP_CHARGING_SECRET_KEY": "a key of secrets of the tests, 32 bytes",
        "CITYLOOP_TRUSTED_PROXIES": "[]",
        "CITYLOOP_SAMPLE": "static",
        "CITYLOOP_DISTRICTS": "",
        "CITYLOOP_POOL_WORKERS": "2",
        "CITYLOOP_DRAIN_FOR_S": "0",
        "CITYLOOP_STOP_WITHIN_S": "20",
    }


@asynccontextmanager
async def city(folder: Path, *, postgres_urls: Mapping[str, str], kafka_url: str, topic_prefix: str, **more: str) -> AsyncIterator[City]:
    """Running services, each on its database, on the given servers; killed at the end."""
    issuer_port = free_port()
    log_url = f"{kafka_url}?prefix={topic_prefix}"
    settings = {**native_settings(folder / "var", postgres_urls=postgres_urls, log_url=log_url, issuer_port=issuer_port), **more}
    made = City(
        settings,
        folder,
        apis_of={service: [Process([service, "api"], settings, folder) for _ in range(2)] for service in postgres_urls},
        workers_of={service: [Process([service, "worker"], settings, folder) for _ in range(2)] for service in postgres_urls},
        issuer=Process(["issuer"], settings, folder, port=issuer_port),
    )
    await made.migrate()
    try:
        for process in made.processes:
            process.start()
        for process in made.processes:
            await process.ready()
        yield made
    finally:
        for process in made.processes:
            process.kill()
