"""Which on-street parking a day's routes close, and when: a truck needs the kerb beside a stop. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cityloop_common.clock import day_begins
from cityloop_common.geo import Position, distance_m

WITHIN_M = 30.0
MARGIN = timedelta(minutes=10)
STEP_S = 300
_CELL_DEGREES = 0.001  # about 110 m; more than WITHIN_M up to 70 degrees north


@dataclass(frozen=True, slots=True)
class Section:
    """On-street parking that takes cars now."""

    place_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class Call:
    """A truck at a stop; seconds of the local day."""

    position: Position
    arrival_s: int
    departure_s: int


@dataclass(frozen=True, slots=True)
class Closure:
    """A section that takes nobody for `[starts_at, ends_at)`."""

    place_id: str
    starts_at: datetime
    ends_at: datetime


def calls(problem: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[Call]:
    """The stops of a plan with their times, from the documents of problem and result."""
    at = {stop["id"]: Position(stop["position"]["lon"], stop["position"]["lat"]) for stop in problem["stops"]}
    for route in result["routes"]:
        for visit in route["visits"]:
            if visit["kind"] == "stop":
                yield Call(at[visit["id"]], visit["arrival_s"], visit["departure_s"])


def closures(on: date, calls: Iterable[Call], sections: Sequence[Section]) -> tuple[Closure, ...]:
    """Ten minutes around each stop within 30 m of a section, rounded outward to five minutes, merged per section."""
    midnight = day_begins(on)
    cells: dict[tuple[int, int], list[Section]] = {}
    for section in sections:
        cells.setdefault(_cell(section.position), []).append(section)
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for call in calls:
        starts_at = _down(midnight + timedelta(seconds=call.arrival_s) - MARGIN)
        ends_at = _up(midnight + timedelta(seconds=call.departure_s) + MARGIN)
        for section in _near(call.position, cells):
            spans.setdefault(section.place_id, []).append((starts_at, ends_at))
    return tuple(Closure(place_id, *span) for place_id in sorted(spans) for span in _merged(spans[place_id]))


def _near(at: Position, cells: Mapping[tuple[int, int], Sequence[Section]]) -> Iterator[Section]:
    column, row = _cell(at)
    for right in (-1, 0, 1):
        for up in (-1, 0, 1):
            for section in cells.get((column + right, row + up), ()):
                if distance_m(at, section.position) <= WITHIN_M:
                    yield section


def _cell(at: Position) -> tuple[int, int]:
    return int(at.lon // _CELL_DEGREES), int(at.lat // _CELL_DEGREES)


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Spans without overlap, in their order; those that touch are one."""
    merged: list[tuple[datetime, datetime]] = []
    for starts_at, ends_at in sorted(spans):
        if merged and starts_at <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends_at))
        else:
            merged.append((starts_at, ends_at))
    return merged


def _down(at: datetime) -> datetime:
    return datetime.fromtimestamp(int(at.timestamp()) // STEP_S * STEP_S, UTC)


def _up(at: datetime) -> datetime:
    return datetime.fromtimestamp(-(-int(at.timestamp()) // STEP_S) * STEP_S, UTC)
