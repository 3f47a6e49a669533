"""What a dispatcher does when the day goes otherwise: the published plan is made anew from what happened, as a plan of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from cityloop_common import telemetry
from cityloop_common.db import Tx, WriteTx
from cityloop_common.geo import Position, distance_m
from cityloop_common.pool import PoolFull, WorkFailed
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import comparing, problem_json, publishing, registered, store, use_cases
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.comparing import Comparison
from cityloop_waste.planning.domain import LATEST_S, PlanRefused, Problem, Stop, VisitKind
from cityloop_waste.planning.plans import (
    CityPlan,
    DayOver,
    NoRoutes,
    NotComparable,
    NotPublished,
    Publish,
    ReplanReason,
    UnknownPlan,
    second_of,
)
from cityloop_waste.planning.replanning import (
    Document,
    Driven,
    Happened,
    InvalidReplan,
    Replan,
    Seen,
    Stranded,
    joined,
    merged,
    place_of,
    replan,
)
from cityloop_waste.planning.solver import DRAW, GRACE_S
from cityloop_waste.planning.use_cases import Anew, Task, Wish
from cityloop_waste.points import store as points
from cityloop_waste.roads.domain import DETOUR, Closed, TravelSource

Drawn = Mapping[str, list[list[float]]]
"""The line of what each truck has driven; a truck without one has driven straight, as far as anybody knows."""
ITSELF_S, BY_HAND_S = 60, 300  # from the end of a search until the crews have its plan, unless the dispatcher says otherwise
_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReplanWish:
    """What happened, and what is wanted. `points` are urgent ones of the registry, `urgent` stops that are given in full.

    `margin_s` is how long after its search the new plan is with the trucks; None: 60 s when it is published by itself, else 300 s.
    """

    at: datetime
    seconds: int
    broken: tuple[str, ...] = ()
    closed: tuple[Closed, ...] = ()
    reopened: tuple[Closed, ...] = ()
    urgent: tuple[Stop, ...] = ()
    points: tuple[str, ...] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    overtime_s: int | None = None
    publish: Publish = Publish.BY_HAND
    margin_s: int | None = None

    def with_trucks_s(self) -> int:
        """How long after it is asked for the new plan is with the trucks: it is searched, then somebody looks at it."""
        looked_at_s = ITSELF_S if self.publish is Publish.WHEN_READY else BY_HAND_S
        return self.seconds + (looked_at_s if self.margin_s is None else self.margin_s)

    def reasons(self) -> tuple[str, ...]:
        """Why, in words of the events."""
        found = {
            ReplanReason.BREAKDOWN: self.broken,
            ReplanReason.CLOSED_ROAD: (*self.closed, *self.reopened),
            ReplanReason.URGENT_STOP: (*self.urgent, *self.points),
            ReplanReason.POSITION: self.seen,
        }
        return tuple(reason.value for reason, given in found.items() if given) or (ReplanReason.BY_HAND.value,)


@dataclass(frozen=True, slots=True)
class Work:
    """A replan in a worker's hands: what is sent to the solver, and what its answer is joined with."""

    task: Task
    made: Replan


