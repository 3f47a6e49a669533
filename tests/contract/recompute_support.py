"""A simulated month of one service: facts told late, corrected and doubled, on a clock that the test moves, and what they add up to.

A `History` drives the real use cases and keeps a plain list of what it told. Its `counted` computes figures from that list alone: it is
the oracle, and shares no code with the product.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Table, select

from cityloop_common.cache import open_cache
from cityloop_common.clock import ManualClock
from cityloop_common.context import Ctx
from cityloop_common.db import open_db
from cityloop_common.districts import read as read_districts
from cityloop_common.eventlog import open_event_log
from cityloop_common.geo import Position
from cityloop_common.ids import Ids
from cityloop_common.indicator import Row
from cityloop_common.indicator.publishing import publish_due
from cityloop_common.rng import Rng
from cityloop_common.service import Service
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import kit_metadata

CITY = timezone(timedelta(hours=8))
FIRST, DAYS = date(2025, 12, 20), 30  # over the turn of the year: some figures count from the first of January
MICROSECOND = timedelta(microseconds=1)
WITHOUT_LATE = 3  # the first days, on which nothing comes late
AWAY = (12, 13)  # nights on which nobody publishes; the night after catches up
HOURLY = (5, 18, 26)  # days on which every third hour is published, too
# Three districts side by side; what lies west of them is in none.
_WEST, _WIDE, _SOUTH, _NORTH = 109.70, 0.05, 39.50, 39.65
ELSEWHERE = Position(121.52, 25.05)  # in another city, whose file somebody imported


def midnight(number: int) -> datetime:
    """When a day of the history begins."""
    return datetime.combine(FIRST + timedelta(days=number), time(), CITY).astimezone(UTC)


def instant(number: int, hour: float) -> datetime:
    """A time of day of a day of the history."""
    return midnight(number) + timedelta(hours=hour)


def day_of(at: datetime) -> date:
    """The local day of an instant."""
    return at.astimezone(CITY).date()


def position(number: int) -> Position:
    """A position in district 1, 2 or 3, or with 0 in none."""
    return Position(_WEST + (number - 0.5) * _WIDE, 39.56)


def is_in_city(at: Position) -> bool:
    """Whether it lies near enough to the three districts to be the city's."""
    return at != ELSEWHERE


def district_of(at: Position) -> str | None:
    """The district that one of these positions lies in."""
    return next((f"d{number}" for number in (1, 2, 3) if position(number) == at), None)


