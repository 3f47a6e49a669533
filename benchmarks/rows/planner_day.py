"""Row n: the planner on days of a town: a stream beside each engine alone, five streams on two processes, a breakdown at 10:40.

A stream has 400 stops over the invented roads, four trucks and every rule that a day can have; it goes through the pool as the
service sends it. `CITYLOOP_SCALE=full` takes the full time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.report import Measured
from benchmarks.rows.embedded import tree_mb
from cityloop_common import invented
from cityloop_common.geo import Position
from cityloop_common.invented import SpotKind
from cityloop_common.pool import SpawnedPool
from cityloop_waste.planning import problem_json, solver
from cityloop_waste.planning.domain import Caps, Engine, Lunch, Options, Problem, Site, Stop, Truck, Window
from cityloop_waste.planning.replanning import Happened, Replan, joined, merged, replan
from cityloop_waste.settings import WasteSettings
from tests.support import scaled

STOPS, TRUCKS, STREAMS = 400, 4, 5
SECONDS = scaled(ci=6, full=30)
REPLAN_S = WasteSettings.model_fields["replan_seconds"].default
PROCESSES = 2
BREAKDOWN_S = 10 * 3600 + 40 * 60
LOOK_EVERY_S = 0.1
WANTED_PERCENT, WANTED_WALL_S, WANTED_MB, WANTED_REPLAN_S, WANTED_FIRST_S = 1.0, 100.0, 512.0, 15.0, 5.0
STREAM = "kitchen"
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Day:
    """What a plan comes to: trucks come first, then the way. Overtime is part of what is made small, and no way: it is only told."""

    trucks: int
    way_km: float
    overtime_min: float


_LIBRARIES = """
import sys, numpy, scipy.sparse.csgraph, shapely, pyvrp
from ortools.constraint_solver import pywrapcp
print("ready", flush=True)
sys.stdin.read()
"""


async def measure(rounds: int) -> list[Measured]:
    """Kilometres, seconds and MB; the first plan of each round is broken down and made anew."""
    engines: dict[Engine, list[Day]] = {engine: [] for engine in Engine}
    firsts: list[float] = []
    answers: list[Document] = []
    for number in range(rounds):
        for engine in Engine:
            problem = replace_engine(stream(number), engine)
            answer, first_s = await _stream(problem)
            engines[engine].append(_day_of(problem, answer))
            if engine is Engine.AUTO:
                firsts.append(first_s)
                answers.append(answer)
    days = [await _day() for _ in range(rounds)]
    replans = [await _replanned(stream(number), answer) for number, answer in enumerate(answers)]
    bare = await _bare_mb()
    return [alone(engines), *_town(days, bare), _breakdown(replans), _first(firsts)]


def stream(number: int) -> Problem:
    """A stream's day: the invented city's collection points, some of them twice, with windows, caps, a lunch, hours of a site."""
    morning, noon = Window(5 * 3600, 11 * 3600), Window(9 * 3600, 14 * 3600)
    spots = islice(cycle(invented.collection_points()), 7 * number, 7 * number + STOPS)
    windows = cycle([(morning,), (), (noon,), ()])
    stops = tuple(
        Stop(f"P{n:03}", spot.position, 40 + (n * (number + 3)) % 80, 200 + (n * 31) % 200, 60, next(windows), 1 + n % 3)
        for n, spot in enumerate(spots)
    )
    shift = Window(5 * 3600, 14 * 3600)
    day = Caps(kg=15_000, stops=150)
    trucks = tuple(Truck(f"T{n}", 5000, 12_000, shift, (STREAM,), 9000, day, overtime_s=1800) for n in range(TRUCKS))
    sites = (_site(SpotKind.BIOGAS, Window(5 * 3600, 12 * 3600)), _site(SpotKind.INCINERATOR))
    lunch = Lunch(11 * 3600, 12 * 3600, 1800)
    return Problem(STREAM, invented.depot().position, stops, trucks, sites, Options(SECONDS), lunch)


def replace_engine(problem: Problem, engine: Engine) -> Problem:
    """The same for one engine, or both."""
    return replace(problem, options=replace(problem.options, engine=engine))


def _day_of(problem: Problem, answer: Document) -> Day:
    """A plan's trucks, way and overtime."""
    _complete([answer])
    shifts = {truck.id: truck.shift.end_s for truck in problem.trucks}
    late_s = sum(max(0, route["visits"][-1]["arrival_s"] - shifts[route["truck"]]) for route in answer["routes"])
    return Day(answer["vehicles"], answer["cost"]["distance_m"] / 1000, late_s / 60)


