"""Stations and EVSEs as people read them, and the stream of their changes, on every database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import EvseUid, Lifecycle, LocationFacts, LocationState
from cityloop_charging.status import api, store, use_cases
from cityloop_charging.status.domain import Report, Status
from cityloop_charging.status.replica import Watch
from cityloop_common import http
from cityloop_common.geo import Position
from tests.contract.charging_support import CENTRE, OPERATOR, City, city, evse, make_tables, station
from tests.contract.tcec_support import NoTokens
from tests.support import wait_until

V1 = "/charging/v1"
ONE, TWO = f"{OPERATOR}*S001*S00101", f"{OPERATOR}*S001*S00102"
AT_CENTRE = "109.787,39.565"
SECOND = timedelta(seconds=1)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(town: City) -> AsyncIterator[httpx.AsyncClient]:
    """Its public door."""
    app = http.create_app(town.ctx, title="t", version="1", routers=[api.router], verifier=NoTokens(), health=http.Health())
    app.state.watch = Watch(town.ctx)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as made:
        yield made


async def put(town: City, *stations: LocationFacts) -> None:
    async with town.db.write() as tx:
        await registry.put_in(tx, town.ctx, stations, source="test")


async def report(town: City, status: Status, *, uid: str = ONE, ago: timedelta = SECOND) -> None:
    await use_cases.record(town.ctx, uid, status, happened_at=town.clock.now() - ago, source="test")


async def read(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"{V1}{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_stations_near_a_point_with_what_their_evses_do(town: City, client: httpx.AsyncClient) -> None:
    """The nearest first, with distance; each EVSE with status, since when, as of when, how fresh, and the bay."""
    far = station(2, position=Position(CENTRE.lon + 0.005, CENTRE.lat))
    beyond = station(3, position=Position(CENTRE.lon + 0.05, CENTRE.lat))
    numbered = station(1, evses=1)
    await put(town, beyond, far, replace(numbered, evses=(evse(bay_no="A1"),)))
    await report(town, Status.CHARGING, ago=timedelta(minutes=40))
    await report(town, Status.CHARGING, ago=timedelta(minutes=20))
    found = await read(client, "/locations", near=AT_CENTRE)
    assert [(each["id"], each["distance_m"]) for each in found["locations"]] == [(f"{OPERATOR}*S001", 0), (f"{OPERATOR}*S002", 429)]
    assert found["datum"] == "wgs84"
    near, _ = found["locations"]
    assert near.items() >= {"operator_id": OPERATOR, "access": "public", "state": "open", "place_id": None, "version": 1}.items()
    (one,) = near["evses"]
    assert (one["uid"], one["status"], one["freshness"], one["bay_no"], one["power_w"]) == (ONE, "CHARGING", "live", "A1", 60_000)
    assert one["since"] < one["as_of"] < found["as_of"]
    unheard = found["locations"][1]["evses"][0]
    assert (unheard["status"], unheard["since"], unheard["as_of"], unheard["freshness"]) == ("UNKNOWN", None, None, "unknown")
    assert len((await read(client, "/locations", near=AT_CENTRE, limit=1))["locations"]) == 1
    assert len((await read(client, "/locations", near=AT_CENTRE, radius_m=20_000))["locations"]) == 3


async def test_the_point_may_come_in_another_datum(town: City, client: httpx.AsyncClient) -> None:
    """GCJ-02 of the centre finds the station there; read as WGS-84 it is half a kilometre off."""
    await put(town, station())
    gcj02 = "109.7921,39.5661"  # about 500 m beside the centre
    (as_gcj,) = (await read(client, "/locations", near=gcj02, datum="gcj02"))["locations"]
    (as_wgs,) = (await read(client, "/locations", near=gcj02))["locations"]
    assert as_gcj["distance_m"] < 60 < 400 < as_wgs["distance_m"]


async def test_old_statuses_are_never_shown_as_new(town: City, client: httpx.AsyncClient) -> None:
    """Live for 30 minutes after the newest report, late for a day, then unknown; a report makes it live again."""
    await put(town, station())
    await report(town, Status.AVAILABLE, ago=timedelta(0))
    seen = []
    for minutes in (29, 2, 23 * 60 + 28, 2):
        town.later(minutes=minutes)
        one = await read(client, f"/evses/{ONE}")
        seen.append((one["status"], one["freshness"], one["since"] is not None, one["as_of"] is not None))
    assert seen == [
        ("AVAILABLE", "live", True, True),
        ("AVAILABLE", "late", True, True),
        ("AVAILABLE", "late", True, True),
        ("UNKNOWN", "unknown", False, True),
    ]
    await report(town, Status.AVAILABLE)
    assert (await read(client, f"/evses/{ONE}"))["freshness"] == "live"


async def test_planned_removed_and_closed_say_so(town: City, client: httpx.AsyncClient) -> None:
    """Whatever was reported; a removed EVSE is in no station, and can be read by its id."""
    await put(town, station())
    await report(town, Status.CHARGING, uid=TWO)
    await put(town, replace(station(), evses=(evse(lifecycle=Lifecycle.PLANNED),), state=LocationState.CLOSED))
    (found,) = (await read(client, "/locations"))["locations"]
    assert (found["state"], [(each["uid"], each["status"]) for each in found["evses"]]) == ("closed", [(ONE, "PLANNED")])
    assert (await read(client, f"/evses/{TWO}"))["status"] == "REMOVED"


async def test_pages_have_every_station_once(town: City, client: httpx.AsyncClient) -> None:
    """In the order of their ids; the last page names no next one."""
    await put(town, *(station(number, evses=1) for number in range(1, 8)))
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await read(client, "/locations", limit=3, **cursor)
        ids += [each["id"] for each in page["locations"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert ids == [f"{OPERATOR}*S00{number}" for number in range(1, 8)]


async def test_one_station_names_the_version_that_a_change_needs(town: City, client: httpx.AsyncClient) -> None:
    """ETag is the version, however often its EVSEs change."""
    await put(town, station())
    first = await client.get(f"{V1}/locations/{OPERATOR}*S001")
    await report(town, Status.CHARGING)
    then = await client.get(f"{V1}/locations/{OPERATOR}*S001")
    assert [first.headers["etag"], then.headers["etag"]] == ['"1"', '"1"']
    assert [answer.json()["evses"][0]["status"] for answer in (first, then)] == ["UNKNOWN", "CHARGING"]
    assert first.json()["datum"] == "wgs84", "as the list says it"


async def test_one_evse_is_not_sent_again_as_long_as_it_says_the_same(town: City, client: httpx.AsyncClient) -> None:
    """304 for the ETag of what was said; another after a report, and when it grows old."""
    await put(town, station())
    await report(town, Status.CHARGING)
    answer = await client.get(f"{V1}/evses/{ONE}")
    assert answer.json()["location_id"] == f"{OPERATOR}*S001"
    tag = {"if-none-match": answer.headers["etag"]}
    again = await client.get(f"{V1}/evses/{ONE}", headers=tag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag["if-none-match"])
    described = (await client.get(f"{V1}/openapi.json")).json()["paths"][f"{V1}/evses/{{uid}}"]["get"]["responses"]
    assert "304" in described
    town.later(minutes=31)
    assert (await client.get(f"{V1}/evses/{ONE}", headers=tag)).status_code == 200


@pytest.mark.parametrize(
    "path, status",
    [
        ("/locations?near=x", 422),
        ("/locations?near=109.787", 422),
        ("/locations?near=200,39", 422),
        ("/locations?near=nan,39", 422),
        (f"/locations?near={AT_CENTRE}&datum=mars", 422),
        (f"/locations?near={AT_CENTRE}&radius_m=0", 422),
        (f"/locations?near={AT_CENTRE}&radius_m=20001", 422),
        (f"/locations?near={AT_CENTRE}&limit=101", 422),
        (f"/locations?near={AT_CENTRE}&limit=1e1", 422),
        (f"/locations?near={AT_CENTRE}&cursor=999000001*S001", 422),
        ("/locations?cursor=none", 400),
        ("/locations/none", 404),
        ("/locations/999000001*S999", 404),
        ("/evses/none", 404),
        ("/evses/999000001*S001*none", 404),
        ("/evses/a%00b", 400),
        ("/evses/%E5%85%85", 404),
        ("/evses/" + "x" * 65, 422),
    ],
)
async def test_bad_questions_are_problems(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Never a server error."""
    answer = await client.get(V1 + path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@dataclass
class Reader:
    """A client of the stream without a socket."""

    text: str = ""
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.text += message.get("body", b"").decode()

    def events(self) -> list[tuple[str, Any]]:
        """Event and data, in order; pings are no news."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
            if lines.get("event", "ping") != "ping":
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    def statuses(self) -> list[tuple[str, str]]:
        return [(data["evse_uid"], data["status"]) for event, data in self.events() if event == "evse.changed"]

    def last_id(self) -> str:
        return [line.removeprefix("id: ") for line in self.text.split("\n") if line.startswith("id: ")][-1]


@asynccontextmanager
async def reading(watch: Watch, last_event_id: str | None = None) -> AsyncIterator[Reader]:
    """A client that is there."""
    reader = Reader()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.stream(last_event_id)({"type": "http"}, reader.receive, reader.send))
        await wait_until(lambda: reader.text)
        yield reader
        reader.left.set()


@asynccontextmanager
async def following(town: City) -> AsyncIterator[Watch]:
    """A replica that follows, with the publisher of whoever commits beside it."""
    watch = Watch(town.ctx)
    async with asyncio.TaskGroup() as tasks:
        await watch.reset()
        running = [tasks.create_task(watch.follow()), tasks.create_task(town.ctx.fanout.run_publisher())]
        yield watch
        watch.hub.close()
        for task in running:
            task.cancel()


async def test_the_stream_tells_what_changes_and_only_that(town: City) -> None:
    """A change is told once, with the whole state; repetitions and late reports are not."""
    await put(town, station())
    async with following(town) as watch, reading(watch) as reader:
        await report(town, Status.CHARGING, ago=timedelta(seconds=60))
        await report(town, Status.CHARGING, ago=timedelta(seconds=50))
        await report(town, Status.BLOCKED, ago=timedelta(seconds=90))
        await report(town, Status.AVAILABLE, uid=TWO)
        await wait_until(lambda: len(reader.statuses()) == 2)
        assert reader.statuses() == [(ONE, "CHARGING"), (TWO, "AVAILABLE")]
        told = next(data for event, data in reader.events() if event == "evse.changed")
        assert told.keys() == {"evse_uid", "location_id", "operator_id", "status", "since", "recorded_at"}


async def test_a_client_goes_on_where_it_was(town: City) -> None:
    """By the id of the last event that it saw; one that is none is told to read again."""
    await put(town, station())
    async with following(town) as watch:
        async with reading(watch) as reader:
            await report(town, Status.CHARGING, ago=timedelta(seconds=60))
            await wait_until(reader.statuses)
        await report(town, Status.AVAILABLE, ago=timedelta(seconds=50))
        async with reading(watch, reader.last_id()) as again:
            await wait_until(again.statuses)
            # Twice when its entry is still on its way to the stream: a state is the same however often it is heard.
            assert set(again.statuses()) == {(ONE, "AVAILABLE")}
        async with reading(watch, "no-id") as lost:
            await wait_until(lost.events)
            assert [event for event, _ in lost.events()] == ["reset"]


async def test_what_one_unit_changed_is_resumed_from_as_a_whole(town: City) -> None:
    """Two EVSEs in one unit are two events; only the last carries the position, and nothing after it comes again."""
    await put(town, station())
    async with following(town) as watch:
        async with reading(watch) as reader:
            now = town.clock.now()
            async with town.db.write() as tx:
                found = await store.known(tx, [ONE, TWO])
                both = [Report(found[EvseUid(uid)], Status.CHARGING, now, "test") for uid in (ONE, TWO)]
                await use_cases.record_in(tx, town.ctx, both)
            await wait_until(lambda: len(reader.statuses()) == 2)
            assert reader.statuses() == [(ONE, "CHARGING"), (TWO, "CHARGING")]
            assert reader.text.count("\nid: ") + reader.text.startswith("id: ") == 1
        async with reading(watch, reader.last_id()) as again:
            await report(town, Status.AVAILABLE, ago=timedelta(seconds=-1))
            await wait_until(again.statuses)
            assert again.statuses() == [(ONE, "AVAILABLE")]


async def test_changes_that_the_stream_lost_are_found_in_the_database(town: City) -> None:
    """A replica that heard nothing compares; what it told once is not told again, nor an entry that comes late."""
    await put(town, station())
    await report(town, Status.AVAILABLE, ago=timedelta(seconds=90))
    watch = Watch(town.ctx)
    await watch.poll()
    async with reading(watch) as reader:
        await report(town, Status.CHARGING, ago=timedelta(seconds=60))
        await report(town, Status.BLOCKED, uid=TWO)
        await watch.poll()
        await watch.poll()
        await wait_until(lambda: len(reader.statuses()) >= 2)
        await report(town, Status.AVAILABLE, ago=timedelta(seconds=30))
        await watch.poll()
        await wait_until(lambda: len(reader.statuses()) >= 3)
        assert sorted(reader.statuses()[:2]) == [(ONE, "CHARGING"), (TWO, "BLOCKED")]
        assert reader.statuses()[2:] == [(ONE, "AVAILABLE")]


async def test_a_reset_tells_clients_to_read_again(town: City) -> None:
    """When the stream was lost, and only those who were there."""
    await put(town, station())
    watch = Watch(town.ctx)
    await watch.reset()
    async with reading(watch) as reader:
        assert reader.events() == []
        await watch.reset()
        await wait_until(reader.events)
        assert [event for event, _ in reader.events()] == ["reset"]
