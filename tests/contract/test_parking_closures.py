"""Laws of streets that waste collection needs, the same on every database: any order of plans, exact edges, no hold inside."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select, update

from cityloop_common.clock import rfc3339
from cityloop_common.envelope import Event
from cityloop_common.fanout import FanoutEntry
from cityloop_common.geo import Position
from cityloop_common.sse import Message
from cityloop_parking import consumers
from cityloop_parking.closures import use_cases as closures
from cityloop_parking.closures.tables import closure, collection_plan
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind, PlaceState, Pool
from cityloop_parking.places.tables import place
from cityloop_parking.reservations import pools
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.domain import Conflict, PlaceClosed, Reason, Stay
from cityloop_parking.reservations.scope import OwnedBy
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.index import Near
from cityloop_parking.search.replica import Search
from cityloop_parking.search.tables import search_entry
from tests.contract.neighbours_support import Closure, caught_up, hear, listening, plan, publish, send, shown_parts, withdrawn, workers
from tests.contract.reservations_support import NOON, City, city, make_tables, someone
from tests.support import scaled, wait_until

STREET, GARAGE = "op-1", "op-2"


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A section of street with three spaces, and a garage."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        await publish(opened, lot(1), lot(2, PlaceKind.GARAGE))
        yield opened


def lot(number: int, kind: PlaceKind = PlaceKind.ON_STREET, spaces: int = 3) -> PlaceFacts:
    return PlaceFacts("op", str(number), "可汗街", Position(109.787, 39.565), (Pool(Category.STANDARD, spaces),), kind=kind)


def at(minutes: float) -> datetime:
    """So many minutes from noon."""
    return NOON + timedelta(minutes=minutes)


def closed(start: float, end: float, *, of: str = STREET) -> Closure:
    return of, at(start), at(end)


async def answer(town: City, of: str = STREET) -> dict[str, object]:
    """A place as a search finds it now."""
    replica = search.open_search(town.ctx)
    await replica.reset()
    return place_in(replica, of)


def place_in(replica: Search, of: str = STREET) -> dict[str, object]:
    found = orjson.loads(replica.nearest(Near(Position(109.787, 39.565), 100, 20)))["places"]
    shown: dict[str, object] = next(each for each in found if each["id"] == of)
    return shown


async def windows(town: City, of: str = STREET) -> object:
    parts = await shown_parts(town)
    return parts[of][1] if of in parts else None


def said(*pairs: tuple[float, float]) -> list[list[str]]:
    return [[rfc3339(at(start)), rfc3339(at(end))] for start, end in pairs]


async def test_a_street_is_closed_from_the_first_to_the_last_instant_of_its_window(town: City) -> None:
    """Half-open; before it the window is announced, and the answer needs nobody to turn it."""
    await hear(town, plan(1, closed(10, 20)))
    replica = search.open_search(town.ctx)
    await replica.reset()
    announced = [{"starts_at": rfc3339(at(10)), "ends_at": rfc3339(at(20))}]
    seen = []
    for seconds in (0, 599.999, 0.001, 599.999, 0.001):
        town.clock.advance(seconds)
        shown = place_in(replica)
        seen.append((shown["state"], shown["freshness"], shown["closed_until"], shown["closed_for"], shown["closures"]))
    before = ("open", "unknown", None, None, announced)
    inside: tuple[object, ...] = ("closed", "closed", rfc3339(at(20)), "collection", [])
    assert seen == [before, before, inside, inside, ("open", "unknown", None, None, [])]


async def test_windows_are_announced_a_day_ahead(town: City) -> None:
    """Not earlier, in their order; those that touch or overlap are one."""
    await hear(town, plan(1, closed(1500, 1510), closed(60, 70), closed(70, 80), closed(75, 78), closed(90, 95)))
    shown = await answer(town)
    assert shown["closures"] == [{"starts_at": rfc3339(at(start)), "ends_at": rfc3339(at(end))} for start, end in ((60, 80), (90, 95))]


async def test_only_a_section_of_street_is_closed(town: City) -> None:
    """A closure of another kind of place, or of one nobody knows, shows nothing until the place is known as a street."""
    await hear(town, plan(1, closed(0, 30), closed(0, 30, of=GARAGE), closed(0, 30, of="op-3")))
    assert (await answer(town, GARAGE))["state"] == "open"
    assert await reservations.hold(town.ctx, Stay(GARAGE, "standard", at(5), at(10)), someone())
    await publish(town, lot(2), lot(3))
    assert [(await answer(town, of))["state"] for of in (STREET, GARAGE, "op-3")] == ["closed"] * 3


HISTORY = (plan(1, closed(0, 10)), withdrawn(1), plan(2, closed(20, 30)), plan(3, closed(40, 50), closed(60, 70)))
THEN = (said((0, 10)), None, said((20, 30)), said((40, 50), (60, 70)))


@pytest.mark.parametrize("until", range(1, len(HISTORY) + 1))
async def test_plans_decide_alike_in_any_order(town: City, until: int) -> None:
    """Every order of the first so many events, each twice, ends where the right order does."""
    for turn, order in enumerate(itertools.permutations(HISTORY[:until])):
        of = f"street-{turn}"
        renamed = [_elsewhere(each, of) for each in order]
        await hear(town, *renamed, *renamed)
        assert await windows(town, of) == THEN[until - 1], [each.type for each in order]


def _elsewhere(told: Event, of: str) -> Event:
    """The same event of another stream, for another street."""
    body = told.body() | {"stream": of}
    return replace(told, data=orjson.dumps(body).replace(STREET.encode(), of.encode()))


async def test_a_withdrawn_plan_ends_only_what_was_its_own(town: City) -> None:
    """Another stream needs the street all the same; another day of the same stream too."""
    tomorrow = date(2026, 6, 2)
    await hear(town, plan(1, closed(0, 10)), plan(1, closed(5, 20), stream="other"), plan(1, closed(600, 610), on=tomorrow))
    assert await windows(town) == said((0, 20), (600, 610))
    await hear(town, withdrawn(1))
    assert await windows(town) == said((5, 20), (600, 610))
    await hear(town, withdrawn(1, stream="other"), withdrawn(1, on=tomorrow))
    assert await windows(town) is None


async def test_a_window_that_ends_before_it_starts_closes_nothing(town: City) -> None:
    """And stops no other of its plan."""
    await hear(town, plan(1, closed(10, 10), closed(30, 20), closed(40, 50)))
    assert await windows(town) == said((40, 50))


async def test_two_workers_hear_plans_of_many_streams(url: str, tmp_path: Path) -> None:
    """Out of order and twice, through the log: the windows are those of every stream's newest plan."""
    await make_tables(url)
    told = []
    for number in range(6):
        stream, start = f"s{number}", 100.0 * number
        last = withdrawn(2, stream=stream) if number == 4 else plan(3, closed(start + 7, start + 15), stream=stream)
        told += [plan(1, closed(0, 5), stream=stream), plan(2, closed(start, start + 10), stream=stream), last]
    async with workers(url, tmp_path, consumers.CLOSURES, many=2) as town:
        await publish(town, lot(1))
        await send(town, *told[1::2], *told[::2], *told)
        await caught_up(town, consumers.CLOSURES)
        assert await windows(town) == said(*((100.0 * number + 7, 100.0 * number + 15) for number in (0, 1, 2, 3, 5)))


