"""A month of charging: links taken and given, EVSEs removed, statuses in any order, car parks heard of late, vehicles restated."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from cityloop_charging.bays import use_cases as bays
from cityloop_charging.bays.domain import By, Decider
from cityloop_charging.bays.tables import link_version, place_version
from cityloop_charging.bays.views import Happened, PlaceView
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import Access, Current, EvseFacts, EvseUid, Lifecycle, LocationFacts, LocationState
from cityloop_charging.registry.events import location_published
from cityloop_charging.registry.tables import evse_version, location_version
from cityloop_charging.service import SERVICE
from cityloop_charging.status import store as statuses
from cityloop_charging.status import use_cases as status_cases
from cityloop_charging.status.domain import Report, Status
from cityloop_charging.status.tables import evse_status
from cityloop_charging.vehicles import use_cases as vehicles
from cityloop_charging.vehicles.domain import Drive, Statement, VehicleClass, VehicleCount
from cityloop_charging.vehicles.tables import vehicle_registration
from cityloop_common.context import Ctx
from cityloop_common.envelope import EventType, Kind
from cityloop_common.geo import WORLD, Position
from cityloop_common.indicator import Row
from tests.contract.recompute_support import (
    DAYS,
    ELSEWHERE,
    FIRST,
    MICROSECOND,
    Counted,
    History,
    Seen,
    day_of,
    district_of,
    instant,
    is_in_city,
    midnight,
    position,
)

OPERATOR = "999000001"
STATIONS, PLACES = 7, 6
STILL = EvseUid(f"{OPERATOR}*S007*S00702")  # of the station that never changes: what it reports is told below
BY = By(Decider.OFFICER, "somebody")
_PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)
_SAID = (
    *(Status.AVAILABLE, Status.AVAILABLE, Status.AVAILABLE, Status.CHARGING, Status.CHARGING, Status.BLOCKED),
    *(Status.OUTOFORDER, Status.INOPERATIVE, Status.UNKNOWN, Status.REMOVED),
)
_WORKS = {"AVAILABLE", "CHARGING", "RESERVED", "BLOCKED"}
_BROKEN = {"INOPERATIVE", "OUTOFORDER", "PLANNED", "REMOVED"}


@dataclass(frozen=True, slots=True)
class ToldPlace:
    """A version of a car park: since when it is true, and when charging heard of it."""

    id: str
    version: int
    since: datetime
    learnt_at: datetime
    public: bool
    open: bool
    on_street: bool
    in_city: bool
    district: str | None
    bays: int


@dataclass(frozen=True, slots=True)
class ToldStation:
    """A station as its operator described it last; what it does not name is removed."""

    id: str
    learnt_at: datetime
    access: str
    open: bool
    in_city: bool
    district: str | None
    evses: Sequence[EvseFacts]


@dataclass(frozen=True, slots=True)
class ToldLink:
    """In which car park a station stands from then on."""

    station: str
    learnt_at: datetime
    place: str | None


@dataclass(frozen=True, slots=True)
class ToldStatus:
    """What somebody reported; `order` is that of arrival."""

    uid: str
    says: str
    since: datetime
    seq: int
    learnt_at: datetime
    order: int


@dataclass(frozen=True, slots=True)
class ToldVehicles:
    """A stock on a day, whole."""

    on: date
    learnt_at: datetime
    counts: Mapping[str, tuple[int, str | None]]


class ChargingHistory(History):
    """Seven stations, six car parks, three districts."""

    service = SERVICE
    journals = (place_version, link_version, location_version, evse_version, evse_status, vehicle_registration)

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self.places: list[ToldPlace] = []
        self.stations: list[ToldStation] = []
        self.links: list[ToldLink] = []
        self.statuses: list[ToldStatus] = []
        self.vehicles: list[ToldVehicles] = []
        self.facts = {number: _station(number) for number in range(1, STATIONS + 1)}

    async def begin(self, ctx: Ctx[Any]) -> None:
        for number in self.facts:
            self.plan(instant(0, 1), partial(self._tell_station, number=number))
            self._plan_station(number)
            for each in self.facts[number].evses:
                if self.facts[number].uid(each) != STILL:
                    self._plan_statuses(self.facts[number].uid(each))
        for number in range(1, PLACES + 1):
            self._plan_place(number)
        self._plan_vehicles()
        self._plan_edges()

    # Stations, and where they stand.

    def _plan_station(self, number: int) -> None:
        for _ in range(3 if number != STATIONS else 0):
            self.plan(self._some_time(), lambda ctx: self._change_station(ctx, number))
        place, times = f"city-{number % PLACES + 1}", sorted(self._some_time() for _ in range(4))
        self.plan(instant(0, 3 + number), lambda ctx: self._confirm(ctx, number, place))
        if number == STATIONS:
            return  # one stays where it is
        other = f"city-{(number + 1) % PLACES + 1}"
        self.plan(times[0], lambda ctx: self._withdraw(ctx, number, place))
        self.plan(times[1], lambda ctx: self._confirm(ctx, number, other))
        self.plan(times[2], lambda ctx: self._withdraw(ctx, number, other))
        self.plan(times[3], lambda ctx: self._confirm(ctx, number, place))

    def _some_time(self) -> datetime:
        return instant(1, 0) + timedelta(minutes=self.rng.randint(0, (DAYS - 2) * 1_440))

    async def _tell_station(self, ctx: Ctx[Any], number: int) -> None:
        """Told twice; the service hears of its own stations, too."""
        facts = self.facts[number]
        async with ctx.db.write() as tx:
            stored = await registry.put_in(tx, ctx, [facts], source="test", within=WORLD)
            assert not await registry.put_in(tx, ctx, [facts], source="test", within=WORLD)
        async with ctx.db.write() as tx:
            for each in stored:
                await bays.on_location(tx, ctx, location_published(each, source=ctx.source), Happened())
        is_open, where = facts.state is LocationState.OPEN, (is_in_city(facts.position), district_of(facts.position))
        self.stations.append(ToldStation(facts.id, self.clock.now(), facts.access.value, is_open, *where, facts.evses))

    async def _change_station(self, ctx: Ctx[Any], number: int) -> None:
        """An EVSE goes, comes back, is built, gets another bay; or the station takes other people."""
        facts = self.facts[number]
        whole = _station(number).evses
        what = self.rng.choice(("less", "less", "whole", "bay", "access", "moved", "closed"))
        if what == "less" and len(facts.evses) > 1:
            facts = replace(facts, evses=tuple(self.rng.sample(facts.evses, len(facts.evses) - 1)))
        elif what == "bay":
            facts = replace(facts, evses=tuple(replace(each, bay_no=self.rng.choice((None, "A1", "a 1", "A2"))) for each in facts.evses))
        elif what == "access":
            facts = replace(facts, access=self.rng.choice([each for each in Access if each is not facts.access]))
        elif what == "moved":
            facts = replace(facts, position=self.rng.choice((ELSEWHERE, *(position(number) for number in range(4)))))
        elif what == "closed":
            facts = replace(facts, state=LocationState.CLOSED if facts.state is LocationState.OPEN else LocationState.OPEN)
        else:
            facts = replace(facts, evses=tuple(replace(each, lifecycle=Lifecycle.IN_SERVICE) for each in whole))
        if facts.content_hash() != self.facts[number].content_hash():
            self.facts[number] = facts
            await self._tell_station(ctx, number)

    async def _confirm(self, ctx: Ctx[Any], number: int, place: str) -> None:
        """Twice: the second time changes nothing."""
        station = self.facts[number].id
        assert await bays.confirm(ctx, station, place, BY) == await bays.confirm(ctx, station, place, BY)
        self.links.append(ToldLink(station, self.clock.now(), place))

    async def _withdraw(self, ctx: Ctx[Any], number: int, place: str) -> None:
        station = self.facts[number].id
        for _ in range(2):
            async with ctx.db.write() as tx:
                await bays.withdraw_in(tx, ctx, station, place, BY)
        self.links.append(ToldLink(station, self.clock.now(), None))

    # Statuses.

    def _plan_statuses(self, uid: EvseUid) -> None:
        for number in range(DAYS):
            for _ in range(self.rng.choice((0, 1, 2, 4))):
                says = self.rng.choice(_SAID)
                self._plan_status(uid, says, instant(number, self.rng.uniform(0, 24)), self.late(number, prompt=0.75))

    def _plan_status(self, uid: EvseUid, says: Status, since: datetime, late: timedelta, *, seq: int = 0) -> None:
        self.plan(since + late, lambda ctx: self._report(ctx, uid, says, since, seq))
        if self.rng.random() < 0.2:
            again = since + late + timedelta(minutes=self.rng.randint(0, 2_000))
            self.plan(again, lambda ctx: self._report(ctx, uid, says, since, seq))

    async def _report(self, ctx: Ctx[Any], uid: EvseUid, says: Status, since: datetime, seq: int) -> None:
        async with ctx.db.write() as tx:
            known = await statuses.known(tx, [uid])
            if uid in known:
                await status_cases.record_in(tx, ctx, [Report(known[uid], says, since, "test", seq)])
                self.statuses.append(ToldStatus(uid, says.value, since, seq, self.clock.now(), len(self.statuses)))

    # Car parks.

    def _plan_place(self, number: int) -> None:
        heard = instant(0, 2)
        since = [instant(0, 1.5), *sorted(self._some_time() for _ in range(6))]
        for version, at in enumerate(since, 1):
            view = self._view(number, version)
            heard = max(heard + timedelta(seconds=1), at + self.late(max(0, (at - midnight(0)).days), prompt=0.4))
            self.plan(heard, partial(self._hear, view=view, version=version, since=at))
            if self.rng.random() < 0.4:
                again = heard + timedelta(minutes=self.rng.randint(0, 5_000))
                self.plan(again, partial(self._hear, view=view, version=version, since=at))

    def _view(self, number: int, version: int) -> PlaceView:
        first = version == 1
        at = ELSEWHERE if not first and self.rng.random() < 0.1 else position(number % 4)
        return PlaceView(
            place_id=f"city-{number}",
            name=f"停车场{number}",
            access="public" if number != PLACES or self.rng.random() < 0.5 else "permit",
            state="open" if first or self.rng.random() < 0.7 else "closed",
            kind="on_street" if number % 3 == 0 else "garage",
            lon=at.lon,
            lat=at.lat,
            total_bays=self.rng.choice((1, 2, 3, 20, 40)),
        )

    async def _hear(self, ctx: Ctx[Any], view: PlaceView, version: int, since: datetime) -> None:
        event = _PUBLISHED.event(
            view, id=f"{view.place_id}-{version}", key=view.place_id, sequence=version, time=since, source="/cityloop/parking"
        )
        async with ctx.db.write() as tx:
            await bays.on_place(tx, ctx, event, view)
        if version > max((each.version for each in self.places if each.id == view.place_id), default=0):
            at = Position(view.lon, view.lat)
            self.places.append(
                ToldPlace(
                    view.place_id, version, since, self.clock.now(), view.access == "public", view.state == "open",
                    view.kind == "on_street", is_in_city(at), district_of(at), view.total_bays,
                )
            )  # fmt: skip

    # Vehicles.

    def _plan_vehicles(self) -> None:
        days = (date(2025, 12, 1), date(2025, 12, 24), date(2026, 1, 1), date(2026, 1, 10))
        for on in days:
            number = (on - FIRST).days
            stated = max(instant(1, 9), instant(number, 9) + timedelta(days=self.rng.randint(0, 3)))
            for restated in range(self.rng.randint(1, 3)):
                counts = self._counts()
                at = stated + timedelta(days=3 * restated, minutes=self.rng.randint(0, 900))
                self.plan(at, partial(self._state, on=on, counts=counts))
                self.plan(at + timedelta(hours=1), partial(self._state, on=on, counts=counts))

    def _counts(self) -> list[VehicleCount]:
        kinds = [(each, standard) for each in (VehicleClass.PASSENGER, VehicleClass.BUS) for standard in (True, False)]
        chosen = self.rng.sample(kinds, self.rng.randint(1, len(kinds)))
        where = (None, "d1", "d2")
        return [VehicleCount(each, Drive.BEV, standard, self.rng.randint(1, 40), self.rng.choice(where)) for each, standard in chosen]

    async def _state(self, ctx: Ctx[Any], on: date, counts: Sequence[VehicleCount]) -> None:
        await vehicles.state(ctx, Statement(on, "registry", tuple(counts)))
        told = {
            f"vehicles/{each.vehicle_class.value}/bev/standard/{each.district or ''}": (each.vehicles, each.district)
            for each in counts
            if each.standard
        }
        before = [each for each in self.vehicles if each.on == on]
        self.vehicles.append(ToldVehicles(on, self.clock.now(), told if told or not before else {}))

    def _plan_edges(self) -> None:
        """Statuses at the very instants on which a figure turns, and two of one instant that their sequence orders."""
        uids = [self.facts[number].uid(self.facts[number].evses[0]) for number in (STATIONS, STATIONS - 1)]
        ends = midnight(11)
        known_at = ends + timedelta(minutes=10)
        broken, works = Status.OUTOFORDER, Status.AVAILABLE
        self._plan_status(uids[0], broken, ends - MICROSECOND, MICROSECOND)
        self._plan_status(uids[0], works, ends, timedelta(seconds=1))
        self._plan_status(uids[1], works, ends - timedelta(minutes=3), timedelta(minutes=13))
        self._plan_status(uids[1], broken, ends - timedelta(minutes=2), known_at + MICROSECOND - (ends - timedelta(minutes=2)))
        self._plan_late_between_repetitions()
        for seq, says in ((2, works), (1, broken)):
            self._plan_status(uids[0], says, instant(14, 23.5), timedelta(minutes=5 * seq), seq=seq)

    def _plan_late_between_repetitions(self) -> None:
        """That it was broken is learnt when it has long been heard of as working again, and once when it does something else by then."""
        soon = timedelta(seconds=20)
        works, busy, broken = Status.AVAILABLE, Status.CHARGING, Status.OUTOFORDER
        for day, hour in ((17, 10), (17, 23.8), (18, 0.1), (18, 8), (20, 10), (20, 21)):
            self._plan_status(STILL, works, instant(day, hour), soon)
        self._plan_status(STILL, busy, instant(21, 12), soon)
        self._plan_status(STILL, broken, instant(17, 22), timedelta(hours=11))
        self._plan_status(STILL, broken, instant(20, 15), timedelta(hours=40))
        self._plan_status(STILL, Status.REMOVED, instant(24, 9), timedelta(hours=50))
        self._plan_status(STILL, works, instant(27, 9), soon)

    # What it adds up to.

    def counted(self, name: str, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        if name == "ev-bay-share":
            return self._shares(scheme, seen)
        if name == "facilities":
            return self._facilities(scheme, seen)
        return self._ratio(scheme, seen)

    def _shares(self, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        places = self._places(seen)
        found = {}
        for place in places:
            if not (place.in_city and place.public and place.open) or (scheme == "off-street" and place.on_street):
                continue
            numbers: set[str] = set()
            without = 0
            for station, evse in self._evses(seen):
                if self._place_of(station.id, seen) != place.id or not self._counts_as(scheme, station, evse, seen):
                    continue
                if evse.bay_no is None:
                    without += 1
                else:
                    numbers.add(unicodedata.normalize("NFKC", evse.bay_no).casefold().replace(" ", ""))
            found[place.id] = Counted(min(place.bays, len(numbers) + without), place.bays, place.district)
        return found if places else None

    def _facilities(self, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        if not any(station.in_city for station, _ in self._evses(seen)):
            return None
        accepted = {"public"} if scheme == "public" else {"public", "compound"}
        found = {}
        for station, evse in self._evses(seen):
            uid = f"{station.id}*{evse.connector_id}"
            there = evse.lifecycle is Lifecycle.IN_SERVICE and self._status(uid, seen) not in {"PLANNED", "REMOVED"}
            if there and station.in_city and station.access in accepted:
                found[uid] = Counted(1, 0, station.district)
        return found

    def _ratio(self, scheme: str, seen: Seen) -> Mapping[str, Counted] | None:
        known = [each for each in self.vehicles if each.on <= day_of(seen.at) and each.learnt_at <= seen.known_at]
        if not known or not any(station.in_city for station, _ in self._evses(seen)):
            return None
        stock = max(known, key=lambda each: (each.on, each.learnt_at))
        found = {key: Counted(0, count, district) for key, (count, district) in stock.counts.items()}
        for station, evse in self._evses(seen):
            uid = f"{station.id}*{evse.connector_id}"
            if station.in_city and station.access == "public" and evse.standard and self._counts_as(scheme, station, evse, seen):
                found[uid] = Counted(1, 0, station.district)
        return found

    def _counts_as(self, scheme: str, station: ToldStation, evse: EvseFacts, seen: Seen) -> bool:
        says = self._status(f"{station.id}*{evse.connector_id}", seen)
        works = says in _WORKS if scheme == "reporting" else says not in _BROKEN
        return station.open and evse.lifecycle is Lifecycle.IN_SERVICE and works

    def _status(self, uid: str, seen: Seen) -> str:
        """What the newest report says."""
        known = [each for each in self.statuses if each.uid == uid and each.since <= seen.at and each.learnt_at <= seen.known_at]
        newest = max(known, key=lambda each: (each.since, each.seq, each.learnt_at, each.order), default=None)
        return "UNKNOWN" if newest is None else newest.says

    def _places(self, seen: Seen) -> Sequence[ToldPlace]:
        newest: dict[str, ToldPlace] = {}
        for each in sorted(self.places, key=lambda each: each.since):
            if each.since <= seen.at and each.learnt_at <= seen.known_at:
                newest[each.id] = each
        return list(newest.values())

    def _evses(self, seen: Seen) -> Iterator[tuple[ToldStation, EvseFacts]]:
        newest: dict[str, ToldStation] = {}
        for each in self.stations:
            if each.learnt_at <= min(seen.at, seen.known_at):
                newest[each.id] = each
        for station in newest.values():
            for evse in station.evses:
                yield station, evse

    def _place_of(self, station: str, seen: Seen) -> str | None:
        known = [each for each in self.links if each.station == station and each.learnt_at <= min(seen.at, seen.known_at)]
        return known[-1].place if known else None

    def decided_by(self, key: str, row: Row | None) -> Iterable[str]:
        """A stock is stated as a whole: what a newer one does not name is gone."""
        kinds = [(each.value, district) for each in (VehicleClass.PASSENGER, VehicleClass.BUS) for district in ("", "d1", "d2")]
        stock = [f"vehicles/{kind}/bev/{standard}/{district}" for kind, district in kinds for standard in ("standard", "other")]
        return stock if key in stock else ()

    def evidence(self, row: Row) -> Iterator[str]:
        rows: Any = row.evidence["rows"]
        yield from rows


def _station(number: int) -> LocationFacts:
    id = f"S{number:03d}"
    evses = tuple(
        EvseFacts(
            f"{id}0{count}",
            60_000,
            Current.DC,
            standard=(number + count) % 4 != 0,
            bay_no=f"A{count}" if number % 2 else None,
            lifecycle=Lifecycle.PLANNED if number == 3 and count == 2 else Lifecycle.IN_SERVICE,
        )
        for count in range(1, 2 + number % 3)
    )
    access = {5: Access.COMPOUND, 6: Access.PRIVATE}.get(number, Access.PUBLIC)
    return LocationFacts(OPERATOR, id, f"充电站{number}", position(number % 4), evses, access=access)
