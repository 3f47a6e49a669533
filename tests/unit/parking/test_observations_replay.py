"""Laws of the replay: what the file says, when it is sent, and how it lives through a service that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from cityloop_common.clock import SystemClock, instant
from cityloop_common.errors import Unauthenticated, Unavailable
from cityloop_common.issuer import DevIssuer
from cityloop_common.rng import Rng
from cityloop_parking.cli import app
from cityloop_parking.observations import birmingham
from cityloop_parking.observations.birmingham import BadRow, CountRow, invented_position, place_number
from cityloop_parking.observations.replay import CONNECTIONS, PATIENCE_S, Replay, ReplayRefused, Report, backfilled, compressed
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
    """35,717 rows of 30 car parks in the order of time; 12 below zero are rejected, 373 above capacity stay as they are."""
    good, bad = birmingham.read((data_dir / "parking" / "birmingham_occupancy_2016.csv").read_bytes())
    assert (len(good) + len(bad), len({row.code for row in good})) == (35_717, 30)
    assert {each.reason for each in bad} == {"capacity or occupancy is below zero"}
    assert (len(bad), sum(row.occupied > row.capacity for row in good)) == (12, 373)
    assert [row.observed_at for row in good] == sorted(row.observed_at for row in good)
    assert len({place_number(row.code) for row in good}) == 30


def test_stamps_are_local_time_of_the_town() -> None:
    """Summer time until 30 October 2016, winter time after."""
    read = rows("A,10,1,2016-10-04 08:00:00\nA,10,1,2016-11-04 08:00:00\n")
    assert [row.observed_at for row in read] == [datetime(2016, 10, 4, 7, tzinfo=UTC), datetime(2016, 11, 4, 8, tzinfo=UTC)]


@pytest.mark.parametrize(
    "row, reason",
    [
        ("A,10,x,2016-10-04 08:00:00", "capacity or occupancy is no whole number"),
        ("A,10,1.5,2016-10-04 08:00:00", "capacity or occupancy is no whole number"),
        ("A,10", "the stamp cannot be read"),
        ("A,10,1,yesterday", "the stamp cannot be read"),
        ("A,10,1,0001-01-01 00:00:00+14:00", "the stamp cannot be read"),
        (",1,1,2016-10-04 08:00:00", "no car park is named"),
        ("A,10,-3,2016-10-04 08:00:00", "capacity or occupancy is below zero"),
        ("A,10,2147483647,2016-10-04 08:00:00", "The count cannot be true"),
        ("A,2147483647,1,2016-10-04 08:00:00", "The count cannot be true"),
    ],
)
def test_rows_that_cannot_be_taken_are_listed_with_number_and_reason(row: str, reason: str) -> None:
    """The others are read all the same."""
    good, bad = birmingham.read(f"{HEADER}{row}\nA,10,13,2016-10-04 08:00:00\n".encode())
    assert [(each.row, each.occupied, each.capacity) for each in good] == [(2, 13, 10)]
    assert bad == [BadRow(1, reason)]


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
    extremes = [compressed(read, speed=speed, now=NOW).interval_s for speed in (1e9, 0.001)]
    assert extremes == [10, 86_400]


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
        if count["occupied"] == 99:
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
A,12,99,2016-11-04 09:00:00
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
    assert (report.rows, report.current, report.superseded) == (5, 3, 1)
    assert report.rejected == [BadRow(3, "/counts/0/occupied: too small")]
    assert report.view()["reasons"] == {"/counts/0/occupied: too small": 1}


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


@pytest.mark.parametrize("retry_after", ["0", "86400"])
async def test_a_service_that_stays_away_ends_the_replay(retry_after: str) -> None:
    """After two minutes, whatever it asks for, with its address."""
    clock = JumpingClock()
    with pytest.raises(Unavailable, match="http://city"):
        await play(Service(trouble=lambda _: httpx.Response(503, headers={"retry-after": retry_after})), rows(READ), clock=clock)
    assert PATIENCE_S <= clock.monotonic() <= 2 * PATIENCE_S


async def test_a_place_that_somebody_else_makes_meanwhile_is_used() -> None:
    """Two replays at once: the one that comes second finds it there."""
    service = Service(trouble=lambda number: httpx.Response(428, json={}) if number == 2 else None)
    report = await play(service, rows("A,10,1,2016-11-04 08:00:00\n"))
    assert (report.places, report.places_created, report.current) == (1, 0, 1)


async def test_counts_of_a_place_are_sent_in_their_order_and_places_side_by_side() -> None:
    """With 40 places and 5 counts each, a place's stamps only grow and at most 32 requests are open."""
    text = "".join(f"P{place},10,1,2016-11-04 08:0{minute}:00\n" for minute in range(5) for place in range(40))
    service = Service()
    together, most = 0, 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0)
        together -= 1
        return service(request)

    read, clock = rows(text), JumpingClock()
    async with httpx.AsyncClient(transport=httpx.MockTransport(slow), base_url="http://city") as client:
        replay = Replay(client, clock, operator_id="op", progress=lambda *_: None)
        report = await replay.run(read, [], lambda: backfilled(read, now=clock.now()))
    assert report.current == len(read) == 200
    assert 1 < most <= CONNECTIONS
    for place in service.places:
        stamps = [at for name, at, _ in service.counts if name == place]
        assert stamps == sorted(stamps)
    assert clock.elapsed == 0


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


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["missing.csv"], "No such file"),
        (["other.csv"], "needs the columns"),
        (["slice.csv", "--backfill", "--speed", "5"], "leave out --speed"),
        (["slice.csv", "--token", "nonsense"], "cannot be read"),
        (["slice.csv", "--url", "nowhere"], "is not an address"),
        (["slice.csv"], "give --token"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, no waiting, a status that is not 0, and no key made by the way."""
    (tmp_path / "slice.csv").write_text(f"{HEADER}A,10,1,2016-10-04 08:00:00\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path / "var"))
    folder = tmp_path / "var" / "keys"
    if said != "give --token":
        DevIssuer(folder, environment="development", issuer="i", audience="a", clock=SystemClock(), rng=Rng())
    done = CliRunner().invoke(app, ["replay", *arguments, "--format", "birmingham"])
    assert done.exit_code in {1, 2}
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert folder.exists() == (said != "give --token")
