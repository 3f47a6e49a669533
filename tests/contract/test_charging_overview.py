"""The overview of every station: one snapshot of the database, with what the streams told, made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from cityloop_charging.registry import store as registry_store
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import Access, Lifecycle, LocationFacts, LocationState
from cityloop_charging.status import overview, reading, use_cases
from cityloop_charging.status.api import OverviewAnswer, router
from cityloop_charging.status.domain import Status
from cityloop_charging.status.replica import Watch
from cityloop_common.errors import Unavailable
from cityloop_common.ratelimit import SHARED_PER_MINUTE
from tests.contract.charging_support import OPERATOR, City, city, evse, make_tables, station
from tests.contract.kit_support import ask_often, visitor
from tests.support import wait_until

ONE = f"{OPERATOR}*S001*S00101"


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def replica(town: City) -> AsyncIterator[tuple[Watch, httpx.AsyncClient]]:
    """A replica's watch, and a client of it."""
    watch = Watch(town.ctx)
    async with visitor(town.ctx, router, watch=watch) as client:
        yield watch, client


async def keep(town: City, *stations: LocationFacts) -> None:
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, list(stations), source="test")


async def report(town: City, status: Status, *, uid: str = ONE, ago: timedelta = timedelta()) -> None:
    await use_cases.record(town.ctx, uid, status, happened_at=town.clock.now() - ago, source="test")


async def told(client: httpx.AsyncClient) -> dict[str, Any]:
    """The overview, in the shape that it declares."""
    answer = await client.get("/overview")
    assert answer.status_code == 200, answer.text
    OverviewAnswer.model_validate_json(answer.content, strict=True)
    found: dict[str, Any] = answer.json()
    return found


async def test_every_station_is_there_with_what_its_evses_do(town: City) -> None:
    """By id, as each is shown alone: live, late, silent for a day, never heard of, planned, closed, private."""
    planned = replace(evse(5), lifecycle=Lifecycle.PLANNED)
    first = station(evses=4)
    await keep(
        town, station(2, state=LocationState.CLOSED, access=Access.PRIVATE, district="d1"), replace(first, evses=(*first.evses, planned))
    )
    await report(town, Status.CHARGING)
    await report(town, Status.AVAILABLE, uid=f"{OPERATOR}*S001*S00102", ago=timedelta(minutes=31))
    await report(town, Status.AVAILABLE, uid=f"{OPERATOR}*S001*S00103", ago=timedelta(hours=25))
    async with replica(town) as (_, client):
        found = await told(client)
        alone = {each["id"]: each for each in (await client.get("/locations?limit=100")).json()["locations"]}
    one, two = found["locations"]
    assert (found["datum"], found["truncated"], one["id"], two["id"]) == ("wgs84", False, f"{OPERATOR}*S001", f"{OPERATOR}*S002")
    assert [(each["status"], each["freshness"]) for each in one["evses"]] == [
        ("CHARGING", "live"), ("AVAILABLE", "late"), ("UNKNOWN", "unknown"), ("UNKNOWN", "unknown"), ("PLANNED", "unknown"),
    ]  # fmt: skip
    assert (two["state"], two["access"], two["district"], two["place_id"]) == ("closed", "private", "d1", None)
    for each in found["locations"]:
        same = alone[each["id"]]
        assert {name: value for name, value in each.items() if name != "evses"}.items() <= same.items()
        assert all(mine.items() <= theirs.items() for mine, theirs in zip(each["evses"], same["evses"], strict=True))


async def test_what_a_stream_told_is_in_the_next_answer(town: City) -> None:
    """A page opens its stream and then reads: what was told before must not be missing, not even for a second."""
    await keep(town, station())
    async with replica(town) as (watch, client):
        await watch.reset()
        assert (await told(client))["locations"][0]["evses"][0]["status"] == "UNKNOWN"
        await report(town, Status.CHARGING)
        await watch.poll()
        assert (await told(client))["locations"][0]["evses"][0]["status"] == "CHARGING"


