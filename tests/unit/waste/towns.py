"""Towns to plan in: places on a plane of metres, a truck drives 10 m/s along the grid unless a road is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cityloop_common.clock import SystemClock
from cityloop_common.geo import Position
from cityloop_waste.planning import verifier, work
from cityloop_waste.planning.domain import Options, Plan, Problem, Site, Stop, Truck, Visit, VisitKind, Window
from cityloop_waste.planning.ortools_engine import Ended
from cityloop_waste.roads.domain import Travel, TravelSource

SIX, SEVEN, TWO_PM = 6 * 3600, 7 * 3600, 14 * 3600
DAY = Window(SIX, TWO_PM)
Spot = tuple[int, int]


def stop(name: str, at: Spot, kg: int = 100, *, dm3: int = 0, service_s: int = 60, windows: Sequence[Window] = ()) -> Stop:
    """A stop at metres east and north of the depot."""
    return Stop(name, place(at), kg, dm3, service_s, tuple(windows))


def truck(name: str = "T1", kg: int = 1000, *, dm3: int = 100_000, shift: Window = DAY, streams: Sequence[str] = ("other",)) -> Truck:
    """A truck on duty from six to two."""
    return Truck(name, kg, dm3, shift, tuple(streams))


def site(name: str, at: Spot, *, streams: Sequence[str] = ("other",), service_s: int = 300) -> Site:
    """A place to unload."""
    return Site(name, place(at), tuple(streams), service_s)


def problem(
    stops: Iterable[Stop],
    trucks: Iterable[Truck] | None = None,
    sites: Iterable[Site] | None = None,
    *,
    stream: str = "other",
    vehicle_cost_m: int = 0,
) -> Problem:
    """A day of one stream; one truck and one site 1 km east of the depot unless said otherwise."""
    return Problem(
        stream=stream,
        depot=place((0, 0)),
        stops=tuple(stops),
        trucks=tuple(trucks or [truck()]),
        sites=tuple(sites or [site("S1", (1000, 0))]),
        options=Options(seconds=2, vehicle_cost_m=vehicle_cost_m),
    )


def place(at: Spot) -> Position:
    """A position that carries metres exactly: a millionth of a degree each."""
    return Position(at[0] / 1e6, at[1] / 1e6)


def travel(of: Problem, *, closed: Callable[[int, int], bool] = lambda origin, target: False) -> Travel:
    """Metres along the grid and seconds at 10 m/s; pairs that are `closed` have no road."""
    spots = [(round(at.lon * 1e6), round(at.lat * 1e6)) for at in of.positions()]

    def metres_of(origin: int, target: int) -> int | None:
        (east, north), (to_east, to_north) = spots[origin], spots[target]
        return None if origin != target and closed(origin, target) else abs(east - to_east) + abs(north - to_north)

    rows = range(len(spots))
    metres = tuple(tuple(metres_of(origin, target) for target in rows) for origin in rows)
    seconds = tuple(tuple(None if each is None else -(-each // 10) for each in row) for row in metres)
    return Travel(metres, seconds, TravelSource.GIVEN)


class Quiet:
    """A progress that keeps what it hears and asks to stop after `stop_after` values."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.heard: list[object] = []
        self._stop_after = stop_after

    def __call__(self, value: object) -> bool:
        self.heard.append(value)
        return self.stopped()

    def stopped(self) -> bool:
        return self._stop_after is not None and len(self.heard) >= self._stop_after


def planned(of: Problem, by: Travel | None = None, *, solutions: int = 60, progress: Quiet | None = None) -> tuple[Plan, Ended]:
    """A plan after so many solutions, judged by the verifier once more."""
    by = by or travel(of)
    plan, ended = work.planned(of, by, SystemClock(), progress or Quiet(), solutions=solutions)
    assert verifier.faults(of, by, plan) == []
    return plan, ended


def visits(plan: Plan, kind: VisitKind) -> list[Visit]:
    """All visits of a kind, truck by truck."""
    return [visit for route in plan.routes for visit in route.visits if visit.kind is kind]


def served(plan: Plan) -> list[str]:
    """The stops that are served, in order of their names."""
    return sorted(visit.id or "" for visit in visits(plan, VisitKind.STOP))


def unserved(plan: Plan) -> dict[str, str]:
    """The reason of each stop that is not served."""
    return {each.stop: each.reason.value for each in plan.unserved}