def _site(kind: SpotKind, *opening: Window) -> Site:
    position: Position = next(spot.position for spot in invented.sites() if spot.kind is kind)
    return Site(kind.value, position, (STREAM,), 600, opening)


async def _stream(problem: Problem) -> tuple[Document, float]:
    """A plan, and the seconds from asking for it to the first one that serves every stop."""
    began = time.perf_counter()
    first: list[float] = []

    def told(value: Document) -> None:
        if not first and value["unserved"] == 0:
            first.append(time.perf_counter() - began)

    answer = await _solved(SpawnedPool(workers=1), problem, told)
    return answer, first[0] if first else time.perf_counter() - began


async def _solved(pool: SpawnedPool, problem: Problem, told: Any = None) -> Document:
    payload = {"problem": problem_json.write(problem), "roads": invented.base_map()}
    kill_after_s = problem.options.seconds + solver.GRACE_S
    answer: Document = await pool.run(solver.SOLVE, payload, kill_after_s=kill_after_s, on_progress=told)
    told_of = f"{answer['cost']['distance_m']:,} m, {answer['vehicles']} trucks, {len(answer['unserved'])} unserved"
    sys.stderr.write(f"  {problem.options.engine}: {told_of}; {answer['evidence']['engines']}\n")
    if not answer["verified"]:
        raise RuntimeError("a plan that was not verified")
    return answer


async def _day() -> tuple[float, float]:
    """Seconds and the most MB of the processes that plan five streams, two at a time."""
    pool = SpawnedPool(workers=PROCESSES, most_waiting=STREAMS)
    began, most = time.perf_counter(), 0.0
    plans = asyncio.gather(*(_solved(pool, stream(number)) for number in range(STREAMS)))
    while not plans.done():
        most = max(most, await asyncio.to_thread(_children_mb))
        await asyncio.wait({plans}, timeout=LOOK_EVERY_S)
    _complete(await plans)
    return time.perf_counter() - began, most


def _complete(answers: Sequence[Document]) -> None:
    left = sum(len(answer["unserved"]) for answer in answers)
    if left:
        raise RuntimeError(f"{left} stops of the town's day are not served")


async def _replanned(problem: Problem, answer: Document) -> float:
    """Seconds from a breakdown at 10:40 to the plan for the rest of the day, joined with what was driven."""
    began = time.perf_counter()
    broken = str(answer["routes"][0]["truck"])
    made: Replan = replan(problem, answer["routes"], Happened(BREAKDOWN_S, (broken,)), seconds=REPLAN_S)
    rest = await _solved(SpawnedPool(workers=1), made.rest)
    metres = {each.truck: 0 for each in made.driven}
    faults = joined(made, merged(made, rest, metres))
    if faults:
        raise RuntimeError(f"the replan does not fit what was driven: {faults[0]}")
    return time.perf_counter() - began