def districts() -> bytes:
    """The GeoJSON of the three."""
    features = []
    for number in (1, 2, 3):
        west, east = _WEST + (number - 1) * _WIDE, _WEST + number * _WIDE
        ring = [[west, _SOUTH], [east, _SOUTH], [east, _NORTH], [west, _NORTH], [west, _SOUTH]]
        properties = {"id": f"d{number}", "name": f"第{number}片区"}
        features.append({"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    return orjson.dumps({"type": "FeatureCollection", "features": features})


class Counted(NamedTuple):
    """What one thing gives to a figure."""

    numerator: int
    denominator: int
    district: str | None


class Sums(NamedTuple):
    """A figure: numerator and denominator."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A day as it stood at its end, or at `known_at` while it lasts; of what was known at `known_at`."""

    on: date
    known_at: datetime

    @property
    def at(self) -> datetime:
        return min(datetime.combine(self.on + timedelta(days=1), time(), CITY).astimezone(UTC) - MICROSECOND, self.known_at)


Do = Callable[[Ctx[Any]], Awaitable[None]]


@dataclass(order=True, slots=True)
class Turn:
    """Something that happens at an instant of the history; of the same instant in the order in which it was planned."""

    at: datetime
    number: int
    do: Do = field(compare=False)


class History(ABC):
    """A month of one service."""

    service: Service
    journals: Sequence[Table]

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(f"{seed}/{type(self).__name__}")
        self.turns: list[Turn] = []
        self.clock = ManualClock(midnight(0))

    def plan(self, at: datetime, do: Do) -> None:
        """Notes what is to happen when."""
        self.turns.append(Turn(at, len(self.turns), do))

    def late(self, number: int, *, prompt: float = 0.6) -> timedelta:
        """How long after it happened a fact is learnt: mostly at once, else after hours or days."""
        if number < WITHOUT_LATE or self.rng.random() < prompt:
            return timedelta(seconds=self.rng.randint(1, 240))
        return timedelta(minutes=self.rng.randint(30, 1_200) if self.rng.random() < 0.5 else self.rng.randint(1_440, 8_000))

    @abstractmethod
    async def begin(self, ctx: Ctx[Any]) -> None:
        """What is there before the month, and the plan of it."""

    @abstractmethod
    def counted(self, name: str, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        """What each thing gives to a figure by the plain list of facts, without what gives nothing; None when nothing is known."""

    @abstractmethod
    def evidence(self, row: Row) -> Iterator[str]:
        """The journal rows that a row names."""

    def decided_by(self, key: str, row: Row | None) -> Iterable[str]:
        """Keys of other rows that decide what a row counts; `row` is None when it is not there any more."""
        return ()


async def live_through(ctx: Ctx[Any], history: History, *, nights: int = DAYS) -> None:
    """Everything in the order in which it was learnt, up to so many nights; each of them and some hours are published."""

    async def publish(ctx: Ctx[Any]) -> None:
        assert await publish_due(ctx, history.service.indicators) > 0
        assert await publish_due(ctx, history.service.indicators) == 0, "nothing is published twice"

    await history.begin(ctx)
    for number in range(nights):
        if number not in AWAY:
            history.plan(midnight(number + 1) + timedelta(minutes=11, seconds=30), publish)
        if number in HOURLY:
            for hour in range(3, 24, 3):
                history.plan(instant(number, hour) + timedelta(seconds=61), publish)
    until = midnight(nights) + (timedelta(hours=1) if nights < DAYS else timedelta(days=30))
    for turn in sorted(each for each in history.turns if each.at < until):
        history.clock.advance((turn.at - history.clock.now()).total_seconds())
        assert history.clock.now() == turn.at
        await turn.do(ctx)
    history.clock.advance(3600)


@asynccontextmanager
async def opened(service: Service, clock: ManualClock, url: str, folder: Path) -> AsyncIterator[Ctx[Any]]:
    """A service over a database, on a clock that the test moves."""
    rng = Rng("recompute")
    db = open_db(url, clock=clock)
    log = open_event_log(f"sqlite:///{folder / 'events.db'}", clock=clock)
    cache = open_cache("memory:", clock=clock)
    settings = service.settings(shared=SharedSettings(var=folder))
    try:
        ids = Ids(clock, rng.stream("ids"))
        yield Ctx(service.name, settings, clock, ids, rng, db, log, cache, districts=read_districts(districts()))
    finally:
        await log.close()
        await cache.close()
        await db.close()


async def make_tables(ctx: Ctx[Any], service: Service) -> None:
    """The schema, as fresh as the classes say."""

    def create(connection: Connection) -> None:
        kit_metadata.create_all(connection)
        service.metadata.create_all(connection)

    await ctx.db.run_sync(create)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """When a journal row's fact happened, when it was learnt, and the row that it corrects."""

    happened_at: datetime
    recorded_at: datetime
    corrects: str | None


async def journal_rows(ctx: Ctx[Any], journals: Sequence[Table]) -> dict[str, JournalRow]:
    """Every row of these journals by id."""
    found: dict[str, JournalRow] = {}
    async with ctx.db.read() as tx:
        for journal in journals:
            corrects = journal.c.corrects if "corrects" in journal.c else None
            asked = select(journal.c.id, journal.c.happened_at, journal.c.recorded_at, *([] if corrects is None else [corrects]))
            for row in await tx.all(asked):
                found[row.id] = JournalRow(row.happened_at, row.recorded_at, None if corrects is None else row.corrects)
    return found


def counting(rows: Sequence[Row]) -> dict[str, Counted]:
    """Rows that give something, by key."""
    return {row.key: Counted(row.numerator, row.denominator, row.district) for row in rows if row.numerator or row.denominator}


def sums(counted: Mapping[str, Counted]) -> Sums:
    """The figure that they add up to."""
    return Sums(sum(each.numerator for each in counted.values()), sum(each.denominator for each in counted.values()))


def by_district(counted: Mapping[str, Counted]) -> dict[str, Sums]:
    """The figure of each district, "" where none is."""
    districts = sorted({each.district or "" for each in counted.values()})
    return {name: sums({key: each for key, each in counted.items() if (each.district or "") == name}) for name in districts}


def changed(before: Mapping[str, Counted], after: Mapping[str, Counted]) -> set[str]:
    """Keys of what gives something else than before, or came, or went."""
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}
