"""The problem and the plan as JSON: the body of a plan request, and what goes to the solver's process and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cityloop_common import geo
from cityloop_common.geo import WORLD, Bounds, Datum, Position
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import (
    FARTHEST_VEHICLE_COST_M,
    FAULTS_TOLD,
    HEAVIEST_KG,
    LARGEST_DM3,
    LATEST_S,
    LONGEST_ID,
    LONGEST_SERVICE_S,
    MOST_SECONDS,
    MOST_SITES,
    MOST_STOPS,
    MOST_TRUCKS,
    MOST_WINDOWS,
    Fault,
    InvalidProblem,
    Options,
    Plan,
    Problem,
    Route,
    Site,
    Stop,
    Truck,
    Window,
    told,
)
from cityloop_waste.roads.domain import TravelSource

Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
LocalSeconds = Annotated[int, Field(ge=0, le=LATEST_S, description="Seconds of the local day; after midnight it counts on beyond 86,400.")]
ServiceSeconds = Annotated[int, Field(ge=0, le=LONGEST_SERVICE_S)]
Streams = Annotated[list[Id], Field(min_length=1, max_length=20)]


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


class StopBody(_Body):
    """A collection point; `windows` say when its service may start, left out = at any time."""

    id: Id
    position: PositionBody
    demand_kg: int = Field(ge=0, le=HEAVIEST_KG)
    demand_dm3: int = Field(ge=0, le=LARGEST_DM3)
    service_s: ServiceSeconds
    windows: list[WindowBody] = Field(default_factory=list, max_length=MOST_WINDOWS)


class TruckBody(_Body):
    """A truck on duty. `gross_mass_kg` is what it weighs when full: roads that bear less are closed to it."""

    id: Id
    capacity_kg: int = Field(ge=1, le=HEAVIEST_KG)
    capacity_dm3: int = Field(ge=1, le=LARGEST_DM3)
    shift: WindowBody
    streams: Streams
    gross_mass_kg: int | None = Field(None, ge=1, le=HEAVIEST_KG)


class SiteBody(_Body):
    """A place to unload; `service_s` counts at each unload."""

    id: Id
    position: PositionBody
    streams: Streams
    service_s: ServiceSeconds


class OptionsBody(_Body):
    """`seconds` to search; a truck that goes out costs as much as `vehicle_cost_m` metres."""

    seconds: int = Field(Options().seconds, ge=1, le=MOST_SECONDS)
    vehicle_cost_m: int = Field(Options().vehicle_cost_m, ge=0, le=FARTHEST_VEHICLE_COST_M)


class ProblemBody(_Body):
    """One stream on one day. `datum` is needed: wgs84, gcj02, bd09 or twd97."""

    stream: Id
    datum: str | None = Field(None, max_length=20, examples=["wgs84"])
    depot: PositionBody
    stops: list[StopBody] = Field(min_length=1, max_length=MOST_STOPS)
    trucks: list[TruckBody] = Field(min_length=1, max_length=MOST_TRUCKS)
    sites: list[SiteBody] = Field(min_length=1, max_length=MOST_SITES)
    options: OptionsBody = Field(default_factory=OptionsBody)

    def problem(self, *, within: Bounds = WORLD) -> Problem:
        """The checked problem in WGS-84. Raises BadPosition without a usable datum, InvalidProblem with every fault and its place."""
        places = _Places(geo.datum(self.datum), within)
        problem = Problem(
            stream=self.stream,
            depot=places.at("depot", self.depot),
            stops=tuple(_stop(stop, places.at(f"stops[{n}].position", stop.position)) for n, stop in enumerate(self.stops)),
            trucks=tuple(_truck(truck) for truck in self.trucks),
            sites=tuple(_site(site, places.at(f"sites[{n}].position", site.position)) for n, site in enumerate(self.sites)),
            options=Options(self.options.seconds, self.options.vehicle_cost_m),
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
    return {
        "stream": problem.stream,
        "datum": Datum.WGS84.value,
        "depot": problem.depot._asdict(),
        "stops": [
            {
                "id": stop.id,
                "position": stop.position._asdict(),
                "demand_kg": stop.demand_kg,
                "demand_dm3": stop.demand_dm3,
                "service_s": stop.service_s,
                "windows": [_window(window) for window in stop.windows],
            }
            for stop in problem.stops
        ],
        "trucks": [
            {
                "id": truck.id,
                "capacity_kg": truck.capacity_kg,
                "capacity_dm3": truck.capacity_dm3,
                "shift": _window(truck.shift),
                "streams": list(truck.streams),
                "gross_mass_kg": truck.gross_mass_kg,
            }
            for truck in problem.trucks
        ],
        "sites": [
            {"id": site.id, "position": site.position._asdict(), "streams": list(site.streams), "service_s": site.service_s}
            for site in problem.sites
        ],
        "options": {"seconds": problem.options.seconds, "vehicle_cost_m": problem.options.vehicle_cost_m},
    }


def write_plan(plan: Plan, *, stream: str, travel: TravelSource) -> dict[str, Any]:
    """A verified plan as `work.solve` answers it."""
    return {
        "stream": stream,
        "travel": travel.value,
        "vehicles": len(plan.routes),
        "cost": {"distance_m": plan.distance_m, "duration_s": plan.duration_s},
        "routes": [_route(route) for route in plan.routes],
        "unserved": [{"stop": each.stop, "reason": each.reason.value} for each in plan.unserved],
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


def _stop(body: StopBody, position: Position) -> Stop:
    windows = tuple(Window(window.start_s, window.end_s) for window in body.windows)
    return Stop(body.id, position, body.demand_kg, body.demand_dm3, body.service_s, windows)


def _truck(body: TruckBody) -> Truck:
    shift = Window(body.shift.start_s, body.shift.end_s)
    return Truck(body.id, body.capacity_kg, body.capacity_dm3, shift, tuple(body.streams), body.gross_mass_kg)


def _site(body: SiteBody, position: Position) -> Site:
    return Site(body.id, position, tuple(body.streams), body.service_s)


def _window(window: Window) -> dict[str, int]:
    return {"start_s": window.start_s, "end_s": window.end_s}


def _route(route: Route) -> dict[str, Any]:
    return {
        "truck": route.truck,
        "distance_m": route.distance_m,
        "duration_s": route.duration_s,
        "visits": [
            {
                "kind": visit.kind.value,
                "id": visit.id,
                "arrival_s": visit.arrival_s,
                "start_s": visit.start_s,
                "departure_s": visit.departure_s,
                "load_kg": visit.load_kg,
                "load_dm3": visit.load_dm3,
            }
            for visit in route.visits
        ],
    }


def _path(loc: Sequence[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".") or "problem"


def _invalid(faults: Sequence[Fault]) -> InvalidProblem:
    return InvalidProblem("; ".join(str(fault) for fault in faults[:FAULTS_TOLD]), faults=told(faults))
