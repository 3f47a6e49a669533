"""The problem and the plan as JSON: the body of a plan request, and what goes to the solver's process and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cityloop_common import geo
from cityloop_common.geo import WORLD, Bounds, Datum, Position
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import (
    FARTHEST_PRIZE_M,
    FARTHEST_VEHICLE_COST_M,
    FAULTS_TOLD,
    HEAVIEST_KG,
    LARGEST_DAY,
    LARGEST_DM3,
    LATEST_S,
    LONGEST_ID,
    LONGEST_SERVICE_S,
    MOST_CONTAINERS,
    MOST_EVEN_PERCENT,
    MOST_SECONDS,
    MOST_SITES,
    MOST_STOPS,
    MOST_TRUCKS,
    MOST_WINDOWS,
    Caps,
    Engine,
    Fault,
    InvalidProblem,
    Lunch,
    Minimise,
    Options,
    Plan,
    Problem,
    Round,
    Site,
    Stop,
    Truck,
    Underway,
    Window,
    told,
)
from cityloop_waste.roads.domain import TravelSource

Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
LocalSeconds = Annotated[int, Field(ge=0, le=LATEST_S, description="Seconds of the local day; after midnight it counts on beyond 86,400.")]
ServiceSeconds = Annotated[int, Field(ge=0, le=LONGEST_SERVICE_S)]
Streams = Annotated[list[Id], Field(min_length=1, max_length=20)]
DayTotal = Annotated[int | None, Field(ge=0, le=LARGEST_DAY)]
Cost = Annotated[int, Field(ge=0, le=FARTHEST_VEHICLE_COST_M)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PositionBody(_Body):
    """Longitude and latitude in degrees, in the problem's datum."""

    lon: float
    lat: float


class WindowBody(_Body):
    """From `start_s` to `end_s`, both included."""

    start_s: LocalSeconds
    end_s: LocalSeconds


Windows = Annotated[list[WindowBody], Field(default_factory=list, max_length=MOST_WINDOWS)]


class StopBody(_Body):
    """A collection point; `windows` say when its service may start, left out = at any time.

    Its service takes `service_s` and `container_s` more for each of its `containers`. `trucks` names the only ones that may come,
    left out = any of the stream. With a `prize_m` it is left out when serving it would lengthen the plan by more metres (seconds
    where time is minimised).
    """

    id: Id
    position: PositionBody
    demand_kg: int = Field(ge=0, le=HEAVIEST_KG)
    demand_dm3: int = Field(ge=0, le=LARGEST_DM3)
    service_s: ServiceSeconds
    windows: Windows
    containers: int = Field(0, ge=0, le=MOST_CONTAINERS)
    container_s: int = Field(0, ge=0, le=LONGEST_SERVICE_S)
    trucks: list[Id] = Field(default_factory=list, max_length=MOST_TRUCKS)
    prize_m: int | None = Field(None, ge=0, le=FARTHEST_PRIZE_M)


class CapsBody(_Body):
    """Totals of a truck's day over all its trips; what is left out has no cap."""

    kg: DayTotal = None
    dm3: DayTotal = None
    stops: DayTotal = None
    containers: DayTotal = None


class UnderwayBody(_Body):
    """A truck that is out already: free at `position` from `at_s` on, with this load on board; `taken` is what it has taken today."""

    position: PositionBody
    at_s: LocalSeconds
    load_kg: int = Field(0, ge=0, le=HEAVIEST_KG)
    load_dm3: int = Field(0, ge=0, le=LARGEST_DM3)
    taken: CapsBody = Field(default_factory=CapsBody)


class TruckBody(_Body):
    """A truck on duty. `gross_mass_kg` is what it weighs when full: roads that bear less are closed to it.

    `day` is the most it takes in a day over all trips; it may be back `overtime_s` after its shift, at a cost.
    """

    id: Id
    capacity_kg: int = Field(ge=1, le=HEAVIEST_KG)
    capacity_dm3: int = Field(ge=1, le=LARGEST_DM3)
    shift: WindowBody
    streams: Streams
    gross_mass_kg: int | None = Field(None, ge=1, le=HEAVIEST_KG)
    day: CapsBody = Field(default_factory=CapsBody)
    overtime_s: int = Field(0, ge=0, le=LATEST_S)
    underway: UnderwayBody | None = None


class SiteBody(_Body):
    """A place to unload; `service_s` and `queue_s` count at each unload, which starts within `opening` (left out = at any time).

    It takes at most `day_kg` a day.
    """

    id: Id
    position: PositionBody
    streams: Streams
    service_s: ServiceSeconds
    queue_s: ServiceSeconds = 0
    opening: Windows
    day_kg: DayTotal = None


class LunchBody(_Body):
    """The break that all trucks take together, `duration_s` long; it starts from `earliest_s` to `latest_s`."""

    earliest_s: LocalSeconds
    latest_s: LocalSeconds
    duration_s: int = Field(ge=1, le=LONGEST_SERVICE_S)


class OptionsBody(_Body):
    """`seconds` to search; a truck that goes out costs as much as `vehicle_cost_m` metres, an hour of overtime `overtime_m`.

    Where time is minimised these are seconds. The way may be longer by `even_percent` for hours that are more even.
    """

    seconds: int = Field(Options().seconds, ge=1, le=MOST_SECONDS)
    vehicle_cost_m: Cost = Options().vehicle_cost_m
    minimise: Minimise = Field(Options().minimise, strict=False)
    overtime_m: Cost = Options().overtime_m
    even_percent: int = Field(Options().even_percent, ge=0, le=MOST_EVEN_PERCENT)
    engine: Engine = Field(Options().engine, strict=False)


