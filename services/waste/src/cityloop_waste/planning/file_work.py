"""What the pool's process runs for a file: `cityloop_waste.planning.file_work:solve_file`.

JSON in: `{text, format, vehicles, seconds, engine, seed, bound_seconds, solutions?}`; `vehicles` null = as many as are surely enough.
`seconds` are those of the whole search, building the model included; those for the bound come after them.

Progress, at most four a second, and JSON out, of the best plan so far in the file's own numbers::

    {phase: "search" | "bound" | "done", routes, unserved: [[stop, reason], ...], cost, bound: {cost, steps, weak} | null,
     engines: [{engine, seconds, cost | null}], peak_mb}

Whoever ends the process keeps the plan that was told last. Costs are the engine's own, in the file's unit, not yet verified; `engines`
tells what each engine ended at (cost null: with other numbers of vehicles or of stops left out than the plan); `peak_mb` is the most
that this process took.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cityloop_common.clock import Clock, SystemClock
from cityloop_waste.planning import engines
from cityloop_waste.planning.domain import Engine
from cityloop_waste.planning.file_tasks import Task, task
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.searching import Effort, Found, Limits, State
from cityloop_waste.planning.work import Progress


def solve_file(payload: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The best plan for a file, not yet verified; see the module. Raises UnreadableInstance, NoPlanFound, PlanRefused."""
    clock = SystemClock()
    began = clock.monotonic()
    engine = Engine(payload["engine"])
    built = task(payload["text"], Format(payload["format"]), payload["vehicles"], engine)
    best = _Best(built, progress)
    if built.model.copies_from > 1:  # a stop that can be served
        left_s = max(1.0, payload["seconds"] - (clock.monotonic() - began))
        limits = Limits(left_s, clock, best.tell, payload.get("solutions"), payload["seed"])
        found = engines.search(built.model, limits, engine=engine, begin=built.begin)
        best.ended(found)
    if payload["bound_seconds"] and not progress.stopped():
        best.bounded(payload["bound_seconds"], clock)
    return best.value("done")


@dataclass(slots=True)
class _Best:
    """The best plan so far, as it is told."""

    task: Task
    progress: Progress
    rows: Sequence[Sequence[int]] = ()
    routes: list[list[int]] = field(default_factory=list)
    cost: float = 0
    efforts: Sequence[Effort] = ()
    bound: dict[str, object] | None = None

    def tell(self, state: State) -> bool:
        """What the search has now; answers whether somebody wants it to end."""
        model = self.task.model
        if all(node < model.end for route in state.routes for node in route):  # not of a model with more unload copies
            self.rows, self.cost = model.rows(state.routes), state.way(model) / self.task.per_unit
            self.routes = self.task.routes(self.rows)
        return self.progress(self.value("search"))

    def ended(self, found: Found) -> None:
        """What the search came to."""
        self.rows, self.efforts = found.model.rows(found.routes), found.engines
        self.cost = sum(found.model.arcs(vehicle, route) for vehicle, route in enumerate(found.routes)) / self.task.per_unit
        self.routes = self.task.finished(self.rows)
        self.progress(self.value("bound"))

    def bounded(self, seconds: float, clock: Clock) -> None:
        """Looks for what no plan can beat that serves the stops of this one."""
        from cityloop_waste.planning.qroutes import q_route_bound

        left = [node for node in range(1, self.task.model.copies_from) if self.task.model.places[node] in self.task.missing(self.rows)]
        bound = q_route_bound(self.task.model, seconds, clock, stopped=self.progress.stopped, left_out=left)
        self.bound = {"cost": bound.value / self.task.per_unit, "steps": bound.steps, "weak": bound.weak}

    def value(self, phase: str) -> dict[str, Any]:
        """JSON; see the module."""
        return {
            "phase": phase,
            "routes": self.routes,
            "unserved": [[stop, reason.value] for stop, reason in self.task.unserved(self.rows).items()],
            "cost": self.cost,
            "bound": self.bound,
            "engines": [{"engine": each.engine, "seconds": each.seconds, "cost": self._way(each)} for each in self.efforts],
            "peak_mb": _peak_mb(),
        }

    def _way(self, effort: Effort) -> float | None:
        """What an engine's routes cost without vehicles and stops left out, where they have as many of both as the plan."""
        more = effort.cost - self.efforts[-1].cost
        dear = [price for price in (self.task.model.vehicle_cost, self.task.model.penalty) if price]
        return self.cost + more / self.task.per_unit if all(2 * abs(more) < price for price in dear) else None


def _peak_mb() -> float:
    """The most memory that this process had at a time, in MiB.

    Not `ru_maxrss` where the kernel tells better: that of a spawned process begins with what its parent had.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)
