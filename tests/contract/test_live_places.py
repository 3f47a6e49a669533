"""The figure `live-places` over real databases: what the journals say, then and now, published, told again and asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.clock import ManualClock, rfc3339
from cityloop_common.geo import Position
from cityloop_common.indicator import Moment, When
from cityloop_common.indicator.evaluating import asked, evaluate
from cityloop_common.indicator.publishing import publish_due, republished
from cityloop_common.journal import closed_instant
from cityloop_parking.indicators.figures import FIGURES, LIVE_PLACES
from cityloop_parking.indicators.store import read_places
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Accepted, Access, Category, PlaceFacts, PlaceState, Pool
from tests.contract.neighbours_support import publish
from tests.contract.reservations_support import City, city, make_tables


class Officers:
    """Everybody is an officer."""

    async def verify(self, token: str) -> Identity:
        return Identity(token, frozenset({Role.OFFICER}), 1e11)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city on the machine's time, which its journals carry."""
    await make_tables(url)
    async with city(url, tmp_path, clock=ManualClock(datetime.now(UTC))) as opened:
        yield opened


def lot(number: int, **changes: object) -> PlaceFacts:
    facts = PlaceFacts("op", str(number), "可汗街", Position(109.787, 39.565), (Pool(Category.STANDARD, 3), Pool(Category.EV, 2)))
    return replace(facts, **changes)  # type: ignore[arg-type]


def now(town: City) -> datetime:
    """The present, a little later than everything that was recorded."""
    town.clock.advance(max(0.0, (datetime.now(UTC) - town.clock.now()).total_seconds()))
    return town.clock.now()


async def count(town: City, of: str, *, source: str = "gate", interval_s: int = 600, before_s: float = 0) -> None:
    seen = Observation(town.clock.now() - timedelta(seconds=before_s), source, (Count("standard", 1),), interval_s)
    await observations.record(town.ctx, of, seen)


async def figure(town: City, known_at: datetime, scheme: str = "public") -> tuple[int, int, dict[str, str]]:
    """Numerator, denominator and why, as known at an instant."""
    found = (await evaluate(town.ctx, LIVE_PLACES, asked(town.ctx, LIVE_PLACES, When(known_at=known_at))))[scheme]
    return found.total.numerator, found.total.denominator, {row.key: row.why for row in found.rows}


async def test_the_share_of_live_places_is_what_the_journals_say(town: City) -> None:
    """Live, late, never counted, closed, private: each with its reason; the newest count decides, whoever sent it."""
    await publish(town, *(lot(number) for number in range(1, 5)), lot(5, state=PlaceState.CLOSED), lot(6, access=Access.PRIVATE))
    await count(town, "op-1")
    await count(town, "op-2", before_s=1_201)
    await count(town, "op-3", before_s=4_000, source="old")
    await count(town, "op-3", before_s=700, source="slow", interval_s=450)
    await count(town, "op-6")
    present = now(town)
    why = {"op-1": "live", "op-2": "late", "op-3": "live", "op-4": "unknown", "op-5": "closed", "op-6": "not-public"}
    assert await figure(town, present) == (2, 4, why)
    assert await figure(town, present, "all-access") == (3, 5, why | {"op-6": "live"})


async def test_what_lies_elsewhere_counts_for_nothing(town: City) -> None:
    """Another city's file may be imported: its car parks are there, and no figure of this city's counts them."""
    await publish(town, lot(1))
    taipei = lot(2, position=Position(121.56, 25.04))
    await places.import_places(town.ctx, [Accepted(1, taipei)])
    await count(town, "op-2")
    why = {"op-1": "unknown", "op-2": "elsewhere"}
    for scheme in ("public", "all-access"):
        assert await figure(town, now(town), scheme) == (0, 1, why)


async def test_what_was_known_then_stays_what_was_known_then(town: City) -> None:
    """A count that comes late changes what is known now of then; a place that closed later was open then."""
    await publish(town, lot(1), lot(2))
    await count(town, "op-1")
    before = now(town)
    assert await figure(town, before) == (1, 2, {"op-1": "live", "op-2": "unknown"})
    await count(town, "op-2", before_s=60)
    await publish(town, lot(1, state=PlaceState.CLOSED))
    after = now(town)
    assert await figure(town, before) == (1, 2, {"op-1": "live", "op-2": "unknown"})
    assert await figure(town, after) == (1, 1, {"op-1": "closed", "op-2": "live"})
    async with town.db.read() as tx:
        then = {each.place_id: each for each in await read_places(tx, Moment(before.date(), before, after))}
    assert (then["op-1"].state, [count.source for count in then["op-2"].counts]) == ("open", ["gate"])


async def test_figures_are_published_told_and_asked_for(town: City) -> None:
    """The sweep publishes the hour once; the event is told again with its id; HTTP shows it with target and gap."""
    await publish(town, lot(1), lot(2))
    await count(town, "op-1", interval_s=86_400)
    town.clock.advance(2 * 3_600)
    published = await publish_due(town.ctx, FIGURES.indicators)
    assert published >= 2
    assert await publish_due(town.ctx, FIGURES.indicators) == 0
    told = [event for event in await town.told() if event.type == "parking.indicator.evaluated.v1"]
    assert len(told) == published
    again = [event async for event in republished(town.ctx, None)]
    assert {event.id for event in again} <= {event.id for event in told}
    app = http.create_app(town.ctx, title="t", version="1", routers=[FIGURES.router], verifier=Officers(), health=http.Health())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city/parking/v1/indicators") as client:
        shown = (await client.get("/live-places")).json()
        public = shown["schemes"][0]
        assert (public["numerator"], public["denominator"], public["status"], public["gap"]) == (1, 2, "missed", 1)
        assert (shown["target"], shown["provisional"]) == ({"numerator": 9, "denominator": 10}, False)
        asked_at = {"known_at": rfc3339(closed_instant(town.clock.now()))}
        rows = (await client.get("/live-places/rows", params=asked_at, headers={"authorization": "Bearer me"})).json()["rows"]
        assert [(row["key"], row["numerator"], row["why"]) for row in rows] == [("op-1", 1, "live"), ("op-2", 0, "unknown")]
        assert rows[0]["evidence"]["source"] == "gate"
