"""The overview of every car park: from a replica's memory, as fresh as what it has heard, made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from cityloop_common.cache import CacheUnavailable
from cityloop_common.compression import Packer
from cityloop_common.errors import Unavailable
from cityloop_common.ratelimit import SHARED_PER_MINUTE
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Accepted, PlaceState
from cityloop_parking.search import overview, use_cases
from cityloop_parking.search.api import OverviewAnswer, router
from cityloop_parking.search.replica import Search
from tests.contract.kit_support import ask_often, visitor
from tests.contract.neighbours_support import publish
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.contract.test_search import count, counted, deliver, lot
from tests.support import wait_until


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def replica(town: City) -> AsyncIterator[tuple[Search, httpx.AsyncClient]]:
    """A replica's search that has read nothing yet, and a client of it."""
    search = use_cases.open_search(town.ctx)
    async with visitor(town.ctx, router, search=search) as client:
        yield search, client


async def told(client: httpx.AsyncClient) -> dict[str, Any]:
    """The overview, in the shape that it declares."""
    answer = await client.get("/overview")
    assert answer.status_code == 200, answer.text
    OverviewAnswer.model_validate(answer.json(), strict=False)
    found: dict[str, Any] = answer.json()
    return found


async def test_every_place_is_there_with_its_freshness(town: City) -> None:
    """Live, late, not counted for a day, never counted, closed: by id, as a search shows them, without a distance."""
    await publish(town, *(lot(number) for number in (5, 4, 3, 2)), lot(1, state=PlaceState.CLOSED))
    for number, ago in ((1, 0), (2, 0), (3, 1_801), (4, 24 * 3_600 + 1)):
        await count(town, counted(4, number=number, at=NOON - timedelta(seconds=ago)), version=1)
    async with replica(town) as (search, client):
        await search.reset()
        found = await told(client)
        nearest = {place["id"]: place for place in (await client.get("/places?near=109.787,39.565")).json()["places"]}
    assert (found["as_of"], found["datum"], found["truncated"]) == ("2026-06-01T04:00:00Z", "wgs84", False)
    assert [(place["id"], place["freshness"], place["free"]) for place in found["places"]] == [
        ("op-1", "closed", {}), ("op-2", "live", {"standard": 6}), ("op-3", "late", {"standard": 6}), ("op-4", "unknown", {}),
        ("op-5", "unknown", {}),
    ]  # fmt: skip
    assert all("distance_m" not in place for place in found["places"])
    assert {place["id"]: place for place in found["places"]} == {
        id_: {name: value for name, value in place.items() if name != "distance_m"} for id_, place in nearest.items()
    }


async def test_a_change_that_the_replica_has_heard_is_in_the_next_answer(town: City) -> None:
    """A page opens its stream and then reads: what the stream told before must not be missing, not even for a second."""
    await publish(town, lot(1), lot(2))
    async with replica(town) as (search, client):
        await search.reset()
        assert [place["free"] for place in (await told(client))["places"]] == [{}, {}]
        await count(town, counted(3), version=1)
        await search.poll()
        assert [place["free"] for place in (await told(client))["places"]] == [{"standard": 7}, {}]
        town.clock.advance(1_801)
        assert [place["freshness"] for place in (await told(client))["places"]] == ["late", "unknown"]


async def test_it_goes_on_without_database_and_cache(town: City) -> None:
    """From memory, and `as_of` says until when that was true."""
    await publish(town, lot(1))
    async with replica(town) as (search, client):
        await search.reset()
        town.clock.advance(30)
        with (
            mock.patch.object(town.ctx.db, "read", side_effect=Unavailable("away")),
            mock.patch.object(town.ctx.cache, "count", side_effect=CacheUnavailable("away")),
        ):
            with pytest.raises(Unavailable):
                await search.poll()
            found = await told(client)
    assert (found["as_of"], [place["id"] for place in found["places"]]) == ("2026-06-01T04:00:00Z", ["op-1"])


async def test_a_replica_that_has_read_nothing_says_so(town: City) -> None:
    """503 with a time to come again, never an empty city."""
    async with replica(town) as (_, client):
        answer = await client.get("/overview")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:cityloop:problem:index-not-ready")
    assert answer.headers["retry-after"] == "1"


async def test_more_places_than_it_shows_are_said_to_be_there(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first by id."""
    monkeypatch.setattr(overview, "MOST_PLACES", 2)
    await publish(town, lot(1), lot(2), lot(3))
    async with replica(town) as (search, client):
        await search.reset()
        found = await told(client)
    assert ([place["id"] for place in found["places"]], found["truncated"]) == (["op-1", "op-2"], True)


async def test_all_who_ask_share_one_making(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """In gzip and plain, byte for byte; of many places in several pieces."""
    monkeypatch.setattr(overview, "PIECE", 3)
    await places.import_places(town.ctx, [Accepted(number, lot(number)) for number in range(1, 21)])
    await deliver(town)
    makings = 0
    pack = Packer.pack

    async def counted_pack(packer: Packer, pieces: list[bytes]) -> object:
        nonlocal makings
        makings += 1
        return await pack(packer, pieces)

    monkeypatch.setattr(Packer, "pack", counted_pack)
    async with replica(town) as (search, client):
        await search.reset()
        packed = await asyncio.gather(*(client.get("/overview") for _ in range(20)))
        plain = await client.get("/overview", headers={"accept-encoding": "identity"})
    assert makings == 1
    assert {answer.headers["content-encoding"] for answer in packed} == {"gzip"}
    assert {answer.content for answer in packed} == {plain.content}
    assert len(plain.json()["places"]) == 20


async def test_a_limit_holds_for_a_network(town: City) -> None:
    """As for other public reads."""
    await publish(town, lot(1))
    async with replica(town) as (search, client):
        await search.reset()
        await ask_often(town.ctx, "overview", times=SHARED_PER_MINUTE - 1)
        answers = [await client.get("/overview") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


async def test_a_following_replica_answers_what_it_follows(town: City) -> None:
    """Through the fan-out, as in the running service."""
    await publish(town, lot(1))
    async with replica(town) as (search, client), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(search.follow()), tasks.create_task(town.ctx.fanout.run_publisher())]

        async def shows(number: int) -> bool:
            answer = await client.get("/overview")
            return answer.status_code == 200 and len(answer.json()["places"]) == number

        await wait_until(lambda: shows(1))
        await publish(town, lot(2))
        await wait_until(lambda: shows(2))
        for task in running:
            task.cancel()
