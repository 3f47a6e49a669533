"""Laws of holding, confirming and sweeping reservations, the same on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from cityloop_common.envelope import Event
from cityloop_common.errors import CityLoopError
from cityloop_parking.places.domain import UnknownPlace
from cityloop_parking.places.tables import place_pool
from cityloop_parking.reservations import pools, use_cases
from cityloop_parking.reservations.domain import (
    HoldExpired,
    NotHeld,
    PlaceClosed,
    PlaceFull,
    ReservationOver,
    State,
    TooManyHolds,
    TooManyReservations,
    UnknownCategory,
    UnknownReservation,
)
from cityloop_parking.reservations.scope import OwnedBy
from tests.contract.reservations_support import PLACE, City, city, make_tables, someone

ANNA, BORIS = OwnedBy("anna"), OwnedBy("boris")


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


async def refused(error: type[CityLoopError], attempt: object) -> CityLoopError:
    """The refusal that an attempt ends with."""
    with pytest.raises(error) as caught:
        await attempt  # type: ignore[misc]
    return caught.value


async def test_a_hold_takes_one_space_of_every_quarter_hour_it_touches(town: City) -> None:
    """12:10 to 13:05 books five quarter hours, and tells of it once."""
    await town.open_place(3)
    made = await use_cases.hold(town.ctx, town.stay(after_h=1 / 6, hours=55 / 60), someone())
    assert made.state is State.HELD
    assert made.held_until == town.clock.now() + timedelta(seconds=900)
    assert list((await town.buckets()).values()) == [(1, 3)] * 5
    told = await town.told()
    assert [(event.type, event.key, event.sequence) for event in told] == [("parking.reservation.held.v1", made.id, 1)]
    assert not {"subject", "network", "anna"} & set(str(told[0].body()).replace("'", " ").split())


async def test_two_reservations_of_the_last_space_never_overlap(town: City) -> None:
    """Half-open: one may end where the next begins, and neither may reach into the other's quarter hour."""
    await town.open_place(1)
    await use_cases.hold(town.ctx, town.stay(after_h=1), someone("anna"))
    await use_cases.hold(town.ctx, town.stay(after_h=2), someone("boris"))
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=1.9), someone("carla")))
    await town.check_books()


async def test_a_refused_hold_leaves_nothing_behind(town: City) -> None:
    """A stay that finds three free quarter hours and a full one books none of them and counts nowhere."""
    await town.open_place(1)
    await use_cases.hold(town.ctx, town.stay(after_h=2), someone("anna"))
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=1, hours=2), someone("boris")))
    assert "subject:boris" not in await town.holders()
    assert [booked for booked, _ in (await town.buckets()).values()] == [1] * 4
    assert len(await town.told()) == 1


async def test_an_unconfirmed_hold_counts_as_booked(town: City) -> None:
    """Failure story 2: what is pending is not free (cal.com #29958)."""
    await town.open_place(1)
    await use_cases.hold(town.ctx, town.stay(), someone("anna"))
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(), someone("boris")))


async def test_confirming_checks_the_hold_again(town: City) -> None:
    """Failure story 2: a hold that ran out is not confirmed, swept or not (cal.com #23974)."""
    await town.open_place(1)
    made = await use_cases.hold(town.ctx, town.stay(), someone())
    town.clock.advance(900)
    await refused(HoldExpired, use_cases.confirm(town.ctx, made.id, ANNA))
    assert await use_cases.expire_due(town.ctx) == 1
    await refused(HoldExpired, use_cases.confirm(town.ctx, made.id, ANNA))
    assert await town.states() == {"expired": 1}


async def test_a_stay_after_a_confirmed_one_cannot_begin_before_its_end(town: City) -> None:
    """Failure story 2: the next guest's stay never overlaps the one before."""
    await town.open_place(1)
    first = await use_cases.hold(town.ctx, town.stay(after_h=1, hours=2), someone("anna"))
    await use_cases.confirm(town.ctx, first.id, ANNA)
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=2.99), someone("boris")))
    assert await use_cases.hold(town.ctx, town.stay(after_h=3), someone("boris"))


async def test_confirming_twice_is_confirming_once(town: City) -> None:
    """The second answer is the first one, and there is one event."""
    await town.open_place(1)
    made = await use_cases.hold(town.ctx, town.stay(), someone())
    first = await use_cases.confirm(town.ctx, made.id, ANNA)
    town.clock.advance(3600)
    assert await use_cases.confirm(town.ctx, made.id, ANNA) == first
    assert first.version == 2
    assert [event.type for event in await town.told()] == ["parking.reservation.held.v1", "parking.reservation.confirmed.v1"]
    assert await town.holders() == {"subject:anna": (0, 1)}