async def _bare_mb() -> float:
    """MB of as many processes that only have the libraries."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _LIBRARIES, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        await process.stdout.readline()
    found = sum(tree_mb(process.pid) for process in processes)
    for process in processes:
        await process.communicate(b"")  # without input its stdin would stay open
    return found


def _children_mb() -> float:
    return sum(tree_mb(pid) for pid in _children())


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            yield from (int(each) for each in (task / "children").read_text().split())


def alone(engines: Mapping[Engine, Sequence[Day]]) -> Measured:
    """Row n1: the way, beside that of the engine whose plan alone is better; fewer trucks are better than any way."""
    pairs = zip(engines[Engine.ORTOOLS], engines[Engine.PYVRP], strict=True)
    ours, better = engines[Engine.AUTO], [min(pair, key=lambda day: (day.trucks, day.way_km)) for pair in pairs]
    found = [_beside(mine, theirs) for mine, theirs in zip(ours, better, strict=True)]
    reached = all(reached for reached, _ in found)
    note = "; ".join(f"round {number}: {told}" for number, (_, told) in enumerate(found, 1))
    note += f"; wanted in every round: no more trucks, and with as many at most {WANTED_PERCENT:g} % more way: "
    note += "reached" if reached else "**missed**"
    for engine, name in ((Engine.ORTOOLS, "OR-Tools alone"), (Engine.PYVRP, "PyVRP alone (OR-Tools judges)")):
        note += f"; {name} {', '.join(f'{day.trucks} trucks {day.way_km:.1f} km' for day in engines[engine])}"
    what = "a stream's day: way, trucks first, against the better engine alone in the same seconds"
    conditions = f"{_rules()}; {SECONDS} s, one thread; another stream each round"
    return Measured("n1", what, conditions, [day.way_km for day in ours], [day.way_km for day in better], "km", None, None, note)


def _beside(mine: Day, theirs: Day) -> tuple[bool, str]:
    """Whether a day is as good as wanted beside another, and both in words. Compared as they are; rounded only to be read."""
    longer = 100 * (mine.way_km - theirs.way_km) / theirs.way_km
    told = f"{mine.trucks} trucks, way {longer:+.2f} %, overtime {mine.overtime_min:.0f} min, beside {theirs.trucks} trucks"
    told += f", {theirs.overtime_min:.0f} min"
    return mine.trucks < theirs.trucks or (mine.trucks == theirs.trucks and longer <= WANTED_PERCENT), told


def _town(days: Sequence[tuple[float, float]], bare: float) -> list[Measured]:
    walls, sizes = [list(each) for each in zip(*days, strict=True)]
    turns = -(-STREAMS // PROCESSES) * SECONDS
    conditions = f"{STREAMS} streams of {STOPS} stops, {STREAMS * TRUCKS} trucks, {SECONDS} s each, {PROCESSES} processes; nothing unserved"
    return [
        Measured(
            "n2", "a town's day planned, against the time of its searches alone", conditions, walls, [float(turns)] * len(walls), "s", None,
            None, f"lower is better; wanted in every round: at most {WANTED_WALL_S:g} s: {_verdict(max(walls), WANTED_WALL_S)}",
        ),
        Measured(
            "n3", "memory of the processes that plan it, against as many that only have the libraries",
            "proportional set size, the most seen every 0.1 s", sizes, [bare] * len(sizes), "MB", None, None,
            f"lower is better; wanted in every round: at most {WANTED_MB:g} MB: {_verdict(max(sizes), WANTED_MB)} (worst {max(sizes):.0f})",
        ),
    ]  # fmt: skip


def _breakdown(replans: Sequence[float]) -> Measured:
    note = f"lower is better; wanted in every round: at most {WANTED_REPLAN_S:g} s: {_verdict(max(replans), WANTED_REPLAN_S)}"
    conditions = (
        "the stream's plan of n1; what the truck and the others have driven stays, the rest is planned anew in a process of its own"
    )
    what = "replan after a truck broke down at 10:40, against the time of its search alone"
    return Measured("n4", what, conditions, list(replans), [float(REPLAN_S)] * len(replans), "s", None, None, note)


def _first(firsts: Sequence[float]) -> Measured:
    note = f"lower is better; {_verdict(max(firsts), WANTED_FIRST_S)} (worst {max(firsts):.1f})"
    conditions = f"{_rules()}; from asking to the first progress that serves every stop, the process's start and the matrices included"
    what = f"first complete plan of {STOPS} stops, against what is wanted"
    return Measured("n5", what, conditions, list(firsts), [WANTED_FIRST_S] * len(firsts), "s", None, None, note)


def _rules() -> str:
    return f"{STOPS} stops, {TRUCKS} trucks, 2 sites; kg, dm3, caps of the day, windows, lunch, hours of a site, overtime"


def _verdict(worst: float, most: float) -> str:
    return "reached" if worst <= most else "**missed**"
