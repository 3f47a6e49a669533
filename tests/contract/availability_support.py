"""A city whose journal of counts is written by hand, for the suites of the forecaster."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select

from cityloop_common.rng import Rng
from cityloop_parking.availability import forecaster, store
from cityloop_parking.availability.forecaster import Course
from cityloop_parking.availability.store import Part
from cityloop_parking.availability.tables import forecast_part
from cityloop_parking.observations.tables import observation
from tests.contract.reservations_support import NOON, City

SPACES = {"standard": 100, "ev": 20}


async def alive() -> None:
    """The right is never lost."""


@dataclass(frozen=True, slots=True)
class Row:
    """A count of a place's category: taken at `happened_at`, told `told_after_s` later."""

    place_id: str
    category: str
    happened_at: datetime
    occupied: int
    capacity: int = 100
    told_after_s: float = 5.0
    source: str = "gate"


def day(place_id: str, start: datetime, *, hours: float = 24, every_min: int = 15, categories: Sequence[str] = ("standard",)) -> list[Row]:
    """A place's counts in a rhythm, fullest at noon of UTC, with deviations that go on for hours; the categories are told together."""
    rows, beside, chance = [], 0.0, Rng("days").stream(f"{place_id}/{start}")
    for number in range(round(hours * 60 / every_min)):
        at = start + timedelta(minutes=number * every_min)
        beside = 0.97 * beside + chance.uniform(-0.02, 0.02)
        share = min(1.0, max(0.0, 0.4 + 0.25 * math.sin((at.hour + at.minute / 60 - 6) / 24 * 2 * math.pi) + beside))
        rows += [Row(place_id, category, at, round(share * SPACES[category]), SPACES[category]) for category in categories]
    return rows


async def journal(town: City, rows: Iterable[Row]) -> None:
    """Writes counts as the room of observations does."""
    values = [
        {
            "id": town.ctx.ids.new(), "place_id": row.place_id, "category": row.category, "source": row.source,
            "minute": int(row.happened_at.timestamp()) // 60, "happened_at": row.happened_at,
            "recorded_at": row.happened_at + timedelta(seconds=row.told_after_s), "occupied": row.occupied, "capacity": row.capacity,
            "interval_s": 900,
        }
        for row in rows
    ]  # fmt: skip
    async with town.db.write() as tx:
        for start in range(0, len(values), 1000):
            await tx.run(insert(observation), values[start : start + 1000])


async def learn(town: City, course: Course | None = None) -> Course:
    """Learns and stores all that is closed now."""
    course = course or await forecaster.open_current(town.ctx, alive)
    await course.learn(forecaster.closed_minute(town.clock.now()), alive=alive)
    await course.store()
    return course


async def learnt(town: City) -> dict[tuple[str, str, str], bytes]:
    """Every part that answers come from."""
    async with town.db.read() as tx:
        run = await store.current_run(tx)
        assert run is not None
        p = forecast_part.c
        rows = await tx.all(select(p.model, p.series, p.part, p.slot, p.version, p.body).where(p.run == run.run, p.version <= run.version))
    return {(part.model, part.series, part.part): part.body for part in store.newest(Part._make(row) for row in rows)}


def move_to(town: City, at: datetime) -> None:
    """Moves the city's clock to an instant."""
    town.clock.advance((at - town.clock.now()).total_seconds())


WEEK_BEFORE = NOON - timedelta(days=7)