async def test_a_cancelled_space_is_free_again(town: City) -> None:
    """Held or confirmed, a cancellation gives back the space and the counters; twice is once."""
    await town.open_place(1)
    for confirmed in (False, True):
        made = await use_cases.hold(town.ctx, town.stay(), someone())
        if confirmed:
            await use_cases.confirm(town.ctx, made.id, ANNA)
        cancelled = await use_cases.cancel(town.ctx, made.id, ANNA)
        assert await use_cases.cancel(town.ctx, made.id, ANNA) == cancelled
        assert cancelled.state is State.CANCELLED
        await refused(NotHeld, use_cases.confirm(town.ctx, made.id, ANNA))
        await town.check_books()
    assert (await town.told())[-1].sequence == 3
    assert await use_cases.hold(town.ctx, town.stay(), someone("boris"))


async def test_nobody_touches_anothers_reservation(town: City) -> None:
    """Another's is as unknown as none."""
    await town.open_place(1)
    made = await use_cases.hold(town.ctx, town.stay(), someone("anna"))
    await refused(UnknownReservation, use_cases.confirm(town.ctx, made.id, BORIS))
    await refused(UnknownReservation, use_cases.cancel(town.ctx, made.id, BORIS))
    await refused(UnknownReservation, use_cases.find(town.ctx, made.id, BORIS))
    await refused(UnknownReservation, use_cases.confirm(town.ctx, "no-such-id", ANNA))
    assert await use_cases.page(town.ctx, BORIS, before=None, limit=10) == []
    assert await use_cases.find(town.ctx, made.id, ANNA) == made


async def test_sweeping_twice_ends_a_hold_once(town: City) -> None:
    """A second sweep finds nothing; the spaces are free once, the event is there once."""
    await town.open_place(5)
    for number in range(5):
        await use_cases.hold(town.ctx, town.stay(), someone(f"racer-{number}"))
    town.clock.advance(900)
    assert [await use_cases.expire_due(town.ctx) for _ in range(2)] == [5, 0]
    await town.check_books()
    assert {booked for booked, _ in (await town.buckets()).values()} == {0}
    assert [event.type for event in await town.told()].count("parking.reservation.expired.v1") == 5
    await use_cases.prune(town.ctx)
    assert await town.holders() == {}


async def test_a_reservation_is_completed_when_its_time_is_over(town: City) -> None:
    """It no longer counts for its holder, can no longer be cancelled, and its hours stay booked."""
    await town.open_place(1)
    made = await use_cases.hold(town.ctx, town.stay(), someone())
    await use_cases.confirm(town.ctx, made.id, ANNA)
    town.clock.advance(2 * 3600)
    await refused(ReservationOver, use_cases.cancel(town.ctx, made.id, ANNA))
    assert [await use_cases.complete_due(town.ctx) for _ in range(2)] == [1, 0]
    await refused(ReservationOver, use_cases.cancel(town.ctx, made.id, ANNA))
    assert (await town.told())[-1].type == "parking.reservation.completed.v1"
    await town.check_books()


async def test_holders_have_limits(town: City) -> None:
    """Two unconfirmed holds and ten open reservations for a subject."""
    await town.open_place(100)
    for number in range(2):
        await use_cases.hold(town.ctx, town.stay(after_h=number), someone())
    await refused(TooManyHolds, use_cases.hold(town.ctx, town.stay(), someone()))
    for made in await use_cases.page(town.ctx, ANNA, before=None, limit=10):
        await use_cases.confirm(town.ctx, made.id, ANNA)
    for number in range(8):
        more = await use_cases.hold(town.ctx, town.stay(after_h=number), someone())
        await use_cases.confirm(town.ctx, more.id, ANNA)
    await refused(TooManyReservations, use_cases.hold(town.ctx, town.stay(), someone()))
    await town.check_books()


async def test_guests_of_one_network_share_a_limit(town: City) -> None:
    """New guests cost nothing, so twenty holds of a network are the end; a user there still gets a space."""
    await town.open_place(100)
    made = [await use_cases.hold(town.ctx, town.stay(), someone(f"guest-{n}", network="n")) for n in range(20)]
    await refused(TooManyHolds, use_cases.hold(town.ctx, town.stay(), someone("guest-20", network="n")))
    assert "subject:guest-20" not in await town.holders()
    await use_cases.hold(town.ctx, town.stay(), someone("anna"))
    await use_cases.confirm(town.ctx, made[0].id, OwnedBy("guest-0"))
    await use_cases.cancel(town.ctx, made[1].id, OwnedBy("guest-1"))
    assert (await town.holders())["network:n"] == (18, 19)


