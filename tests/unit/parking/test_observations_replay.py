"""Laws of the replay: what the file says, when it is sent, and how it lives through a service that is away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson
import pytest

from cityloop_common.clock import instant
from cityloop_common.errors import Unauthenticated, Unavailable
from cityloop_parking.observations import birmingham
from cityloop_parking.observations.birmingham import CountRow, invented_position, place_number
from cityloop_parking.observations.replay import PATIENCE_S, Replay, ReplayRefused, Report, backfilled, compressed
from cityloop_parking.places.domain import UnreadableFile

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HEADER = "SystemCodeNumber,Capacity,Occupancy,LastUpdated\n"


class JumpingClock:
    """Time passes only in `sleep`, and at once."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.elapsed += seconds


def rows(text: str) -> list[CountRow]:
    return birmingham.read((HEADER + text).encode())[0]


def test_the_real_file_is_read_whole(data_dir: Path) -> None:
    """35,717 counts of 30 car parks, none unreadable, in the order of time."""
    good, bad = birmingham.read((data_dir / "parking" / "birmingham_occupancy_2016.csv").read_bytes())
    assert (len(good), len({row.code for row in good}), bad) == (35_717, 30, [])
    assert [row.observed_at for row in good] == sorted(row.observed_at for row in good)
    assert len({place_number(row.code) for row in good}) == 30
    assert sum(row.occupied < 0 or row.occupied > row.capacity for row in good) == 385


def test_stamps_are_local_time_of_the_town() -> None:
    """Summer time until 30 October 2016, winter time after."""
    read = rows("A,10,1,2016-10-04 08:00:00\nA,10,1,2016-11-04 08:00:00\n")
    assert [row.observed_at for row in read] == [datetime(2016, 10, 4, 7, tzinfo=UTC), datetime(2016, 11, 4, 8, tzinfo=UTC)]


def test_rows_that_say_nothing_are_listed_with_their_number() -> None:
    """The others are read all the same."""
    good, bad = birmingham.read(
        (HEADER + "A,10,x,2016-10-04 08:00:00\n,1,1,2016-10-04 08:00:00\nA,10\nA,10,-3,2016-10-04 08:00:00\n").encode()
    )
    assert [(row.row, row.occupied) for row in good] == [(4, -3)]
    assert [row.row for row in bad] == [1, 2, 3]