async def test_all_who_ask_share_one_reading(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed in pieces and read in pages; in gzip and plain the same bytes."""
    monkeypatch.setattr(overview, "PIECE", 3)
    monkeypatch.setattr(reading, "PAGE", 4)
    await keep(town, *(station(number) for number in range(1, 21)))
    readings = 0
    read = reading.Everywhere.read

    async def counted(of: reading.Everywhere, *, most: int) -> Any:
        nonlocal readings
        readings += 1
        return await read(of, most=most)

    monkeypatch.setattr(reading.Everywhere, "read", counted)
    async with replica(town) as (_, client):
        packed = await asyncio.gather(*(client.get("/overview") for _ in range(20)))
        plain = await client.get("/overview", headers={"accept-encoding": "identity"})
    assert readings == 1
    assert {answer.headers["content-encoding"] for answer in packed} == {"gzip"}
    assert {answer.content for answer in packed} == {plain.content}
    assert [each["id"] for each in plain.json()["locations"]] == [f"{OPERATOR}*S{number:03d}" for number in range(1, 21)]


async def test_stations_are_read_again_when_they_are_otherwise(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, renamed, with another EVSE: those alone, and what their EVSEs do each time."""
    some, asked = registry_store.some, list[list[str]]()

    async def counted(tx: Any, ids: Any) -> Any:
        asked.append(list(ids))
        return await some(tx, ids)

    monkeypatch.setattr(registry_store, "some", counted)
    city = reading.Everywhere(town.ctx)
    await keep(town, *(station(number) for number in range(1, 4)))
    _, first = await city.read(most=10)
    await report(town, Status.CHARGING)
    await keep(town, station(2, name="新名"), station(3, evses=3), station(4))
    _, second = await city.read(most=10)
    ids = [f"{OPERATOR}*S{number:03d}" for number in range(1, 5)]
    assert asked == [ids[:3], ids[1:]]
    assert [each.shown.status for each in first[0].evses] != [each.shown.status for each in second[0].evses]
    assert [each.location for each in second] == [await town.station(id) for id in ids]
    assert [len(each.evses) for each in second] == [2, 2, 3, 2]


async def test_more_stations_than_it_shows_are_said_to_be_there(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first by id."""
    monkeypatch.setattr(overview, "MOST_LOCATIONS", 2)
    await keep(town, *(station(number) for number in range(1, 4)))
    async with replica(town) as (_, client):
        found = await told(client)
    assert ([each["id"][-4:] for each in found["locations"]], found["truncated"]) == (["S001", "S002"], True)


async def test_an_empty_city_and_a_database_that_is_away(town: City) -> None:
    """No station is an answer; no database is a problem with a time to come again, and the next who asks tries again."""
    async with replica(town) as (_, client):
        with mock.patch.object(town.ctx.db, "read", side_effect=Unavailable("away")):
            away = await client.get("/overview")
        assert (away.status_code, away.json()["type"]) == (503, "urn:cityloop:problem:unavailable")
        assert "retry-after" in away.headers
        assert (await told(client))["locations"] == []


async def test_a_limit_holds_for_a_network(town: City) -> None:
    """As for other public reads."""
    async with replica(town) as (_, client):
        await ask_often(town.ctx, "overview", times=SHARED_PER_MINUTE - 1)
        answers = [await client.get("/overview") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


async def test_a_following_replica_answers_what_it_follows(town: City) -> None:
    """Through the fan-out, as in the running service."""
    await keep(town, station())
    async with replica(town) as (watch, client), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(watch.follow()), tasks.create_task(town.ctx.fanout.run_publisher())]

        async def shows(status: str) -> bool:
            return bool((await told(client))["locations"][0]["evses"][0]["status"] == status)

        await wait_until(lambda: shows("UNKNOWN"))
        await report(town, Status.BLOCKED)
        await wait_until(lambda: shows("BLOCKED"))
        for task in running:
            task.cancel()