async def ask_in(tx: WriteTx, ctx: WasteCtx, plan_id: str, wish: ReplanWish) -> CityPlan:
    """Asks for the rest of a published plan anew; it stays published until the new one is.

    Raises UnknownPlan, NotPublished, DayOver, InvalidReplan, InvalidProblem, ReplanRunning, TooManyPlans.
    """
    base = await store.get(tx, plan_id)
    if base is None:
        raise UnknownPlan
    if publishing.is_over(ctx, base.on, anew=True):
        raise DayOver(f"{base.on} is over")
    await store.take_turn(tx, base.stream, base.on)
    live = await store.live(tx, base.stream, base.on)
    if live is None or live.id != plan_id:
        raise NotPublished(f"it is {base.state}")
    at_s = second_of(base.on, wish.at)
    if not 0 <= at_s <= LATEST_S:
        raise InvalidReplan(f"the instant is not on {base.on}")
    if base.replan and at_s < base.replan["at_s"]:
        raise InvalidReplan(
            "the instant is before that of the plan that holds, which was made anew itself: what it drives is not known there"
        )
    problem = _whole(base)
    urgent = (*wish.urgent, *await _points(tx, wish.points, base, problem))
    since_s = max(0, int((ctx.clock.now() - wish.at).total_seconds()))  # what is told late is with the trucks later
    happened = Happened(at_s, wish.broken, urgent, wish.seen, wish.overtime_s, since_s + wish.with_trucks_s())
    made = _made(base, happened, wish.seconds)
    check(made.whole)
    check(made.rest)
    kept = {
        "at_s": at_s,
        "broken": list(wish.broken),
        "closed": _closed(base, wish),
        "urgent": [stop.id for stop in urgent],
        "seen": {truck: {"position": s.position._asdict(), "load_kg": s.load_kg, "load_dm3": s.load_dm3} for truck, s in wish.seen.items()},
        "overtime_s": wish.overtime_s,
        "margin_s": happened.margin_s,
    }
    return await use_cases.add_in(tx, ctx, made.whole, Wish(base.on, wish.publish), Anew(plan_id, wish.reasons(), kept))


async def compare(ctx: WasteCtx, plan_id: str, other: str | None) -> tuple[CityPlan, CityPlan, Comparison]:
    """A plan (the second) beside another of its stream (the first), or beside the one that it replaces.

    Raises UnknownPlan, NoRoutes, NotComparable.
    """
    async with ctx.db.read() as tx:
        after = await store.get(tx, plan_id)
        before = None if after is None else await store.get(tx, other or after.replaces or "")
    if after is None or before is None:
        raise UnknownPlan
    if before.stream is not after.stream:
        raise NotComparable(f"one is of {before.stream}, the other of {after.stream}")
    if not before.result or not after.result or before.figures is None or after.figures is None:
        raise NoRoutes("both need routes")
    return before, after, comparing.compare(before.result, after.result)


async def begin(ctx: WasteCtx, task: Task) -> Work:
    """What is left of the day, as it was checked when it was asked for."""
    assert task.plan.replaces is not None
    async with ctx.db.read() as tx:
        base = await store.get(tx, task.plan.replaces)
    if base is None:
        raise UnknownPlan
    kept = task.plan.replan or {}
    made = _made(base, _happened(kept, _whole(task.plan)), task.plan.seconds)
    closed = {"closed": kept["closed"]} if kept["closed"] else {}
    return Work(replace(task, payload={**task.payload, "problem": problem_json.write(made.rest), **closed}), made)


def whole(work: Work, answer: Document, drawn: Drawn) -> dict[str, Any]:
    """The whole day, with what was driven before it was made anew. Raises PlanRefused when the parts do not fit together."""
    graph = answer.get("travel") == TravelSource.GRAPH.value
    metres = {each.truck: _metres(work.made, each, drawn.get(each.truck) if graph else None) for each in work.made.driven}
    result = merged(work.made, answer, metres)
    if faults := joined(work.made, result):
        raise PlanRefused("; ".join(map(str, faults[:20])))
    if "lines" in answer:
        result["lines"] = _lines(result, answer, drawn)
    return result


def _made(base: CityPlan, happened: Happened, seconds: int) -> Replan:
    assert base.result is not None
    stranded = [
        Stranded(str(each["truck"]), each["load_kg"], each["load_dm3"], Position(**at) if (at := each.get("position")) else None)
        for each in base.result.get("stranded", ())
    ]
    return replan(_whole(base), base.result["routes"], happened, stranded=stranded, seconds=seconds)


def _whole(plan: CityPlan) -> Problem:
    return problem_json.read(plan.problem)


def _happened(kept: Document, whole: Problem) -> Happened:
    stops = {stop.id: stop for stop in whole.stops}
    seen = {truck: Seen(Position(**each["position"]), each["load_kg"], each["load_dm3"]) for truck, each in kept["seen"].items()}
    urgent = tuple(stops[each] for each in kept["urgent"])
    return Happened(kept["at_s"], tuple(kept["broken"]), urgent, seen, kept["overtime_s"], kept.get("margin_s", 0))


