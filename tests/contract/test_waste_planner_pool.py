"""The planner in the real pool: progress, early stop, a killed process, and the command line around it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from cityloop_common import invented
from cityloop_common.geo import Position, distance_m
from cityloop_common.pool import SpawnedPool, WorkDied, WorkKilled, WorkRaised
from cityloop_waste.planning import problem_json, solver
from cityloop_waste.planning.domain import Options, Problem, Underway
from tests.support import REPOSITORY, wait_until
from tests.unit.waste.towns import SIX, problem, site, stop, truck

CITYLOOP = str(Path(sys.executable).with_name("cityloop"))


def town(seconds: int) -> Problem:
    """Eighty stops for three trucks that unload on the way: a search that never runs out of moves."""
    stops = [stop(f"P{n}", (37 * n % 900, 91 * n % 700), 100 + n) for n in range(80)]
    asked = problem(stops, [truck(f"T{n}", 1500) for n in range(3)], [site("S1", (1000, 0)), site("S2", (0, 900))])
    return replace(asked, options=Options(seconds, vehicle_cost_m=500))


def payload(seconds: int) -> dict[str, object]:
    """The town without roads: estimates."""
    return {"problem": problem_json.write(town(seconds))}


@pytest.fixture
async def pool() -> AsyncIterator[SpawnedPool]:
    """One process at a time."""
    made = SpawnedPool(workers=1)
    yield made
    await made.close()


async def test_a_plan_comes_back_verified_with_progress(pool: SpawnedPool) -> None:
    """Progress from the beginning, then a plan of all stops, labelled as an estimate."""
    heard: list[Any] = []
    answer = await pool.run(solver.SOLVE, payload(2), kill_after_s=2 + solver.GRACE_S, on_progress=heard.append)
    assert (answer["verified"], answer["unserved"], answer["travel"], answer["ended"]) == (True, [], "estimate", "time")
    assert sum(1 for route in answer["routes"] for visit in route["visits"] if visit["kind"] == "stop") == 80
    assert answer["cost"]["distance_m"] < heard[0]["distance_m"]
    assert 2 <= len(heard) <= 12
    assert heard[-1].keys() == {"elapsed_s", "solutions", "distance_m", "vehicles", "unserved", "bound_m"}
    assert 0 < heard[-1]["bound_m"] <= answer["cost"]["distance_m"] + 500 * answer["vehicles"], "no plan costs less, vehicles included"


def ladder(*, closed: object = None) -> dict[str, object]:
    """Two roads from the depot to the site, the second one longer; a stop at each end, and a truck that is out already."""
    west, east = (109.780, 39.565), (109.790, 39.565)
    lines = {"short": (west, east), "long": (west, (109.780, 39.570), (109.790, 39.570), east)}
    features = [
        {
            "type": "Feature",
            "properties": {"id": name, "name": name, "speed_kmh": 36},
            "geometry": {"type": "LineString", "coordinates": line},
        }
        for name, line in lines.items()
    ]
    out = Underway(Position(109.780, 39.567), SIX, 200, 0)
    asked = problem([stop("E", (0, 0), 100)], [replace(truck("T1"), underway=out)], [site("S1", (0, 0))])
    asked = replace(
        asked,
        depot=Position(*west),
        stops=(replace(asked.stops[0], position=Position(*east)),),
        sites=(replace(asked.sites[0], position=Position(*east)),),
        options=Options(1),
    )
    given: dict[str, object] = {"problem": problem_json.write(asked), "roads": {"type": "FeatureCollection", "features": features}}
    return given if closed is None else {**given, "closed": closed}


async def test_a_closed_road_is_driven_around_from_where_the_truck_is(pool: SpawnedPool) -> None:
    """By name, id or a position on it; the line begins at the truck; a road that nobody knows is no closed road but a mistake."""
    open_ = await pool.run(solver.SOLVE, ladder(), kill_after_s=40)
    for closed in (["short"], [[109.785, 39.565]]):
        around = await pool.run(solver.SOLVE, ladder(closed=closed), kill_after_s=40)
        assert around["cost"]["distance_m"] > open_["cost"]["distance_m"] + 900
        (line,) = around["lines"]
        assert (line["travel"], line["line"][0]) == ("graph", [109.78, 39.567])
        assert [visit["kind"] for visit in around["routes"][0]["visits"]] == ["underway", "stop", "unload", "depot-end"]
    with pytest.raises(WorkRaised, match="shrot"):
        await pool.run(solver.SOLVE, ladder(closed=["shrot"]), kill_after_s=40)


async def test_a_plan_on_roads_comes_with_the_line_of_each_route(pool: SpawnedPool) -> None:
    """From the depot to the depot, past every visit, as long as the route says; drawn again afterwards it is the same line."""
    spots = invented.collection_points()[:60]
    stops = [replace(stop(f"P{n}", (0, 0), 300), position=spot.position) for n, spot in enumerate(spots)]
    sites = [replace(site("S1", (0, 0)), position=invented.sites()[0].position)]
    asked = replace(problem(stops, [truck(f"T{n}", 6000) for n in range(4)], sites), depot=invented.depot().position)
    task = {"problem": problem_json.write(replace(asked, options=Options(2))), "roads": invented.base_map()}
    answer = await pool.run(solver.SOLVE, task, kill_after_s=60)
    at = {("stop", each.id): each.position for each in asked.stops} | {("unload", each.id): each.position for each in asked.sites}
    assert (answer["travel"], len(answer["lines"])) == ("graph", len(answer["routes"]))
    for route, drawn in zip(answer["routes"], answer["lines"], strict=True):
        line = [Position(*each) for each in drawn["line"]]
        assert drawn["travel"] == "graph"
        for visit in route["visits"]:
            place = at.get((visit["kind"], visit["id"]), asked.depot)
            assert min(distance_m(place, each) for each in line) < 1.5
        metres = sum(distance_m(a, b) for a, b in pairwise(line))
        assert metres == pytest.approx(route["distance_m"], abs=1.5 * len(line))  # five decimals, and whole metres of each leg
        assert metres == pytest.approx(route["distance_m"], rel=0.01)
    again = await pool.run(solver.DRAW, {**task, "routes": answer["routes"]}, kill_after_s=60)
    assert again == {"lines": answer["lines"]}


async def test_a_solve_does_not_hold_the_event_loop(pool: SpawnedPool) -> None:
    """In a thread a search of three seconds stops the loop for three; here the loop goes on (benchmarks row g measures how well)."""
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - due)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        await pool.run(solver.SOLVE, payload(3), kill_after_s=60)
        ticking.cancel()
    assert longest < 2.0


async def test_asked_to_stop_it_gives_the_plan_it_has(pool: SpawnedPool) -> None:
    """A minute was allowed; asked after the first progress, the whole plan comes within seconds."""
    stop_it = asyncio.Event()
    async with asyncio.timeout(50):
        answer = await pool.run(solver.SOLVE, payload(60), kill_after_s=90, on_progress=lambda _: stop_it.set(), stop=stop_it)
    assert (answer["ended"], answer["verified"], answer["unserved"]) == ("asked", True, [])


async def test_a_killed_solver_is_told_and_the_pool_lives_on(pool: SpawnedPool) -> None:
    """Killed in the midst of its search: the caller hears it, the next plan is made."""
    started = asyncio.Event()

    async def kill() -> None:
        await started.wait()
        (process,) = pool._running.values()
        process.kill()

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        with pytest.raises(WorkDied):
            await pool.run(solver.SOLVE, payload(60), kill_after_s=90, on_progress=lambda _: started.set())
    assert (await pool.run(solver.SOLVE, payload(1), kill_after_s=30))["verified"] is True


async def test_a_search_past_its_deadline_is_killed(pool: SpawnedPool) -> None:
    """The deadline outside holds whatever the solver does inside."""
    with pytest.raises(WorkKilled):
        await pool.run(solver.SOLVE, payload(60), kill_after_s=3)


@pytest.mark.parametrize(
    "spoilt, told",
    [
        ({}, "InvalidProblem"),
        ({"problem": {"stream": "other"}}, "InvalidProblem"),
        ({**payload(1), "matrix": {"distance_m": [[float("nan")]], "duration_s": [[0]]}}, "InvalidTravel"),
        ({**payload(1), "roads": {"features": []}}, "InvalidRoads"),
    ],
)
async def test_what_is_wrong_with_a_task_comes_back_in_words(pool: SpawnedPool, spoilt: dict[str, object], told: str) -> None:
    """The class of the error and its text, no trace, no plan."""
    with pytest.raises(WorkRaised, match=told):
        await pool.run(solver.SOLVE, spoilt, kill_after_s=30)


async def test_an_interrupted_command_prints_the_best_so_far(data_dir: Path) -> None:
    """Ctrl-C reaches the whole group of processes; the plan found until then is checked and printed, long before its minute is over."""
    file = data_dir / "waste" / "cvrplib" / "X-n101-k25.vrp"
    process = await asyncio.create_subprocess_exec(
        *(CITYLOOP, "waste", "solve", str(file), "--format", "cvrplib", "--seconds", "60", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=REPOSITORY,
    )
    try:
        await wait_until(lambda: _searching(process.pid), 60, every=0.1, what="the solver is at work")
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(40):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err.decode()
    assert orjson.loads(out)["verified"] is True


def _searching(pid: int) -> bool:
    """Whether a child of the process has loaded OR-Tools and has worked long enough to be searching."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid and "ortools" in (folder / "maps").read_text():
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 3
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return False
