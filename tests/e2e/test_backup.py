"""A city is backed up while people use it, restored elsewhere, and goes on from that instant as if nothing had been."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common import invented
from cityloop_common.backup import Manifest, read_manifest
from cityloop_common.clock import city_day
from cityloop_parking.sample import invented_places
from tests.e2e import restored
from tests.e2e.conftest import count_body
from tests.e2e.people import unceasing
from tests.e2e.processes import Process, command, embedded, token
from tests.e2e.test_city import GARAGE, OPERATOR, SERVICES, STATION, Tcec, Town
from tests.integration.books import read_books, read_told
from tests.support import scaled, wait_until

pytestmark = [pytest.mark.stress, pytest.mark.slow, pytest.mark.timeout(scaled(ci=900, full=3000))]
DRIVERS, WEIGHERS = scaled(ci=3, full=12), scaled(ci=2, full=6)
BEFORE = scaled(ci=200, full=20_000)
BEFORE_S = scaled(ci=180, full=600)
HISTORY_ROWS = scaled(ci=20_000, full=2_000_000)
CONNECTORS = [f"E2E{number:02d}" for number in range(1, 5)]
Told = tuple[str, str]
"""A kind and an id that the city has acknowledged."""


@dataclass(slots=True)
class People:
    """Drivers, sensors, an operator of chargers and weighbridges. `acknowledged` is what they were promised."""

    town: Town
    partner: Tcec | None
    acknowledged: list[Told] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wishes: dict[str, dict[str, object]] = field(default_factory=dict)
    slowest_s: float = 0.0

    async def send(self, service: str, path: str, body: object, role: str, *, key: str, operator: str = "", subject: str = "") -> Any:
        """One request of one person, repeatable by its key."""
        bearer = self.town.bearer(role, operator)
        if subject:
            bearer = {"authorization": f"Bearer {token(self.town.settings, role, subject=subject)}"}
        headers = {**bearer, "idempotency-key": key}
        began = time.monotonic()
        answer = await self.town.http.post(f"{self.town.writes[service]}/{service}/v1/{path}", json=body, headers=headers)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        if answer.status_code not in {200, 201}:
            self.refused.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json()

    async def drive(self, number: int, turn: int) -> None:
        """Holds a space, and confirms it."""
        me = f"driver-{number}-{turn}"
        self.wishes[me] = wish(number + turn)
        held = await self.send("parking", "reservations", self.wishes[me], "citizen", key="hold", subject=me)
        if held is not None:
            self.acknowledged.append(("reservation", f"{held['id']} {me}"))
            await self.send("parking", f"reservations/{held['id']}/confirmation", {}, "citizen", key="confirm", subject=me)

    async def count(self, turn: int) -> None:
        """Counts all car parks at once; a source a turn, as a journal has at most one row a source and minute."""
        source = f"gate-{turn}"
        batch = [{**count_body(facts), "source": source} for facts in invented_places()]
        answer = await self.send("parking", "observations", {"observations": batch}, "lot_operator", key=source, operator="sample-operator")
        if answer is not None and answer["rejected"] == 0:
            self.acknowledged += [("observation", f"{each['place_id']} {source}") for each in batch]

    async def charge(self, turn: int) -> None:
        """One connector after the other begins and ends charging."""
        connector, status = CONNECTORS[turn % len(CONNECTORS)], 3 if turn // len(CONNECTORS) % 2 else 1
        assert self.partner is not None
        await self.partner.notify(connector, status)
        self.acknowledged.append(("status", f"{STATION}*{connector}"))
        await asyncio.sleep(0.25)

    async def weigh(self, number: int, turn: int) -> None:
        """A truck on a weighbridge."""
        ticket = f"B{number}-{turn}"
        load = {
            "site_id": "recycler-1", "truck_id": "T01", "stream": "recyclable", "ticket_no": ticket,
            "gross_kg": 7_000 + 100 * number + turn % 100,
            "tare_kg": 5_600, "weighed_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        if await self.send("waste", "loads", load, "site_operator", key=ticket, operator="sample-operator") is not None:
            self.acknowledged.append(("load", ticket))


def served(people: People) -> bool:
    """Whether they have been promised much, and something of every kind."""
    kinds = {kind for kind, _ in people.acknowledged}
    return len(people.acknowledged) >= BEFORE and kinds == {"reservation", "observation", "status", "load"}


def wish(number: int) -> dict[str, object]:
    """An hour in one of the larger car parks; who wishes later wishes for a later one."""
    roomy = sorted(facts.id for facts in invented_places() if sum(pool.capacity for pool in facts.pools) > 50)
    starts_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1 + number % 6)
    return {
        "place_id": roomy[number % len(roomy)], "category": "standard",
        "starts_at": starts_at.isoformat(), "ends_at": (starts_at + timedelta(hours=1)).isoformat(),
    }  # fmt: skip


@asynccontextmanager
async def busy(town: Town, partner: Tcec) -> AsyncIterator[People]:
    """People who do not stop until the body is done."""
    people = People(town, partner)
    drivers = [partial(people.drive, number) for number in range(DRIVERS)]
    weighers = [partial(people.weigh, number) for number in range(WEIGHERS)]
    async with unceasing(*drivers, *weighers, people.count, people.charge):
        yield people


async def a_partner(town: Town) -> Tcec:
    """An operator of chargers that knows the city, with a station of four connectors at a car park."""
    secrets = await town.command("charging", "operator", "add", OPERATOR, "--name", "End to End", "--json")
    at = next(spot for spot in invented.car_parks() if spot.number == 2).position
    evses = [{"connector_id": name, "power_w": 60_000, "current": "dc", "bay_no": name[-2:]} for name in CONNECTORS]
    station = {"name": "试验站", "position": {"lon": at.lon, "lat": at.lat}, "datum": "wgs84", "evses": evses}
    await town.send("PUT", "charging", f"locations/{STATION}", station, "charging_operator", OPERATOR)
    await town.send("POST", "charging", f"place-links/{STATION}/confirmation", {"place_id": GARAGE}, "officer")
    partner = Tcec(town, secrets)
    await partner.log_in()
    return partner


def fill_history(var: Path, count: int) -> None:
    """Counts of past weeks, so that a copy takes a while; they belong to no car park of today."""
    with closing(sqlite3.connect(var / "parking.db", timeout=30, isolation_level=None)) as connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO observation"
            " SELECT printf('01900000-0000-7000-8000-%012x', i), 'gone-' || (i % 2000), 'standard', 'history', i / 2000,"
            " '2025-01-01T00:00:00.000000Z', '2025-01-01T00:00:00.000000Z', i % 50, 50, NULL, NULL, 900 FROM n",
            (count,),
        )


def a_town(process: Process, folder: Path, http: httpx.AsyncClient) -> Town:
    urls = dict.fromkeys(SERVICES, process.url)
    return Town(urls, urls, process.settings, folder, http)


async def test_a_city_is_backed_up_under_load_and_goes_on_elsewhere(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Every row acknowledged before it began is in it, every row up to its instant and none after; every figure is the same; it goes on."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=100)))
        (tmp_path / "here").mkdir()
        process = await stack.enter_async_context(embedded(tmp_path / "here"))
        town, var = a_town(process, tmp_path / "here", http), tmp_path / "here" / "var"
        partner = await a_partner(town)
        await asyncio.to_thread(fill_history, var, HISTORY_ROWS)
        async with busy(town, partner) as people:
            await wait_until(lambda: served(people), BEFORE_S, every=0.1, what=f"{BEFORE} promises of every kind")
            promised, began, people.slowest_s = list(people.acknowledged), time.monotonic(), 0.0
            done = await asyncio.to_thread(command, town.settings, tmp_path, "backup", "backup", "--json")
            took_s, slowest_s, meanwhile = time.monotonic() - began, people.slowest_s, len(people.acknowledged) - len(promised)
            assert done.returncode == 0, done.stderr
        manifest = Manifest.model_validate_json(done.stdout)
        assert meanwhile > 0, "people were served while it was made"
        assert not people.refused, people.refused[:3]
        told = (
            f"{len(promised)} acknowledged before, {meanwhile} during the {took_s:.1f} s of a backup of {manifest.size_bytes / 1e6:.0f} MB;"
            f" the slowest request meanwhile took {slowest_s:.2f} s"
        )
        print(told)
        record_property("backup", told)
        await _restored_alike(tmp_path, var, manifest, promised)
        await _goes_on(tmp_path, manifest, people, promised)


async def _restored_alike(folder: Path, var: Path, manifest: Manifest, promised: list[Told]) -> None:
    """The restored files hold exactly what the running city had learnt by the instant."""
    there = folder / "there" / "var"
    done = await asyncio.to_thread(command, {"CITYLOOP_VAR": str(there)}, folder, "restore", "backup")
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder / "backup") == manifest
    old, new = restored.settings(var), restored.settings(there)
    kept = await restored.journal(new)
    assert kept == await restored.journal(old, manifest.taken_at), "every row up to the instant, and no other"
    assert {name: len(found) for name, found in kept.items()} == {
        f"{name}.{table}": count for name, part in manifest.services.items() for table, count in part.journal_rows.items()
    }
    assert lost(there, promised) == []
    assert await restored.published(new) == await restored.published(old, manifest.taken_at)
    figures = await restored.figures(new, manifest.known_at)
    assert figures == await restored.figures(old, manifest.known_at), "every figure, its districts and its rows"
    assert {name for name, _, _ in figures} == {"live-places", "ev-bay-share", "pile-ratio", "facilities", "recycling-rate"}
    print(f"{sum(map(len, kept.values())):,} journal rows and {len(figures)} figures are the same")


def lost(var: Path, promised: list[Told]) -> list[Told]:
    """What was acknowledged and is not there."""
    known: dict[str, set[object]] = {
        "reservation": {pair for (pair,) in restored.rows(var, "parking", "SELECT id || ' ' || subject FROM reservation")},
        "observation": {pair for (pair,) in restored.rows(var, "parking", "SELECT place_id || ' ' || source FROM observation")},
        "load": {ticket for (ticket,) in restored.rows(var, "waste", "SELECT ticket_no FROM ticket")},
    }
    changes = restored.rows(var, "charging", "SELECT evse_uid, count(*) FROM evse_status GROUP BY evse_uid")
    statuses = {str(uid): int(str(count)) for uid, count in changes}
    told = [name for kind, name in promised if kind == "status"]
    missing = [("status", name) for name in set(told) if statuses.get(name, 0) < told.count(name)]
    return missing + [(kind, name) for kind, name in promised if kind != "status" and name not in known[kind]]


async def _goes_on(folder: Path, manifest: Manifest, before: People, promised: list[Told]) -> None:
    """The restored city sends what it had not sent, agrees with itself, remembers its promises, and makes new ones."""
    async with embedded(folder / "there") as process, httpx.AsyncClient(timeout=30) as http:
        town, var = a_town(process, folder / "there", http), folder / "there" / "var"
        await wait_until(lambda: _settled(var), 120, every=0.2, what="the restored city has sent and taken everything")
        assert restored.agree(var) == {}
        people = People(town, None)
        reservation, driver = next(name for kind, name in promised if kind == "reservation").split()
        again = await people.send("parking", "reservations", before.wishes[driver], "citizen", key="hold", subject=driver)
        assert again is not None, people.refused
        assert again["id"] == reservation, "who repeats a request of before gets the answer of then"
        for turn in range(3):
            await people.drive(99, 1000 + turn)
            await people.weigh(99, 1000 + turn)
            await people.count(100_000 + turn)
        assert not people.refused, people.refused
        await wait_until(lambda: _settled(var), 120, every=0.2, what="what is new is sent and taken, too")
        assert restored.agree(var) == {}
        assert lost(var, promised + people.acknowledged) == []
        books, told = await read_books(f"sqlite:///{var / 'parking.db'}"), await read_told(f"sqlite:///{var / 'events.db'}")
        books.check()
        told.check_order()
        assert (books.event_ids() - told.ids(), told.dead_letters) == (set(), 0)

        async def shown() -> bool:
            place = await town.place(GARAGE)
            assert (place["freshness"], place["source"]) == ("live", "gate-100002"), place
            return True

        await wait_until(shown, every=0.1, what="drivers see the newest count")
    await _recomputes(folder, manifest)


async def _settled(var: Path) -> bool:
    rest = await restored.at_rest(var)
    assert (rest.unsent, rest.lag) == (0, 0), rest
    return True


async def _recomputes(folder: Path, manifest: Manifest) -> None:
    """A figure that was published before the backup is computed again from the restored rows."""
    on = city_day(manifest.taken_at) - timedelta(days=1)
    (known_at,) = restored.rows(
        folder / "there" / "var", "waste", "SELECT max(known_at) FROM indicator_value WHERE on_day = ?", on.isoformat()
    )[0]
    settings = {"CITYLOOP_VAR": str(folder / "there" / "var")}
    asked = ("waste", "recompute", "recycling-rate", "--on", on.isoformat(), "--known-at", str(known_at), "--json")
    done = await asyncio.to_thread(command, settings, folder, *asked)
    assert (done.returncode, json.loads(done.stdout)["equals_published"]) == (0, True), done.stderr
