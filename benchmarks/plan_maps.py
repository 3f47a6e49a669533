"""`make screenshots`: maps of a planned day and of what a breakdown makes of it, into docs/images, over the invented city's roads.

The day is the first stream of row n; at 10:40 the truck with most left to do breaks down. What was driven by then is dashed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from xml.sax.saxutils import escape

from benchmarks.rows.planner_day import BREAKDOWN_S, REPLAN_S, stream
from cityloop_common import invented
from cityloop_common.pool import SpawnedPool
from cityloop_waste.planning import problem_json, solver
from cityloop_waste.planning.domain import Problem
from cityloop_waste.planning.plot import COLOURS
from cityloop_waste.planning.replanning import Happened, joined, merged, replan
from tests.support import REPOSITORY

IMAGES = REPOSITORY / "docs" / "images"
SECONDS = 30
WIDTH_PX, TOP_PX, MARGIN_PX, LINE_PX = 1000, 60, 20, 20
TALL = 1.3
"""A degree of latitude beside one of longitude, at 39.6 degrees north."""
_PALE, _INK, _ALARM = "#d9d9d9", "#1a1a1a", "#b00020"
Document = Mapping[str, Any]
Line = Sequence[Sequence[float]]


async def main() -> int:
    """Writes both maps; exit status 1 when what was driven and what comes do not fit together."""
    problem = stream(0)
    problem = replace(problem, options=replace(problem.options, seconds=SECONDS))
    day = await _solved(problem)
    broken = str(max(day["routes"], key=lambda route: sum(1 for visit in route["visits"] if visit["arrival_s"] > BREAKDOWN_S))["truck"])
    made = replan(problem, day["routes"], Happened(BREAKDOWN_S, (broken,)), seconds=REPLAN_S)
    rest = await _solved(made.rest)
    after = merged(made, rest, dict.fromkeys((each.truck for each in made.driven), 0))
    faults = joined(made, after)
    for each in faults:
        sys.stderr.write(f"{each}\n")
    driven = [_until(problem, route) for route in day["routes"]]
    lines = {route["truck"]: line["line"] for route, line in zip(day["routes"], day["lines"], strict=True)}
    later = {route["truck"]: line["line"] for route, line in zip(rest["routes"], rest["lines"], strict=True)}
    trucks = [str(route["truck"]) for route in day["routes"]] + sorted(set(later) - set(lines))
    _write("planned-day.svg", problem, _Map("A planned day", trucks, lines, {}, [_figures(route) for route in day["routes"]]))
    before, told = dict(zip(lines, driven, strict=True)), [_figures(route) for route in after["routes"]]
    _write("replanned-day.svg", problem, _Map(f"The same day, {broken} broke down at 10:40", trucks, later, before, told, broken))
    return 1 if faults else 0


async def _solved(problem: Problem) -> Document:
    payload = {"problem": problem_json.write(problem), "roads": invented.base_map()}
    answer: Document = await SpawnedPool(workers=1).run(solver.SOLVE, payload, kill_after_s=problem.options.seconds + solver.GRACE_S)
    return answer


def _until(problem: Problem, route: Document) -> Line:
    """Straight from visit to visit, as far as they were done at the breakdown."""
    at = {stop.id: stop.position for stop in problem.stops} | {site.id: site.position for site in problem.sites}
    done = [visit for visit in route["visits"] if visit["departure_s"] <= BREAKDOWN_S]
    return [list(at.get(visit["id"], problem.depot)) for visit in done]


def _figures(route: Document) -> str:
    stops = sum(1 for visit in route["visits"] if visit["kind"] == "stop")
    unloads = sum(1 for visit in route["visits"] if visit["kind"] == "unload")
    clock = [f"{visit['arrival_s'] // 3600:02}:{visit['arrival_s'] // 60 % 60:02}" for visit in (route["visits"][0], route["visits"][-1])]
    return f"{route['truck']}: {stops} stops, {unloads} unloads, {clock[0]} to {clock[1]}"


@dataclass(frozen=True, slots=True)
class _Map:
    """What is drawn: ways still to come and ways driven by truck, a line of figures for each, the truck that broke down."""

    title: str
    trucks: Sequence[str]
    lines: Mapping[str, Line]
    before: Mapping[str, Line]
    told: Sequence[str]
    broken: str | None = None

    def colour(self, truck: str) -> str:
        """A truck's own; that of alarm for the one that broke down."""
        return _ALARM if truck == self.broken else COLOURS[self.trucks.index(truck) % len(COLOURS)]