@pytest.mark.parametrize("raw", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", HEADER.encode() + b'"' + b"x" * 200_000])
def test_a_file_of_another_kind_is_refused(raw: bytes) -> None:
    """With the reason, not with a traceback."""
    with pytest.raises(UnreadableFile):
        birmingham.read(raw)


def test_invented_positions_lie_in_town_and_never_move() -> None:
    """Within about two kilometres of the centre, the same in every run."""
    assert invented_position("BHMBCCMKT01") == invented_position("BHMBCCMKT01") != invented_position("Shopping")
    for code in ("BHMBCCMKT01", "Shopping", "NIA Car Parks"):
        position = invented_position(code)
        assert abs(position.lon - 109.787) <= 0.025
        assert abs(position.lat - 39.565) <= 0.015


def test_a_timetable_compresses_from_now_or_ends_now() -> None:
    """Speed 60: an hour of the file is a minute; backfill: the last row is now."""
    read = rows("A,10,1,2016-11-04 08:00:00\nA,10,2,2016-11-04 09:00:00\n")
    fast, back = compressed(read, speed=60, now=NOW), backfilled(read, now=NOW)
    assert [fast.at(row.observed_at) - NOW for row in read] == [timedelta(0), timedelta(minutes=1)]
    assert [back.at(row.observed_at) - NOW for row in read] == [timedelta(hours=-1), timedelta(0)]
    assert (fast.interval_s, back.interval_s) == (30, 1800)


class Service:
    """A small stand-in for the HTTP side: knows places, keeps counts, and fails as told."""

    def __init__(self, *, trouble: Callable[[int], httpx.Response | None] = lambda _: None) -> None:
        self.places: dict[str, dict[str, object]] = {}
        self.counts: list[tuple[str, datetime, int]] = []
        self.requests = 0
        self._trouble = trouble

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if (failed := self._trouble(self.requests)) is not None:
            return failed
        parts = request.url.path.split("/")
        place = parts[4]
        if request.method == "GET":
            return httpx.Response(200 if place in self.places else 404, json={})
        body = orjson.loads(request.content)
        if request.method == "PUT":
            self.places[place] = body
            return httpx.Response(201, json={})
        count = body["counts"][0]
        if count["occupied"] < 0:
            return httpx.Response(422, json={"title": "Invalid", "errors": [{"pointer": "/counts/0/occupied", "detail": "too small"}]})
        at = instant(body["observed_at"])
        known = any(each[0] == place and each[1] >= at for each in self.counts)
        self.counts.append((place, at, count["occupied"]))
        return httpx.Response(201, json={"outcome": "superseded" if known else "current"})


async def play(service: Service, read: list[CountRow], *, speed: float = 60, clock: JumpingClock | None = None) -> Report:
    clock = clock or JumpingClock()
    async with httpx.AsyncClient(transport=httpx.MockTransport(service), base_url="http://city") as client:
        replay = Replay(client, clock, operator_id="op", progress=lambda *_: None)
        return await replay.run(read, [], lambda: compressed(read, speed=speed, now=clock.now()))


READ = """A,10,1,2016-11-04 08:00:00
B C,20,5,2016-11-04 08:00:00
A,12,-1,2016-11-04 09:00:00
A,10,3,2016-11-04 10:00:00
A,10,3,2016-11-04 10:00:00
"""


async def test_missing_places_are_made_and_marked_as_invented() -> None:
    """Once, with the largest capacity of the file; what is there is left as it is."""
    service = Service()
    service.places["op-B-C"] = {"name": "mine"}
    report = await play(service, rows(READ))
    assert (report.places, report.places_created) == (2, 1)
    assert service.places["op-B-C"] == {"name": "mine"}
    assert service.places["op-A"]["invented"] is True
    assert service.places["op-A"]["pools"] == [{"category": "standard", "capacity": 12}]


async def test_every_row_has_an_outcome() -> None:
    """Current, superseded (an exact duplicate) and rejected with the server's reason add up to the file."""
    report = await play(Service(), rows(READ))
    assert (report.rows, report.current, report.superseded, report.rejected) == (5, 3, 1, 1)
    assert report.reasons == {"/counts/0/occupied: too small": 1}


async def test_counts_are_sent_when_they_are_due() -> None:
    """Two hours of the file at speed 60 take two minutes; no stamp lies in the future when it is sent."""
    clock = JumpingClock()
    service = Service()
    await play(service, rows("A,10,1,2016-11-04 08:00:00\nA,10,2,2016-11-04 10:00:00\n"), clock=clock)
    assert [at for _, at, _ in service.counts] == [NOW, NOW + timedelta(minutes=2)]
    assert clock.now() >= NOW + timedelta(minutes=2)


async def test_a_service_that_is_away_for_a_while_loses_no_count() -> None:
    """503, 429 and a broken connection are tried again."""

    def trouble(number: int) -> httpx.Response | None:
        if number == 3:
            raise httpx.ConnectError("refused")
        return {4: httpx.Response(503), 5: httpx.Response(429, headers={"retry-after": "2"})}.get(number)

    service = Service(trouble=trouble)
    report = await play(service, rows(READ))
    assert (report.retries, report.current + report.superseded) == (3, 4)


async def test_a_service_that_stays_away_ends_the_replay() -> None:
    """After two minutes, with its address."""
    clock = JumpingClock()
    with pytest.raises(Unavailable, match="http://city"):
        await play(Service(trouble=lambda _: httpx.Response(503)), rows(READ), clock=clock)
    assert clock.monotonic() >= PATIENCE_S


async def test_a_token_that_is_refused_ends_the_replay_at_once() -> None:
    """One clear error, no row is tried 35,717 times."""
    service = Service(trouble=lambda _: httpx.Response(401, json={"title": "A valid token is needed"}))
    with pytest.raises(Unauthenticated, match="A valid token is needed"):
        await play(service, rows(READ))
    assert service.requests <= 2


async def test_a_place_that_cannot_be_made_is_named() -> None:
    """The reason is the server's."""

    def trouble(number: int) -> httpx.Response | None:
        return httpx.Response(404, json={}) if number == 1 else httpx.Response(422, json={"title": "The car park's facts are not valid"})

    with pytest.raises(ReplayRefused, match="car park A cannot be created: The car park's facts"):
        await play(Service(trouble=trouble), rows("A,10,1,2016-11-04 08:00:00\n"))
