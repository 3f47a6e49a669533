"""A month of car parks and counts: gates that were cut off, counts in any order and twice, places that close and move. And what is live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from cityloop_common.context import Ctx
from cityloop_common.indicator import Row
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, FromTheFuture, Observation
from cityloop_parking.observations.tables import observation
from cityloop_parking.observations.use_cases import Report, Verdict
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Accepted, Access, Category, PlaceFacts, PlaceKind, PlaceState, Pool
from cityloop_parking.places.tables import place_version
from cityloop_parking.service import SERVICE
from tests.contract.recompute_support import (
    DAYS,
    ELSEWHERE,
    MICROSECOND,
    Counted,
    History,
    Seen,
    district_of,
    instant,
    is_in_city,
    midnight,
    position,
)

PLACES = 10
_SOURCES = {"gate": 900, "camera": 3_600, "attendant": 7_200}


@dataclass(frozen=True, slots=True)
class Told:
    """A car park as its source described it."""

    id: str
    learnt_at: datetime
    access: str
    state: str
    district: str | None
    in_city: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """A count that somebody made; `order` is that of arrival."""

    place_id: str
    category: str
    source: str
    taken_at: datetime
    learnt_at: datetime
    order: int

    @property
    def minute(self) -> tuple[str, str, str, int]:
        """Of what the journal keeps the first that came."""
        return (self.place_id, self.category, self.source, int(self.taken_at.timestamp()) // 60)


class ParkingHistory(History):
    """Ten car parks of every access."""

    service = SERVICE
    journals = (place_version, observation)

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self.places: list[Told] = []
        self.looks: list[Looked] = []
        self.facts = {f"p{number}": _place(number) for number in range(1, PLACES + 1)}

    async def begin(self, ctx: Ctx[Any]) -> None:
        for count, source_id in enumerate(self.facts):
            self.plan(instant(0, count / 100), partial(self._tell, source_id=source_id))
            for _ in range(5):
                self._plan_change(source_id, instant(1, 0) + timedelta(minutes=self.rng.randint(0, (DAYS - 2) * 1_440)))
            for number in range(DAYS):
                self._plan_counts(source_id, number)
        self._plan_edges()

    # What is told.

    def _plan_change(self, source_id: str, at: datetime) -> None:
        what = self.rng.choice(("closed", "closed", "access", "moved", "bays"))

        async def change(ctx: Ctx[Any]) -> None:
            facts = self.facts[source_id]
            if what == "closed":
                facts = replace(facts, state=PlaceState.OPEN if facts.state is PlaceState.CLOSED else PlaceState.CLOSED)
            elif what == "access":
                facts = replace(facts, access=self.rng.choice([each for each in Access if each is not facts.access]))
            elif what == "moved":
                facts = replace(facts, position=self.rng.choice((ELSEWHERE, *(position(number) for number in range(4)))))
            else:
                facts = replace(facts, pools=(Pool(Category.STANDARD, self.rng.randint(50, 90)), *facts.pools[1:]))
            self.facts[source_id] = facts
            await self._tell(ctx, source_id)

        self.plan(at, change)

    async def _tell(self, ctx: Ctx[Any], source_id: str) -> None:
        """Told twice: the second time is nothing new."""
        facts = self.facts[source_id]
        for again in (False, True):
            report = await places.import_places(ctx, [Accepted(1, facts)], operator_id="op-1")
            assert not (report.accepted and again)
        district, in_city = district_of(facts.position), is_in_city(facts.position)
        self.places.append(Told(facts.id, self.clock.now(), facts.access.value, facts.state.value, district, in_city))

    def _plan_counts(self, source_id: str, number: int) -> None:
        """A few looks a day, one of them near its end; some that are nobody's any more when they arrive."""
        for count in range(self.rng.choice((0, 2, 3, 4))):
            hour = self.rng.uniform(22.2, 23.99) if count == 0 else self.rng.uniform(0.5, 23.9)
            self._plan_look(source_id, instant(number, hour), self.late(number, prompt=0.65))

    def _plan_look(self, source_id: str, taken_at: datetime, late: timedelta) -> None:
        source = self.rng.choice(sorted(_SOURCES))
        categories = self.rng.choice(((Category.STANDARD,), (Category.EV,), (Category.STANDARD, Category.EV)))
        seen = Observation(taken_at, source, tuple(Count(each, self.rng.randint(0, 8)) for each in categories), _SOURCES[source])
        self.plan(taken_at + late, lambda ctx: self._look(ctx, source_id, seen))
        if self.rng.random() < 0.3:
            self.plan(taken_at + late + timedelta(minutes=self.rng.randint(0, 600)), lambda ctx: self._look(ctx, source_id, seen))

    def _plan_edges(self) -> None:
        """Counts exactly two intervals old at the end of a day, a little older, of the next day, and learnt as a figure turns."""
        ends = midnight(9)
        last, known_at = ends - MICROSECOND, ends + timedelta(minutes=10)
        oldest = last - timedelta(seconds=1_800)
        edges = (
            ("p1", oldest, ends),
            ("p2", oldest - MICROSECOND, ends),
            ("p3", ends, ends),
            ("p4", last, known_at),
            ("p5", last, known_at + MICROSECOND),
            ("p6", ends + timedelta(minutes=2), ends - timedelta(minutes=1)),
        )
        for source_id, taken_at, learnt_at in edges:
            seen = Observation(taken_at, "gate", (Count(Category.STANDARD, 1),), 900)
            self.plan(learnt_at, partial(self._look, source_id=source_id, seen=seen))

    async def _look(self, ctx: Ctx[Any], source_id: str, seen: Observation) -> None:
        """Twice in one batch, with one from the future between: the repetition is no row, the future is refused."""
        place_id = self.facts[source_id].id
        future = replace(seen, observed_at=ctx.clock.now() + timedelta(minutes=6))
        outcomes = await observations.record_many(ctx, [Report(place_id, each) for each in (seen, future, seen)])
        assert [isinstance(each, Verdict) for each in outcomes] == [True, False, True]
        assert isinstance(outcomes[1], FromTheFuture)
        for count in seen.counts:
            self.looks.append(Looked(place_id, count.category, seen.source, seen.observed_at, self.clock.now(), len(self.looks)))

    # What it adds up to.

    def counted(self, name: str, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        assert name == "live-places"
        found: dict[str, Counted] = {}
        for told in self._places(seen):
            if told.in_city and told.state == "open" and (scheme == "all-access" or told.access == "public"):
                found[told.id] = Counted(int(self._is_live(told.id, seen)), 1, told.district)
        return found or None

    def _places(self, seen: Seen) -> Sequence[Told]:
        newest: dict[str, Told] = {}
        for told in self.places:
            if told.learnt_at <= min(seen.at, seen.known_at):
                newest[told.id] = told
        return list(newest.values())

    def _is_live(self, place_id: str, seen: Seen) -> bool:
        """Whether the newest count of a category is not older than two intervals of its source."""
        kept: dict[tuple[str, str, str, int], Looked] = {}
        for look in self.looks:
            if look.place_id == place_id:
                kept.setdefault(look.minute, look)
        newest: dict[str, Looked] = {}
        for look in sorted(kept.values(), key=lambda each: (each.taken_at, each.learnt_at, each.order)):
            if look.taken_at <= seen.at and look.learnt_at <= seen.known_at:
                newest[look.category] = look
        return any((seen.at - look.taken_at).total_seconds() <= 2 * _SOURCES[look.source] for look in newest.values())

    def evidence(self, row: Row) -> Iterator[str]:
        yield str(row.evidence["place_row"])
        counts: Any = row.evidence.get("count_rows", ())
        yield from counts


def _place(number: int) -> PlaceFacts:
    access = (Access.PUBLIC, Access.PUBLIC, Access.PUBLIC, Access.PERMIT, Access.PRIVATE)[number % 5]
    pools = (Pool(Category.STANDARD, 40 + number), Pool(Category.EV, 10))
    kind = PlaceKind.ON_STREET if number % 3 == 0 else PlaceKind.GARAGE
    return PlaceFacts("city", f"p{number}", f"停车场{number}", position(number % 4), pools, kind=kind, access=access)
