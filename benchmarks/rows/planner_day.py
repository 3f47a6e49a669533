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
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
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
_LIBRARIES = """
import sys, numpy, scipy.sparse.csgraph, shapely, pyvrp
from ortools.constraint_solver import pywrapcp
print("ready", flush=True)
sys.stdin.read()
"""


async def measure(rounds: int) -> list[Measured]:
    """Kilometres, seconds and MB; the first plan of each round is broken down and made anew."""
    engines: dict[Engine, list[float]] = {engine: [] for engine in Engine}
    firsts: list[float] = []
    answers: list[Document] = []
    for number in range(rounds):
        for engine in Engine:
            answer, first_s = await _stream(replace_engine(stream(number), engine))
            engines[engine].append(_cost_km(answer))
            if engine is Engine.AUTO:
                firsts.append(first_s)
                answers.append(answer)
    days = [await _day() for _ in range(rounds)]
    replans = [await _replanned(stream(number), answer) for number, answer in enumerate(answers)]
    bare = await _bare_mb()
    return [_alone(engines), *_town(days, bare), _breakdown(replans), _first(firsts)]


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


def _cost_km(answer: Document) -> float:
    """What is made small: the way, and what each truck that goes out counts beside it."""
    _complete([answer])
    return float(answer["cost"]["distance_m"] + answer["vehicles"] * Options().vehicle_cost_m) / 1000


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


def _alone(engines: Mapping[Engine, Sequence[float]]) -> Measured:
    ours, alone = list(engines[Engine.AUTO]), [engines[engine] for engine in (Engine.ORTOOLS, Engine.PYVRP)]
    better = [min(pair) for pair in zip(*alone, strict=True)]
    above = [100 * (mine - theirs) / theirs for mine, theirs in zip(ours, better, strict=True)]
    note = f"worst {max(above):+.2f}, median {median(above):+.2f} %; wanted in every round: at most {WANTED_PERCENT:g} % above: "
    note += _verdict(max(above), WANTED_PERCENT)
    note += f"; OR-Tools alone {median(alone[0]):.1f}, PyVRP alone (OR-Tools judges) {median(alone[1]):.1f} km"
    truck_km = Options().vehicle_cost_m // 1000
    what = f"a stream's day: way and trucks ({truck_km} km each) against the better engine alone in the same seconds"
    return Measured("n1", what, f"{_rules()}; {SECONDS} s, one thread; another stream each round", ours, better, "km", None, None, note)


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