async def test_plans_at_once_lose_no_window(url: str, tmp_path: Path) -> None:
    """Two streams published by two workers at the same time both close the street."""
    await make_tables(url)
    async with AsyncExitStack() as stack:
        towns = [await stack.enter_async_context(city(url, tmp_path)) for _ in range(2)]
        for number in range(scaled(ci=10, full=100)):
            of = f"op-{number}"
            plans = [plan(number + 1, (of, at(20 * n), at(20 * n + 10)), stream=f"s{n}") for n in range(4)]
            await asyncio.gather(*(hear(towns[n % 2], each) for n, each in enumerate(plans)))
            assert await windows(towns[0], of) == said((0, 10), (20, 30), (40, 50), (60, 70))


async def test_old_windows_are_forgotten_and_their_plan_is_not(town: City) -> None:
    """An older plan that comes after that still changes nothing."""
    await hear(town, plan(2, closed(0, 10)))
    town.clock.advance(closures.KEPT_FOR.total_seconds() + 600)
    assert await closures.prune(town.ctx) == 0
    town.clock.advance(1)
    assert await closures.prune(town.ctx) == 1
    await hear(town, plan(1, closed(5_000, 5_010)), withdrawn(1), plan(2, closed(0, 10)))
    async with town.db.read() as tx:
        assert await tx.all(select(closure)) == []
        assert [row.version for row in await tx.all(select(collection_plan))] == [2]


