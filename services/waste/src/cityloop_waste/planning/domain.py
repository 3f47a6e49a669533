"""A day of one stream, and the plan for it: what must be collected, who may do it, and what each truck drives.

Times are seconds of the local day of the plan (a shift that goes past midnight counts on beyond 86,400).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cityloop_common import errors
from cityloop_common.geo import WORLD, Position

MOST_STOPS = 1_000
MOST_TRUCKS = 100
MOST_SITES = 50
MOST_WINDOWS = 8
LATEST_S = 2 * 86_400
HEAVIEST_KG = 100_000
LARGEST_DM3 = 200_000
LONGEST_SERVICE_S = 8 * 3_600
MOST_SECONDS = 600
FARTHEST_VEHICLE_COST_M = 10_000_000
LONGEST_ID = 80
FAULTS_TOLD = 20


class PlanningError(errors.CityLoopError):
    """What can go wrong with a plan::

    PlanningError
    ├── InvalidProblem 422   it cannot be true: nothing is planned; `faults` says where and why
    ├── NoPlanFound 503      the search ended before its first plan
    └── PlanRefused 500      the verifier refused the engine's plan; `faults` names each broken rule
    """


class InvalidProblem(PlanningError, errors.Invalid):
    slug, title = "problem-invalid", "The problem cannot be planned"


class NoPlanFound(PlanningError, errors.Unavailable):
    slug, title = "no-plan-found", "The search ended before its first plan"


class PlanRefused(PlanningError):
    slug, status, title = "plan-refused", 500, "The plan breaks a rule"


@dataclass(frozen=True, slots=True)
class Window:
    """When a service may start, both ends included, or when a truck is on duty."""

    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A collection point and what stands there today. Without windows it may be served at any time of a shift."""

    id: str
    position: Position
    demand_kg: int
    demand_dm3: int
    service_s: int
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Truck:
    """A vehicle on duty: it leaves the depot and is back, empty, within its shift.

    `gross_mass_kg` (loaded) decides which roads it may use; None = no road refuses it.
    """

    id: str
    capacity_kg: int
    capacity_dm3: int
    shift: Window
    streams: tuple[str, ...]
    gross_mass_kg: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where loads are tipped; `service_s` counts at each unload, weighing included."""

    id: str
    position: Position
    streams: tuple[str, ...]
    service_s: int


@dataclass(frozen=True, slots=True)
class Options:
    """How long to search, and what a truck that goes out costs beside the metres that all of them drive."""

    seconds: int = 30
    vehicle_cost_m: int = 20_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One stream on one day."""

    stream: str
    depot: Position
    stops: tuple[Stop, ...]
    trucks: tuple[Truck, ...]
    sites: tuple[Site, ...]
    options: Options = field(default_factory=Options)

    def positions(self) -> tuple[Position, ...]:
        """Every place of the problem in the order of matrix rows: depot, stops, sites."""
        return (self.depot, *(stop.position for stop in self.stops), *(site.position for site in self.sites))


class Reason(StrEnum):
    """Why a stop is not in the plan: the first of these that is true of it.

    All but the last are facts of the problem: no truck could serve the stop even if it served nothing else that day, at any
    site; `window` when it could at another hour. `not-reached` says that some truck could, and the search found no room for it
    in its time.
    """

    NO_VEHICLE = "no-vehicle-for-stream"
    NO_SITE = "no-site-for-stream"
    TOO_MUCH = "exceeds-capacity-of-all-vehicles"
    UNREACHABLE = "unreachable"
    NOT_ENOUGH_TIME = "not-enough-time"
    WINDOW = "window"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True, slots=True)
class Unserved:
    """A stop that nobody serves, and why."""

    stop: str
    reason: Reason


class VisitKind(StrEnum):
    """What a truck does where it is."""

    DEPOT_START = "depot-start"
    STOP = "stop"
    UNLOAD = "unload"
    DEPOT_END = "depot-end"


@dataclass(frozen=True, slots=True)
class Visit:
    """A truck at a place: it waits from `arrival_s` to `start_s`; the load is what it carries when it leaves.

    `id` names the stop or the site; None at the depot.
    """

    kind: VisitKind
    id: str | None
    arrival_s: int
    start_s: int
    departure_s: int
    load_kg: int
    load_dm3: int


@dataclass(frozen=True, slots=True)
class Route:
    """A truck's day from the depot to the depot; `duration_s` counts from leaving to being back."""

    truck: str
    visits: tuple[Visit, ...]
    distance_m: int
    duration_s: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Routes of the trucks that go out, and the stops that stay unserved. Not yet verified: see verifier."""

    routes: tuple[Route, ...]
    unserved: tuple[Unserved, ...]

    @property
    def distance_m(self) -> int:
        """Metres of all routes."""
        return sum(route.distance_m for route in self.routes)

    @property
    def duration_s(self) -> int:
        """Truck seconds of all routes."""
        return sum(route.duration_s for route in self.routes)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong: where (a path like `stops[3].demand_kg`, or a truck and its visit) and what."""

    at: str
    text: str

    def __str__(self) -> str:
        return f"{self.at}: {self.text}"