async def test_what_cannot_be_had_says_why(town: City) -> None:
    """No such place, closed, no such spaces."""
    await town.open_place(1)
    await town.open_place(1, id="shut", state="closed")
    await refused(UnknownPlace, use_cases.hold(town.ctx, town.stay(id="nowhere"), someone()))
    await refused(PlaceClosed, use_cases.hold(town.ctx, town.stay(id="shut"), someone()))
    await refused(UnknownCategory, use_cases.hold(town.ctx, town.stay(category="ev"), someone()))
    assert await town.states() == {}


async def test_walk_ins_and_broken_spaces_are_not_sold(town: City) -> None:
    """Ten spaces, three kept for walk-ins, two broken: five are sold."""
    await town.open_place(10, reserve=3, broken=2)
    for number in range(5):
        await use_cases.hold(town.ctx, town.stay(), someone(f"racer-{number}"))
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(), someone()))


async def test_a_count_limits_the_next_hour_and_no_more(town: City) -> None:
    """48 of 50 taken now: two may be promised for the next hour, fifty after it; bookings stay, as listed conflicts."""
    await town.open_place(50)
    for number in range(5):
        await use_cases.hold(town.ctx, town.stay(after_h=0.25, hours=2), someone(f"early-{number}"))
    await town.count(48, capacity=50)
    async with town.db.write() as tx:
        await pools.reshrink_in(tx, town.ctx, PLACE)
    assert [sellable for _, sellable in (await town.buckets()).values()] == [2, 2, 2, 50, 50, 50, 50, 50]
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=0.25, hours=0.5), someone()))
    await use_cases.hold(town.ctx, town.stay(after_h=1), someone())
    found = await use_cases.conflicts(town.ctx, PLACE, operator_id="op-1")
    assert [(each.booked, each.sellable) for each in found] == [(5, 2)] * 3
    await refused(UnknownPlace, use_cases.conflicts(town.ctx, PLACE, operator_id="op-2"))
    await town.check_books()


async def test_a_smaller_car_park_sells_less_and_keeps_its_promises(town: City) -> None:
    """The place's new version says two spaces instead of three: what is booked stays, nothing more is sold."""
    await town.open_place(3)
    for name in ("anna", "boris", "carla"):
        await use_cases.hold(town.ctx, town.stay(after_h=24), someone(name))
    async with town.db.write() as tx:
        await tx.run(update(place_pool).values(capacity=2))
        event = Event("e-1", "parking.place.published.v1", "parking.place", PLACE, "test", town.clock.now(), 2, b"{}")
        await pools.on_place(tx, town.ctx, event, pools.Happened())
    assert set((await town.buckets()).values()) == {(3, 2)}
    assert len(await use_cases.conflicts(town.ctx, PLACE, operator_id=None)) == 4
    await use_cases.cancel(town.ctx, (await use_cases.page(town.ctx, ANNA, before=None, limit=1))[0].id, ANNA)
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=24), someone()))


async def test_a_category_that_is_gone_is_sold_no_more(town: City) -> None:
    """Its quarter hours stay, with nothing to sell."""
    await town.open_place(3)
    await use_cases.hold(town.ctx, town.stay(), someone())
    async with town.db.write() as tx:
        await tx.run(delete(place_pool))
        event = Event("e-1", "parking.place.published.v1", "parking.place", PLACE, "test", town.clock.now(), 2, b"{}")
        await pools.on_place(tx, town.ctx, event, pools.Happened())
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(), someone()))


async def test_a_new_quarter_hour_knows_the_count(town: City) -> None:
    """What is made after the count is sold by it too."""
    await town.open_place(50)
    await town.count(50, capacity=50)
    await refused(PlaceFull, use_cases.hold(town.ctx, town.stay(after_h=0.5), someone()))
    assert await use_cases.hold(town.ctx, town.stay(after_h=1), someone())


async def test_every_event_can_be_told_again(town: City) -> None:
    """Republished events are the ones of the outbox: same id, sequence, time and body."""
    await town.open_place(3)
    made = [await use_cases.hold(town.ctx, town.stay(), someone(name)) for name in ("anna", "boris", "carla")]
    await use_cases.confirm(town.ctx, made[0].id, ANNA)
    await use_cases.cancel(town.ctx, made[0].id, ANNA)
    town.clock.advance(900)
    await use_cases.expire_due(town.ctx)
    again = [event async for event in use_cases.republished(town.ctx, None)]
    assert sorted(again, key=lambda event: event.id) == sorted(await town.told(), key=lambda event: event.id)
    assert [event.sequence async for event in use_cases.republished(town.ctx, made[0].id)] == [1, 2, 3]