async def test_rebuild_makes_the_closures_anew(town: City) -> None:
    """Emptied or wrong, afterwards an entry shows what the plans say."""
    await hear(town, plan(1, closed(10, 20)))
    async with town.db.write() as tx:
        await tx.run(update(search_entry).values(closures=said((1, 2))))
    await search.rebuild(town.ctx, lambda *_: None)
    assert await windows(town) == said((10, 20))
    assert await windows(town, GARAGE) is None


# What may be held


async def hold(town: City, start: float, end: float, *, who: str = "anna", of: str = STREET) -> str:
    """Holds a space from one minute to another; the id."""
    return (await reservations.hold(town.ctx, Stay(of, "standard", at(start), at(end)), someone(who))).id


@pytest.mark.parametrize("start, end", [(90, 150), (60, 121), (100, 110), (119.999, 130), (60, 180)])
async def test_nobody_holds_a_space_while_the_street_is_needed(town: City, start: float, end: float) -> None:
    """Refused with the window, whichever way the stay overlaps it; nothing is booked or counted."""
    await hear(town, plan(1, closed(90, 120)))
    with pytest.raises(PlaceClosed) as refused:
        await hold(town, start, end)
    window = {"closed_for": "collection", "closed_from": rfc3339(at(90)), "closed_until": rfc3339(at(120))}
    assert (refused.value.members, refused.value.status) == (window, 409)
    assert "collection" in refused.value.detail
    assert (await town.holders(), await town.states()) == ({}, {})


async def test_a_stay_may_end_where_the_window_begins_and_begin_where_it_ends(town: City) -> None:
    """Half-open on both sides; other streets and times are not touched."""
    await hear(town, plan(1, closed(90, 120)))
    for start, end in ((60, 90), (120, 150), (200, 260)):
        assert await hold(town, start, end, who=f"holder-{start}")
    assert await hold(town, 90, 120, of=GARAGE)


async def test_a_withdrawn_plan_makes_room(town: City) -> None:
    """And a closed car park stays closed, without a window."""
    await hear(town, plan(1, closed(90, 120)))
    with pytest.raises(PlaceClosed):
        await hold(town, 90, 120)
    await hear(town, withdrawn(1))
    assert await hold(town, 90, 120)
    await hear(town, plan(2, closed(90, 120)))
    async with town.db.write() as tx:
        await tx.run(update(place).where(place.c.id == STREET).values(state=PlaceState.CLOSED.value))
    with pytest.raises(PlaceClosed) as refused:
        await hold(town, 90, 120, who="boris")
    assert refused.value.members == {}


