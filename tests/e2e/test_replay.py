"""`cityloop parking replay` against a real process: what the file says is what drivers see, however often, also across a kill."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Process, command, embedded, token
from tests.support import PATIENCE_S, wait_until

pytestmark = [pytest.mark.xdist_group("e2e-replay"), pytest.mark.timeout(600)]
NEAR = {"near": "109.787,39.565", "radius_m": "8000", "limit": "100"}
Row = tuple[str, int, int, str]


@pytest.fixture
def newest_rows(data_dir: Path) -> list[Row]:
    """The file's rows by time, the newest last, without its duplicates."""
    with (data_dir / "parking" / "birmingham_occupancy_2016.csv").open(newline="") as file:
        read = {(line[0], int(line[1]), int(line[2]), line[3]) for line in list(csv.reader(file))[1:]}
    return sorted(read, key=lambda row: (row[3], row[0]))


def write(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("SystemCodeNumber", "Capacity", "Occupancy", "LastUpdated"), *rows])
    return path


def last_counts(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Free and capacity that each car park must end with; its capacity as a place is the largest of its rows."""
    return {
        f"birmingham-{code.replace(' ', '-')}": (max(0, capacity - occupied), max(each[1] for each in rows if each[0] == code))
        for code, capacity, occupied, _ in rows
    }


async def seen(url: str) -> dict[str, Any]:
    """The replayed car parks by id, as a driver finds them."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
        places = (await http.get("/parking/v1/places", params=NEAR)).json()["places"]
    return {place["id"]: place for place in places if place["id"].startswith("birmingham-")}


async def wait_for_counts(url: str, expected: dict[str, tuple[int, int]]) -> None:
    async def all_there() -> bool:
        there = {id: (place["free"].get("standard"), place["capacity"]["standard"]) for id, place in (await seen(url)).items()}
        assert there == expected
        return True

    await wait_until(all_there, 60, every=0.1, what="drivers see the file's last counts")


async def replay(process: Process, file: Path, *more: str) -> dict[str, Any]:
    """Runs the command with --json and answers its report."""
    done = await asyncio.to_thread(
        command, process.settings, process.folder, "parking", "replay", str(file), "--format", "birmingham", "--json", *more
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


async def test_a_backfill_shows_the_newest_counts_and_twice_is_once(tmp_path: Path, newest_rows: list[Row]) -> None:
    """200 rows and one below zero: every car park is made once, marked, with its last count; again only the time changes."""
    rows = newest_rows[-200:]
    broken: Row = ("NIA North", 480, -3, rows[0][3])
    file = write(tmp_path / "slice.csv", [*rows, broken])
    async with embedded(tmp_path, CITYLOOP_SAMPLE="off") as process:
        first = await replay(process, file, "--backfill", "--url", process.url)
        expected = last_counts(rows)
        assert (first["rows"], first["current"], first["superseded"], first["rejected"]) == (201, 200, 0, 1)
        assert first["rejected_rows"] == [{"row": 201, "reason": "capacity or occupancy is below zero"}]
        assert first["places"] == first["places_created"] == len(expected)
        await wait_for_counts(process.url, expected)
        before = await seen(process.url)
        assert all(place["invented"] and place["source"] == "birmingham" for place in before.values())
        again = await replay(process, file, "--backfill", "--url", process.url)
        assert (again["places_created"], again["current"], again["superseded"]) == (0, len(expected), 200 - len(expected))
        await wait_for_counts(process.url, expected)
        after = await seen(process.url)
    assert {id: place["position"] for id, place in before.items()} == {id: place["position"] for id, place in after.items()}
    newest = max(datetime.fromisoformat(place["as_of"]) for place in after.values())
    oldest = min(datetime.fromisoformat(place["as_of"]) for place in after.values())
    assert newest - oldest < timedelta(hours=9)


async def test_a_replay_lives_through_a_killed_service(tmp_path: Path, newest_rows: list[Row]) -> None:
    """kill -9 in the middle and a start on the same port: the command waits, repeats, and no row is lost."""
    rows = newest_rows[-480:]
    file = write(tmp_path / "slice.csv", rows)
    async with embedded(tmp_path, CITYLOOP_SAMPLE="off") as process:
        me = token(process.settings, "lot_operator", operator="birmingham")
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(replay(process, file, "--backfill", "--url", process.url, "--token", me))
            await wait_until(lambda: counted(process), 120, what="some counts are in")
            process.kill()
            process.start()
            await process.ready()
        report = sending.result()
        assert report["current"] + report["superseded"] == report["rows"] == len(rows)
        assert report["retries"] > 0
        await wait_for_counts(process.url, last_counts(rows))


async def counted(process: Process) -> bool:
    return any(place["free"] for place in (await seen(process.url)).values())