def _closed(base: CityPlan, wish: ReplanWish) -> list[Any]:
    """What is closed from now on, as documents hold it: what was closed before stays closed until it is reopened.

    Raises InvalidReplan for a road that is to be reopened and is not closed.
    """
    closed = [*(base.replan["closed"] if base.replan else ())]
    for each in map(_as_kept, wish.reopened):
        if each not in closed:
            raise InvalidReplan(f"{each} is not closed: it cannot be reopened")
        closed.remove(each)
    for each in map(_as_kept, wish.closed):
        if each not in closed:
            closed.append(each)
    return closed


def _as_kept(road: Closed) -> Any:
    return road if isinstance(road, str) else list(road)


async def _points(tx: Tx, wanted: Sequence[str], base: CityPlan, problem: Problem) -> list[Stop]:
    """Urgent points of the registry as stops. Raises InvalidReplan for one that is unknown, or where the stream does not stand."""
    known = {point.id: point for point in await points.by_ids(tx, wanted)}
    for each in wanted:
        if each not in known or all(demand.stream is not base.stream for demand in known[each].demands):  # type: ignore[index]
            raise InvalidReplan(f"there is no collection point {each} of the stream {base.stream}")
    return [registered.stop(known[each], base.stream, problem.trucks) for each in wanted]  # type: ignore[index]


async def drawn(ctx: WasteCtx, work: Work) -> Drawn:
    """The line of what each truck has driven, along the roads as they were: closures are of what comes. None that cannot be drawn."""
    payload = work.task.payload
    pieces = [(each, piece) for each in work.made.driven for piece in _pieces(each) if len(piece) > 1]
    if "roads" not in payload or not pieces:
        return {}
    routes = [{"truck": each.truck, "visits": piece} for each, piece in pieces]
    given = {"problem": problem_json.write(work.made.whole), "routes": routes, "roads": payload["roads"]}
    try:
        answer = await ctx.pool.run(DRAW, given, kill_after_s=GRACE_S)
    except (PoolFull, WorkFailed) as failed:
        _log.warning("lines-not-drawn", plan_id=work.task.plan.id, reason=failed.detail or failed.title)
        return {}
    found: dict[str, list[list[float]]] = {}
    for (each, _), line in zip(pieces, answer["lines"], strict=True):
        found.setdefault(each.truck, []).extend(line["line"])
    return found


def _pieces(driven: Driven) -> Iterator[list[Document]]:
    """What was driven between places: where a truck was seen elsewhere, no way is known to there."""
    piece: list[Document] = []
    for visit in driven.visits:
        if visit["kind"] == VisitKind.UNDERWAY.value:
            yield piece
            piece = []
        else:
            piece.append(visit)
    yield piece


def _metres(made: Replan, driven: Driven, line: Sequence[Sequence[float]] | None) -> int:
    """How far a truck has driven: along its line, or an estimate as roads.graph makes it."""
    if line is not None:
        return round(sum(distance_m(Position(*a), Position(*b)) for a, b in pairwise(line)))
    truck = next(each for each in made.whole.trucks if each.id == driven.truck)
    places = [place_of(made.whole, visit, truck) for visit in driven.visits]
    return sum(round(distance_m(a, b) * DETOUR) for a, b in pairwise(places))


def _lines(result: Document, answer: Document, drawn: Drawn) -> list[dict[str, Any]]:
    """The line of each route of the whole day: what was driven, then what comes."""
    rests = {str(route["truck"]): line for route, line in zip(answer["routes"], answer["lines"], strict=True)}
    found = []
    for route in result["routes"]:
        rest = rests.get(route["truck"])
        behind = drawn.get(route["truck"], [])
        vertices = [*behind, *(rest["line"] if rest else [])]
        apart = [at for number, at in enumerate(vertices) if number == 0 or at != vertices[number - 1]]
        found.append({"travel": rest["travel"] if rest else TravelSource.GRAPH.value, "line": apart})
    return found