async def test_bookings_that_a_window_overlaps_are_conflicts(town: City) -> None:
    """Held or confirmed before the plan came: each quarter hour of the window with how many stays meet it; nothing is taken away."""
    held, confirmed = await hold(town, 60, 105), await hold(town, 90, 150, who="boris")
    given_back = await hold(town, 90, 120, who="carla")
    await reservations.confirm(town.ctx, confirmed, OwnedBy("boris"))
    await reservations.cancel(town.ctx, given_back, OwnedBy("carla"))
    await hear(town, plan(1, closed(100, 118)), plan(1, closed(110, 112), stream="other"))
    found = await reservations.conflicts(town.ctx, STREET, operator_id=None)
    assert found == [
        Conflict("standard", at(90), 2, 0, Reason.COLLECTION),
        Conflict("standard", at(105), 1, 0, Reason.COLLECTION),
    ]
    assert (await reservations.find(town.ctx, held, OwnedBy("anna"))).state == "held"
    assert await reservations.conflicts(town.ctx, GARAGE, operator_id=None) == []
    town.clock.advance(118 * 60)
    assert await reservations.conflicts(town.ctx, STREET, operator_id=None) == []


async def test_a_stay_beside_the_window_is_no_conflict(town: City) -> None:
    """Though both lie in one quarter hour."""
    await hold(town, 60, 100)
    await hear(town, plan(1, closed(100, 104)))
    assert await reservations.conflicts(town.ctx, STREET, operator_id=None) == []


async def test_a_quarter_hour_can_be_in_conflict_for_two_reasons(town: City) -> None:
    """Oversold and needed: the operator sees both."""
    for who in ("anna", "boris"):
        await hold(town, 15, 30, who=who)
    await town.count(2, capacity=3, id=STREET)
    async with town.db.write() as tx:
        await pools.reshrink_in(tx, town.ctx, STREET)
    await hear(town, plan(1, closed(15, 20)))
    found = await reservations.conflicts(town.ctx, STREET, operator_id=None)
    assert [(each.booked, each.sellable, each.reason) for each in found] == [(2, 0, "collection"), (2, 1, "oversold")]


# What a stream of changes hears


def turns(heard: list[dict[str, object]]) -> list[tuple[object, object, object]]:
    return [(each["id"], each["state"], each["closed_until"]) for each in heard]


async def test_the_stream_hears_when_a_window_begins_and_ends(town: City) -> None:
    """Within two seconds each, once, though nothing is written."""
    await hear(town, plan(1, closed(10, 20)))
    replica = search.open_search(town.ctx)
    await replica.reset()
    begun, ended = (STREET, "closed", rfc3339(at(20))), (STREET, "open", None)
    running = asyncio.get_running_loop().create_task(replica.turn())

    async def pass_by(seconds: int) -> None:
        for _ in range(seconds):
            town.clock.advance(1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async with listening(replica) as heard:
        await pass_by(598)
        assert heard == []
        await pass_by(4)
        await wait_until(lambda: turns(heard) == [begun])
        await pass_by(596)
        assert turns(heard) == [begun]
        await pass_by(4)
        await wait_until(lambda: turns(heard) == [begun, ended])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_client_that_comes_back_hears_what_turned_meanwhile(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is no entry of the fan-out stream: whoever resumes gets it beside what was written."""
    await hear(town, plan(1, closed(10, 20)))
    replica = search.open_search(town.ctx)
    await replica.reset()
    await replica.apply([FanoutEntry(f"{number}-0", change) for number, change in enumerate(town.ctx.fanout._queued)])  # all was told
    town.clock.advance(15 * 60)

    async def nothing_written(_position: str) -> Sequence[FanoutEntry]:
        return []

    async def as_far(_position: str) -> bool:
        return True

    monkeypatch.setattr(town.ctx.fanout, "since", nothing_written)
    monkeypatch.setattr(town.ctx.fanout, "comes_to", as_far)
    async with listening(replica, f"{int(NOON.timestamp() * 1000)}-0") as heard:
        await wait_until(lambda: turns(heard) == [(STREET, "closed", rfc3339(at(20)))])
    async with listening(replica, f"{int(at(14).timestamp() * 1000)}-0") as heard:
        replica.hub.publish(Message("", "mark", "", '{"id": "mark", "state": "", "closed_until": ""}'))
        await wait_until(lambda: turns(heard) == [("mark", "", "")])
