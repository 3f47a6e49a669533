"""In the container of one service the operator's commands tell of that service, and name those that they leave out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli import command
from tests.servers import own_database
from tests.support import Servers

LEFT_OUT = [f"CITYLOOP_{name.upper()}_DATABASE_URL is not set: {name} is left out" for name in ("charging", "waste")]


@pytest.mark.stack
async def test_services_without_an_address_are_left_out_beside_one_with_postgresql(stack: Servers, tmp_path: Path) -> None:
    """Their default files are nobody's: neither looked at nor made."""
    async with own_database(stack) as url:
        told = {"CITYLOOP_VAR": str(tmp_path / "var"), "CITYLOOP_PARKING_DATABASE_URL": url}
        assert (await asyncio.to_thread(command, told, tmp_path, "parking", "migrate")).returncode == 0
        waiting = await asyncio.to_thread(command, told, tmp_path, "outbox", "--json")
        judged = await asyncio.to_thread(command, told, tmp_path, "doctor", "--json")
    assert (waiting.returncode, waiting.stderr.splitlines()) == (0, LEFT_OUT)
    assert [row["service"] for row in json.loads(waiting.stdout)] == ["parking"]
    assert judged.stderr.splitlines() == LEFT_OUT
    parts = {row["part"]: row["state"] for row in json.loads(judged.stdout)}
    assert parts["parking database"] == parts["parking schema"] == "ok"
    assert not [part for part in parts if part.startswith(("charging", "waste"))]
    assert not list((tmp_path / "var").glob("charging.db*"))


def test_where_all_have_their_default_files_all_are_told_of(tmp_path: Path) -> None:
    """The embedded form names no address."""
    told = {"CITYLOOP_VAR": str(tmp_path / "var")}
    assert command(told, tmp_path, "migrate").returncode == 0
    waiting = command(told, tmp_path, "outbox", "--json")
    assert (waiting.returncode, waiting.stderr) == (0, "")
    assert [row["service"] for row in json.loads(waiting.stdout)] == ["charging", "parking", "waste"]
