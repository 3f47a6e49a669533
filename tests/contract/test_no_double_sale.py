"""Promise 1: a space is never sold twice, however many want it, whatever runs out at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from cityloop_common.clock import ManualClock
from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_parking.reservations import use_cases
from cityloop_parking.reservations.domain import HoldExpired, PlaceFull, Reservation, Stay
from cityloop_parking.reservations.scope import OwnedBy
from tests.contract.reservations_support import NOON, PLACE, City, city, make_tables, someone

T = TypeVar("T")
SPACES = 50
RACERS = 500
WANTED = Stay(PLACE, "standard", NOON + timedelta(hours=1), NOON + timedelta(hours=3))


@pytest.fixture
async def replicas(url: str, tmp_path: Path) -> AsyncIterator[tuple[City, City]]:
    """Two replicas over one database, each with its own connections and clock."""
    await make_tables(url)
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(city(url, tmp_path, clock=ManualClock(NOON), hold_for_s=60, open_per_subject=50))
            for _ in range(2)
        ]
        await one.open_place(SPACES)
        yield one, two


async def answered(attempt: Callable[[], Awaitable[T]]) -> T:
    """What a caller does who is told to come again."""
    while True:
        try:
            return await attempt()
        except (Unavailable, DeadlinePassed):
            await asyncio.sleep(0)


@dataclass
class Racer:
    """Somebody who wants one of the spaces, and what he was told last."""

    name: str
    at: City
    made: Reservation | None = None
    told: str = "nothing"

    async def hold(self) -> None:
        try:
            self.made = await answered(lambda: use_cases.hold(self.at.ctx, WANTED, someone(self.name)))
            self.told = "held"
        except PlaceFull:
            self.told = "full"

    async def confirm(self) -> None:
        made = self.made
        assert made is not None
        try:
            await answered(lambda: use_cases.confirm(self.at.ctx, made.id, OwnedBy(self.name)))
            self.told = "confirmed"
        except HoldExpired:
            self.told = "expired"


def racers(replicas: tuple[City, City]) -> list[Racer]:
    """Five hundred, half of them at each replica."""
    return [Racer(f"racer-{number}", replicas[number % 2]) for number in range(RACERS)]


async def test_500_racers_for_50_spaces_take_exactly_50(replicas: tuple[City, City]) -> None:
    """Failure story 1: fifty hold, 450 are told that it is full, and nobody anything else."""
    running = racers(replicas)
    await asyncio.gather(*(racer.hold() for racer in running))
    assert Counter(racer.told for racer in running) == {"held": SPACES, "full": RACERS - SPACES}
    assert set((await replicas[0].buckets()).values()) == {(SPACES, SPACES)}
    await replicas[0].check_books()


async def test_holds_that_run_out_while_they_are_confirmed_are_sold_once(replicas: tuple[City, City]) -> None:
    """Failure story 1: confirmations race with the expiry sweeps of a replica whose clock is ahead; still exactly fifty.

    In each round a third confirms at once, a third in the moment in which the hold runs out, a third never.
    """
    ahead, behind = replicas
    ahead.clock.advance(1)
    running = racers(replicas)
    for _ in range(30):
        waiting = [racer for racer in running if racer.told != "confirmed"]
        await asyncio.gather(*(racer.hold() for racer in waiting))
        held = [racer for racer in waiting if racer.told == "held"]
        await asyncio.gather(*(racer.confirm() for racer in held[0::3]))
        for each in replicas:  # a hold made behind is over for the replica ahead, and alive for its own
            each.clock.advance(59.5)
        late = [racer.confirm() for racer in held[1::3] if racer.at is behind]
        sweeps = [answered(partial(use_cases.expire_due, each.ctx)) for each in (ahead, behind, ahead)]
        await asyncio.gather(*late[::2], *sweeps, *late[1::2])
        await past_every_hold(ahead, behind)
        states = await ahead.states()
        assert states.get("held", 0) == 0
        assert states["confirmed"] == sum(racer.told == "confirmed" for racer in running) <= SPACES
        await ahead.check_books()
        if states["confirmed"] == SPACES:
            break
    assert states["confirmed"] == SPACES
    assert states["expired"] > 0
    assert set((await ahead.buckets()).values()) == {(SPACES, SPACES)}


async def past_every_hold(*replicas: City) -> None:
    """Everything that was not confirmed is over and swept, by both at once."""
    for each in replicas:
        each.clock.advance(2)
    await asyncio.gather(*(answered(partial(use_cases.expire_due, each.ctx)) for each in replicas for _ in range(2)))


async def test_cancelled_spaces_are_sold_again_and_no_more(replicas: tuple[City, City]) -> None:
    """Racers who give back at once make room for others, never for one too many."""
    running = racers(replicas)

    async def hold_and_give_back(racer: Racer) -> None:
        await racer.hold()
        if racer.made is not None:
            made = racer.made
            await answered(lambda: use_cases.cancel(racer.at.ctx, made.id, OwnedBy(racer.name)))

    await asyncio.gather(*(hold_and_give_back(racer) for racer in running[:250]), *(racer.hold() for racer in running[250:]))
    states = await replicas[0].states()
    assert states.get("held", 0) <= SPACES
    await replicas[0].check_books()
    full = [racer for racer in running if racer.told == "full"]
    await asyncio.gather(*(racer.hold() for racer in full))
    assert (await replicas[0].states())["held"] == SPACES
    await replicas[0].check_books()


async def test_long_stays_that_overlap_in_part_never_share_a_space(replicas: tuple[City, City]) -> None:
    """Stays of many lengths over one day: no quarter hour is over its spaces, and no two writers wait for each other."""
    want = [(start / 4, length / 4) for start in range(0, 40, 2) for length in (1, 2, 5, 9, 20, 40)]

    async def hold(number: int, start_h: float, hours: float) -> str:
        at = replicas[number % 2]
        stay = at.stay(after_h=start_h, hours=hours)
        try:
            await answered(lambda: use_cases.hold(at.ctx, stay, someone(f"{number}")))
        except PlaceFull:
            return "full"
        return "held"

    told = Counter(await asyncio.gather(*(hold(number, *each) for number, each in enumerate(want * 3))))
    assert told["held"] > SPACES
    assert told["full"] > 0
    assert all(booked <= sellable for booked, sellable in (await replicas[0].buckets()).values())
    assert max(booked for booked, _ in (await replicas[0].buckets()).values()) == SPACES
    await replicas[0].check_books()