class RoundBody(_Body):
    """What a truck served the day before, in its order; what today's problem does not have is passed over."""

    truck: Id
    stops: list[Id] = Field(max_length=MOST_STOPS)


class ProblemBody(_Body):
    """One stream on one day. `datum` is needed: wgs84, gcj02, bd09 or twd97."""

    stream: Id
    datum: str | None = Field(None, max_length=20, examples=["wgs84"])
    depot: PositionBody
    stops: list[StopBody] = Field(min_length=1, max_length=MOST_STOPS)
    trucks: list[TruckBody] = Field(min_length=1, max_length=MOST_TRUCKS)
    sites: list[SiteBody] = Field(min_length=1, max_length=MOST_SITES)
    options: OptionsBody = Field(default_factory=OptionsBody)
    lunch: LunchBody | None = None
    yesterday: list[RoundBody] = Field(default_factory=list, max_length=MOST_TRUCKS)

    def problem(self, *, within: Bounds = WORLD) -> Problem:
        """The checked problem in WGS-84. Raises BadPosition without a usable datum, InvalidProblem with every fault and its place."""
        places = _Places(geo.datum(self.datum), within)
        problem = Problem(
            stream=self.stream,
            depot=places.at("depot", self.depot),
            stops=tuple(stop_of(stop, places.at(f"stops[{n}].position", stop.position)) for n, stop in enumerate(self.stops)),
            trucks=tuple(_truck(truck, places, f"trucks[{n}]") for n, truck in enumerate(self.trucks)),
            sites=tuple(_site(site, places.at(f"sites[{n}].position", site.position)) for n, site in enumerate(self.sites)),
            options=Options(**self.options.model_dump()),
            lunch=None if self.lunch is None else Lunch(**self.lunch.model_dump()),
            yesterday=tuple(Round(each.truck, tuple(each.stops)) for each in self.yesterday),
        )
        if places.faults:
            raise _invalid(places.faults)
        check(problem)
        return problem


def read(document: object, *, within: Bounds = WORLD) -> Problem:
    """The checked problem of a document of ProblemBody's form. Raises InvalidProblem, BadPosition."""
    try:
        body = ProblemBody.model_validate(document)
    except ValidationError as error:
        raise _invalid([Fault(_path(each["loc"]), each["msg"]) for each in error.errors(include_url=False)]) from error
    return body.problem(within=within)


def write(problem: Problem) -> dict[str, Any]:
    """The document that `read` reads back as the same problem."""
    document: dict[str, Any] = _plain(problem)
    return document | {"datum": Datum.WGS84.value}


def write_plan(plan: Plan, *, stream: str, travel: TravelSource) -> dict[str, Any]:
    """A verified plan as `work.solve` answers it."""
    return {
        "stream": stream,
        "travel": travel.value,
        "vehicles": len(plan.routes),
        "cost": {"distance_m": plan.distance_m, "duration_s": plan.duration_s},
        "routes": _plain(plan.routes),
        "unserved": _plain(plan.unserved),
        "verified": True,
    }


class _Places:
    """Turns the document's positions into WGS-84 and keeps what is wrong with them."""

    def __init__(self, datum: Datum, within: Bounds) -> None:
        self._datum, self._within = datum, within
        self.faults: list[Fault] = []

    def at(self, path: str, body: PositionBody) -> Position:
        try:
            return geo.to_wgs84(body.lon, body.lat, self._datum, within=self._within)
        except geo.OutOfBounds as error:
            self.faults.append(Fault(path, error.detail))
            return Position(0.0, 0.0)


def stop_of(body: StopBody, position: Position) -> Stop:
    """A body's stop; its service is that of its containers too."""
    return Stop(
        id=body.id,
        position=position,
        demand_kg=body.demand_kg,
        demand_dm3=body.demand_dm3,
        service_s=body.service_s + body.containers * body.container_s,
        windows=_windows(body.windows),
        containers=body.containers,
        trucks=tuple(body.trucks),
        prize_m=body.prize_m,
    )


def _truck(body: TruckBody, places: _Places, at: str) -> Truck:
    return Truck(
        id=body.id,
        capacity_kg=body.capacity_kg,
        capacity_dm3=body.capacity_dm3,
        shift=_window(body.shift),
        streams=tuple(body.streams),
        gross_mass_kg=body.gross_mass_kg,
        day=_caps(body.day),
        overtime_s=body.overtime_s,
        underway=None if body.underway is None else _underway(body.underway, places.at(f"{at}.underway.position", body.underway.position)),
    )


def _underway(body: UnderwayBody, position: Position) -> Underway:
    return Underway(position, body.at_s, body.load_kg, body.load_dm3, _caps(body.taken))


def _caps(body: CapsBody) -> Caps:
    return Caps(body.kg, body.dm3, body.stops, body.containers)


def _site(body: SiteBody, position: Position) -> Site:
    return Site(body.id, position, tuple(body.streams), body.service_s + body.queue_s, _windows(body.opening), body.day_kg)


def _windows(bodies: Sequence[WindowBody]) -> tuple[Window, ...]:
    return tuple(map(_window, bodies))


def _window(body: WindowBody) -> Window:
    return Window(body.start_s, body.end_s)


def _plain(value: Any) -> Any:
    """A value of the domain as JSON: the names of its fields are those of the document."""
    if isinstance(value, Position):
        return value._asdict()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _path(loc: Sequence[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".") or "problem"


def _invalid(faults: Sequence[Fault]) -> InvalidProblem:
    return InvalidProblem("; ".join(str(fault) for fault in faults[:FAULTS_TOLD]), faults=told(faults))