@dataclass(frozen=True, slots=True)
class _Paper:
    """From positions to the paper; north is up."""

    roads: Sequence[Line]
    west: float
    north: float
    px: float
    height: int

    @classmethod
    def of(cls, roads: Sequence[Line]) -> Self:
        """Room for the roads."""
        west, east = min(at[0] for road in roads for at in road), max(at[0] for road in roads for at in road)
        south, north = min(at[1] for road in roads for at in road), max(at[1] for road in roads for at in road)
        px = (WIDTH_PX - 2 * MARGIN_PX) / (east - west)
        return cls(roads, west, north, px, round((north - south) * px * TALL))

    def xy(self, at: Sequence[float]) -> tuple[int, int]:
        """Where a position is on the paper."""
        return round(MARGIN_PX + (at[0] - self.west) * self.px), round(TOP_PX + (self.north - at[1]) * self.px * TALL)

    def line(self, line: Line, style: str) -> str:
        """A line; points that fall on one are drawn once."""
        shown = [self.xy(at) for at in line]
        points = " ".join(f"{x},{y}" for (x, y), last in zip(shown, [None, *shown], strict=False) if (x, y) != last)
        return f'<polyline points="{points}" fill="none" {style}/>'


def _write(name: str, problem: Problem, drawn: _Map) -> None:
    paper = _Paper.of([feature["geometry"]["coordinates"] for feature in _roads()])
    height = TOP_PX + paper.height + LINE_PX * (len(drawn.told) + 2) + MARGIN_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{MARGIN_PX}" y="30" font-size="18">{escape(drawn.title)}</text>',
        *(paper.line(road, f'stroke="{_PALE}" stroke-width="2"') for road in paper.roads),
        *_ways(paper, drawn),
        *_places(paper, problem),
        *_legend(drawn, height),
        "</svg>",
    ]
    (IMAGES / name).write_text("\n".join(parts) + "\n", encoding="utf-8")


def _roads() -> Sequence[Any]:
    features: Sequence[Any] = invented.base_map()["features"]  # type: ignore[assignment]
    return features


def _ways(paper: _Paper, drawn: _Map) -> Iterator[str]:
    for truck in drawn.trucks:
        colour = drawn.colour(truck)
        if truck in drawn.before:
            yield paper.line(drawn.before[truck], f'stroke="{colour}" stroke-dasharray="2 4" opacity="0.6"')
        if truck in drawn.lines:
            yield paper.line(drawn.lines[truck], f'stroke="{colour}" stroke-width="2.2" opacity="0.8"')


def _places(paper: _Paper, problem: Problem) -> Iterator[str]:
    for stop in problem.stops:
        x, y = paper.xy(stop.position)
        yield f'<circle cx="{x}" cy="{y}" r="2" fill="{_INK}"/>'
    for site in problem.sites:
        x, y = paper.xy(site.position)
        yield f'<rect x="{x - 6}" y="{y - 6}" width="12" height="12" fill="{_INK}"/>'
    x, y = paper.xy(problem.depot)
    yield f'<path d="M{x} {y - 9} l8 16 h-16 z" fill="{_INK}"/>'


def _legend(drawn: _Map, height: int) -> Iterator[str]:
    for number, text in enumerate(drawn.told):
        y = height - MARGIN_PX - LINE_PX * (len(drawn.told) - number)
        yield f'<rect x="{MARGIN_PX}" y="{y - 10}" width="24" height="5" fill="{drawn.colour(text.partition(":")[0])}"/>'
        yield f'<text x="{MARGIN_PX + 34}" y="{y}">{escape(text)}</text>'
    words = "triangle: depot; squares: sites; dots: stops; dashed: driven by 10:40"
    yield f'<text x="{MARGIN_PX}" y="{height - MARGIN_PX + 6}" fill="#555">{words}</text>'


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
