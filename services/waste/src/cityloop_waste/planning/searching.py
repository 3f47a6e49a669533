"""What the engines have in common: how long they search, what they tell meanwhile, what they find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cityloop_common.clock import Clock
from cityloop_waste.planning.domain import PlanRefused
from cityloop_waste.planning.model import Model

TELLS_EVERY_S = 0.25
Routes = tuple[tuple[int, ...], ...]


class Ended(StrEnum):
    """Why a search ended: its time (or number of solutions) was over, somebody asked, or nothing was left to try."""

    TIME = "time"
    ASKED = "asked"
    COMPLETE = "complete"


class BeginRefused(PlanRefused):
    """The routes that a search was to begin with break a rule of its model."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a search is: the best so far, its routes of nodes (one a vehicle, without start and end) and what they cost.

    An unload may stand for its site's first copy as often as it comes.
    """

    elapsed_s: float
    solutions: int
    cost: int
    routes: Routes

    def vehicles(self) -> int:
        """How many are used."""
        return sum(1 for route in self.routes if route)

    def unserved(self, model: Model) -> int:
        """How many stops are left out."""
        return model.copies_from - 1 - sum(1 for route in self.routes for node in route if node < model.copies_from)

    def way(self, model: Model) -> int:
        """The arcs of the routes: metres, or seconds where time is minimised."""
        return sum(model.arcs(vehicle, route) for vehicle, route in enumerate(self.routes))


@dataclass(frozen=True, slots=True)
class Found:
    """Routes of nodes of `model`, one a vehicle, without start and end; an unused vehicle's is empty.

    `model` is the one that was given, perhaps with more unload copies. `engines` tells what each engine's routes cost.
    """

    model: Model
    routes: Routes
    cost: int
    ended: Ended
    engines: tuple[Effort, ...] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """What an engine's best costs at that second of the search: of PyVRP's, as far as OR-Tools accepts it. `way`: its arcs alone."""

    engine: str
    seconds: float
    cost: int
    way: int


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end: after `seconds`, or after `solutions` of them. `tell` is called now and then; True from it ends the search."""

    seconds: float
    clock: Clock
    tell: Callable[[State], bool]
    solutions: int | None = None
    seed: int = 0

    def within(self, seconds: float, tell: Callable[[State], bool] | None = None) -> Limits:
        """The same with less time, or told elsewhere."""
        return replace(self, seconds=seconds, tell=tell or self.tell)


@dataclass(slots=True)
class Watch:
    """Keeps the best that was found, tells it a few times a second, and notes when somebody asks to stop."""

    model: Model
    limits: Limits
    began: float = 0.0
    state: State | None = None
    asked: bool = False
    solutions: int = 0
    _told_at: float = field(default=-TELLS_EVERY_S)

    def __post_init__(self) -> None:
        self.began = self.limits.clock.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self.limits.clock.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return 0.0 if self.asked else self.limits.seconds - self.elapsed_s

    def part(self, seconds: float, model: Model | None = None) -> Watch:
        """A watch of a part of the search, perhaps on the same model with more copies: what it hears, the whole hears."""
        of = self.model if model is None else model

        def tell(state: State) -> bool:
            self.found(state.cost, self.mine(of, state.routes))
            self.tick()
            return self.asked

        part = Watch(of, self.limits.within(max(0.05, min(seconds, self.left_s)), tell))
        part.state = self.state
        return part

    def mine(self, of: Model, routes: Routes) -> Routes:
        """Routes of a model with more copies as routes of this one: an unload is its site's first copy."""
        if of is self.model:
            return routes
        first = {self.model.places[node]: node for node in range(self.model.starts_from - 1, self.model.copies_from - 1, -1)}
        return tuple(tuple(node if node < of.copies_from else first[of.places[node]] for node in route) for route in routes)

    def heard(self, of: Model, cost: int, routes: Sequence[Sequence[int]]) -> None:
        """Takes a solution of a model with more copies."""
        self.found(cost, self.mine(of, tuple(tuple(route) for route in routes)))

    def found(self, cost: int, routes: Sequence[Sequence[int]]) -> bool:
        """Takes a solution; answers whether it is the best so far."""
        self.solutions += 1
        if self.state is not None and cost >= self.state.cost:
            return False
        self.state = State(self.elapsed_s, self.solutions, cost, tuple(tuple(route) for route in routes))
        return True

    def due(self) -> bool:
        """Whether it is time to tell the best."""
        return self.elapsed_s - self._told_at >= TELLS_EVERY_S

    def tick(self) -> bool:
        """Tells the best, if it is time to; answers whether the search is to end."""
        now = self.elapsed_s
        if self.state is not None and self.due():
            self._told_at = now
            self.asked = self.limits.tell(replace(self.state, elapsed_s=now, solutions=self.solutions)) or self.asked
        return self.asked or now >= self.limits.seconds

    def ended(self) -> Ended:
        """Why the search ended, once it has."""
        if self.asked:
            return Ended.ASKED
        limited = self.limits.solutions is not None and self.solutions >= self.limits.solutions
        return Ended.TIME if limited or self.elapsed_s >= self.limits.seconds else Ended.COMPLETE
