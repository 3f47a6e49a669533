"""The scripts that Compose mounts into the servers' containers, run against such servers on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.e2e.processes import command
from tests.support import REPOSITORY, Servers, free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
SERVICES = ("parking", "charging", "waste")


def ready(host: str, port: int) -> int:
    """The status of kafka-ready.sh."""
    words = ["bash", str(REPOSITORY / "deploy" / "compose" / "kafka-ready.sh"), host, str(port)]
    return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode


def test_a_broker_is_ready_when_it_says_so_and_nothing_else_is(stack: Servers) -> None:
    """A port that is open is not enough: Redis answers too, and a closed one does not."""
    kafka, redis = urlsplit(stack.kafka_url), urlsplit(stack.redis_url)
    assert ready(str(kafka.hostname), kafka.port or 0) == 0
    assert ready(str(redis.hostname), redis.port or 0) != 0
    assert ready("127.0.0.1", free_port()) != 0


def run(words: Sequence[str], told: Mapping[str, str]) -> None:
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def empty_postgres() -> Iterator[int]:
    """A PostgreSQL of this test's own, as empty as a container's first start: its port."""
    port, tool = free_port(), str(REPOSITORY / "deploy" / "native" / "stack")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        told = {"CITYLOOP_STACK_DIR": folder, "CITYLOOP_STACK_POSTGRES_PORT": str(port)}
        try:
            run([tool, "start", "postgres"], told)
            yield port
        finally:
            run([tool, "kill", "postgres"], told)


async def test_each_service_has_its_own_database_which_it_can_migrate_and_no_other(empty_postgres: int, tmp_path: Path) -> None:
    """The roles own what they need, extensions of migrations included, and cannot enter each other's database."""
    address = {"PGHOST": "127.0.0.1", "PGPORT": str(empty_postgres), "POSTGRES_USER": "app"}
    passwords = {f"{service.upper()}_DATABASE_PASSWORD": f'it\'s "{service}" $1' for service in SERVICES}
    script = ["bash", str(REPOSITORY / "deploy" / "compose" / "postgres-init.sh")]
    run(script, {**address, **passwords})
    urls = {service: f"postgresql://{service}@127.0.0.1:{empty_postgres}/{service}" for service in SERVICES}
    settings = {"CITYLOOP_VAR": str(tmp_path / "var"), **{f"CITYLOOP_{service.upper()}_DATABASE_URL": url for service, url in urls.items()}}
    (tmp_path / "var").mkdir()
    migrated = command(settings, tmp_path, "migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"postgresql://parking@127.0.0.1:{empty_postgres}/waste")
    admin = await asyncpg.connect(f"postgresql://app@127.0.0.1:{empty_postgres}/postgres")
    try:
        kept = await admin.fetch("SELECT rolname, rolsuper, rolpassword FROM pg_authid WHERE rolname = ANY($1)", list(SERVICES))
    finally:
        await admin.close()
    assert {row["rolname"] for row in kept} == set(SERVICES)
    assert all(row["rolpassword"].startswith("SCRAM-SHA-256") and not row["rolsuper"] for row in kept)
