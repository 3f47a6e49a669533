"""A day of one stream, and the plan for it: what must be collected, who may do it, and what each truck drives.

Times are seconds of the local day of the plan (a shift that goes past midnight counts on beyond 86,400).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cityloop_common import errors
from cityloop_common.geo import Position

MOST_STOPS = 1_000
MOST_CONTAINERS = 200
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
FARTHEST_PRIZE_M = 100_000_000
LARGEST_DAY = 10_000_000
MOST_EVEN_PERCENT = 20
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
    """A collection point and what stands there today. Without windows it may be served at any time of a shift.

    `service_s` is the whole service, that of its `containers` included. `trucks` names the only ones that may come (a narrow
    lane, a bin that not all can lift); none named: all of the stream. With a `prize_m` it is left out when serving it would
    lengthen the plan by more metres (seconds where time is minimised); None: only when no room is left.
    """

    id: str
    position: Position
    demand_kg: int
    demand_dm3: int
    service_s: int
    windows: tuple[Window, ...] = ()
    containers: int = 0
    trucks: tuple[str, ...] = ()
    prize_m: int | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a truck may take in a day over all its trips; None = no cap."""

    kg: int | None = None
    dm3: int | None = None
    stops: int | None = None
    containers: int | None = None


@dataclass(frozen=True, slots=True)
class Underway:
    """A truck that is out already: from `at_s` on it is free at `position` with this load on board.

    `taken` is what it has taken today: it counts to the caps of its day.
    """

    position: Position
    at_s: int
    load_kg: int = 0
    load_dm3: int = 0
    taken: Caps = field(default_factory=Caps)


@dataclass(frozen=True, slots=True)
class Truck:
    """A vehicle on duty: it leaves the depot (or where it is, when `underway`) and is back, empty, within its shift.

    `gross_mass_kg` (loaded) decides which roads it may use; None = no road refuses it. It may be back `overtime_s` late, at a cost.
    """

    id: str
    capacity_kg: int
    capacity_dm3: int
    shift: Window
    streams: tuple[str, ...]
    gross_mass_kg: int | None = None
    day: Caps = field(default_factory=Caps)
    overtime_s: int = 0
    underway: Underway | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where loads are tipped; `service_s` counts at each unload, the queue and the weighing included.

    An unload may start within `opening` (none: at any time; the start counts). It takes at most `day_kg` a day.
    """

    id: str
    position: Position
    streams: tuple[str, ...]
    service_s: int
    opening: tuple[Window, ...] = ()
    day_kg: int | None = None


@dataclass(frozen=True, slots=True)
class Lunch:
    """The break that all trucks take together: it starts within `[earliest_s, latest_s]`, on the road, while waiting or between.

    A service that is under way at `earliest_s` ends first; one that would last beyond `latest_s` does not begin before lunch. Who
    is back by `latest_s`, or leaves at `earliest_s` or later, takes none.
    """

    earliest_s: int
    latest_s: int
    duration_s: int


class Minimise(StrEnum):
    """What of the routes is made small."""

    DISTANCE = "distance"
    TIME = "time"


class Engine(StrEnum):
    """Who searches: both engines one after the other, or one alone. OR-Tools holds every rule and has the last word in each."""

    AUTO = "auto"
    ORTOOLS = "ortools"
    PYVRP = "pyvrp"


@dataclass(frozen=True, slots=True)
class Options:
    """How long to search, and what costs what.

    A truck that goes out costs `vehicle_cost_m` beside the metres that all of them drive (seconds, where time is minimised): more
    than any day's way unless one says less, so that trucks come first. An hour of overtime costs `overtime_m`. The way may be
    longer by `even_percent` for hours that are more even.
    """

    seconds: int = 30
    vehicle_cost_m: int = 200_000
    minimise: Minimise = Minimise.DISTANCE
    overtime_m: int = 30_000
    even_percent: int = 0
    engine: Engine = Engine.AUTO


@dataclass(frozen=True, slots=True)
class Round:
    """What a truck served, in its order: of the day before, to begin with and to compare with."""

    truck: str
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One stream on one day."""

    stream: str
    depot: Position
    stops: tuple[Stop, ...]
    trucks: tuple[Truck, ...]
    sites: tuple[Site, ...]
    options: Options = field(default_factory=Options)
    lunch: Lunch | None = None
    yesterday: tuple[Round, ...] = ()

    def positions(self) -> tuple[Position, ...]:
        """Every place of the problem in the order of matrix rows: depot, stops, sites, then where the trucks under way are."""
        underway = (truck.underway.position for truck in self.trucks if truck.underway is not None)
        return (self.depot, *(stop.position for stop in self.stops), *(site.position for site in self.sites), *underway)


class Reason(StrEnum):
    """Why a stop is not in the plan: the first of these that is true of it.

    All but the last are facts of the problem: no truck could serve the stop even if it served nothing else that day, at any
    site; `window` when it could at another hour. `not-worth-it` and `not-reached` say that some truck could: the stop has a
    prize that did not pay for it, or the search found no room for it in its time.
    """

    NO_VEHICLE = "no-vehicle-for-stream"
    NO_SITE = "no-site-for-stream"
    TOO_MUCH = "exceeds-capacity-of-all-vehicles"
    UNREACHABLE = "unreachable"
    NOT_ENOUGH_TIME = "not-enough-time"
    WINDOW = "window"
    NOT_WORTH_IT = "not-worth-it"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True, slots=True)
class Unserved:
    """A stop that nobody serves, and why."""

    stop: str
    reason: Reason


class VisitKind(StrEnum):
    """What a truck does where it is."""

    DEPOT_START = "depot-start"
    UNDERWAY = "underway"
    STOP = "stop"
    UNLOAD = "unload"
    DEPOT_END = "depot-end"


@dataclass(frozen=True, slots=True)
class Visit:
    """A truck at a place: it waits from `arrival_s` to `start_s`; the load is what it carries when it leaves.

    `id` names the stop or the site; None at the depot, and where a truck under way is free again (UNDERWAY begins its route).
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
    """A truck's day from the depot to the depot; `duration_s` counts from leaving to being back.

    `lunch` is its break, None without one; a visit's arrival is after it when it was taken on the way there.
    """

    truck: str
    visits: tuple[Visit, ...]
    distance_m: int
    duration_s: int
    lunch: Window | None = None


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


def told(faults: Sequence[Fault]) -> list[dict[str, str]]:
    """Faults as members of a problem document."""
    return [{"at": fault.at, "text": fault.text} for fault in faults[:FAULTS_TOLD]]