def check(problem: Problem) -> None:
    """Refuses what no city can mean. Raises InvalidProblem with every fault (the first 20) and its place."""
    faults = list(_faults(problem))
    if faults:
        raise InvalidProblem("; ".join(str(fault) for fault in faults[:FAULTS_TOLD]), faults=told(faults))


def told(faults: Sequence[Fault]) -> list[dict[str, str]]:
    """Faults as members of a problem document."""
    return [{"at": fault.at, "text": fault.text} for fault in faults[:FAULTS_TOLD]]


def _faults(problem: Problem) -> Iterator[Fault]:
    yield from _identifier("stream", problem.stream)
    yield from _position("depot", problem.depot)
    yield from _number("options.seconds", problem.options.seconds, 1, MOST_SECONDS)
    yield from _number("options.vehicle_cost_m", problem.options.vehicle_cost_m, 0, FARTHEST_VEHICLE_COST_M)
    yield from _listed("stops", [stop.id for stop in problem.stops], MOST_STOPS)
    yield from _listed("trucks", [truck.id for truck in problem.trucks], MOST_TRUCKS)
    yield from _listed("sites", [site.id for site in problem.sites], MOST_SITES)
    for number, stop in enumerate(problem.stops):
        yield from _stop(f"stops[{number}]", stop)
    for number, truck in enumerate(problem.trucks):
        yield from _truck(f"trucks[{number}]", truck)
    for number, site in enumerate(problem.sites):
        yield from _position(f"sites[{number}]", site.position)
        yield from _number(f"sites[{number}].service_s", site.service_s, 0, LONGEST_SERVICE_S)
        yield from _streams(f"sites[{number}]", site.streams)


def _stop(at: str, stop: Stop) -> Iterator[Fault]:
    yield from _position(at, stop.position)
    yield from _number(f"{at}.demand_kg", stop.demand_kg, 0, HEAVIEST_KG)
    yield from _number(f"{at}.demand_dm3", stop.demand_dm3, 0, LARGEST_DM3)
    yield from _number(f"{at}.service_s", stop.service_s, 0, LONGEST_SERVICE_S)
    if len(stop.windows) > MOST_WINDOWS:
        yield Fault(f"{at}.windows", f"{len(stop.windows)} windows, at most {MOST_WINDOWS}")
    for number, window in enumerate(stop.windows):
        yield from _window(f"{at}.windows[{number}]", window)


def _truck(at: str, truck: Truck) -> Iterator[Fault]:
    yield from _number(f"{at}.capacity_kg", truck.capacity_kg, 1, HEAVIEST_KG)
    yield from _number(f"{at}.capacity_dm3", truck.capacity_dm3, 1, LARGEST_DM3)
    yield from _window(f"{at}.shift", truck.shift)
    yield from _streams(at, truck.streams)
    if truck.gross_mass_kg is not None:
        yield from _number(f"{at}.gross_mass_kg", truck.gross_mass_kg, 1, HEAVIEST_KG)


def _window(at: str, window: Window) -> Iterator[Fault]:
    yield from _number(f"{at}.start_s", window.start_s, 0, LATEST_S)
    yield from _number(f"{at}.end_s", window.end_s, 0, LATEST_S)
    if window.end_s < window.start_s:
        yield Fault(at, f"it ends at {window.end_s}, before it starts at {window.start_s}")


def _position(at: str, position: Position) -> Iterator[Fault]:
    if not (math.isfinite(position.lon) and math.isfinite(position.lat)):
        yield Fault(at, "longitude and latitude are not both numbers")
    elif not WORLD.contains(position):
        swapped = "; longitude and latitude may be swapped" if WORLD.contains(Position(position.lat, position.lon)) else ""
        yield Fault(at, f"{position.lon:.10g}, {position.lat:.10g} is no WGS-84 position{swapped}")


def _number(at: str, value: object, least: int, most: int) -> Iterator[Fault]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Fault(at, f"{value!r} is not a whole number")
    elif not least <= value <= most:
        yield Fault(at, f"{value} is not within {least}..{most}")


def _streams(at: str, streams: Sequence[str]) -> Iterator[Fault]:
    if not streams:
        yield Fault(f"{at}.streams", "it accepts no stream")


def _identifier(at: str, value: str) -> Iterator[Fault]:
    if not (value.isprintable() and 0 < len(value) <= LONGEST_ID):
        yield Fault(at, f"a text of 1 to {LONGEST_ID} printable characters is needed")


def _listed(at: str, ids: Sequence[str], most: int) -> Iterator[Fault]:
    if not 0 < len(ids) <= most:
        yield Fault(at, f"{len(ids)} of them; 1 to {most} are needed")
    first: dict[str, int] = {}
    for number, each in enumerate(ids):
        yield from _identifier(f"{at}[{number}].id", each)
        if each in first:
            yield Fault(f"{at}[{number}].id", f"{each} is also the id of {at}[{first[each]}]")
        first.setdefault(each, number)
