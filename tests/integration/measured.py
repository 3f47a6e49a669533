"""Figures of a rush: how slow answers were in a span of time, and how late an acknowledged count came to who listens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.rush import CAPACITY, Rush
from tests.integration.wire import Listener


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant of the monotonic clock to another."""

    begin: float
    end: float

    def holds(self, at: float) -> bool:
        return self.begin <= at < self.end


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a span: answers, how slow they were, and how late a count was told on a stream."""

    answers: int
    p99_ms: float
    slowest_ms: float
    latest_told_s: float

    def __str__(self) -> str:
        return (
            f"{self.answers} answers, p99 {self.p99_ms:.0f} ms, slowest {self.slowest_ms:.0f} ms, told {self.latest_told_s:.2f} s at most"
        )


def figures(rush: Rush, span: Span) -> Figures:
    """What a span was like."""
    took = sorted(seconds for at, seconds in rush.took if span.holds(at)) or [0.0]
    ears = [each for each in rush.listeners if "/parking/" in each.path]
    late = [delay for ear in ears for place_id in rush.told.counts for delay in _delays(rush, ear, place_id, span)]
    return Figures(len(took), took[int(len(took) * 0.99)] * 1000, took[-1] * 1000, max(late, default=0.0))


def _delays(rush: Rush, ear: Listener, place_id: str, span: Span) -> list[float]:
    """For each count of a place answered in the span: the seconds until the stream told it, or a newer one."""
    counts, answered = rush.told.counts[place_id], rush.told.counted_at[place_id]
    heard = _heard(ear, place_id)
    delays: list[float] = []
    at = newest = -1
    for number, since in enumerate(answered):
        while newest < number and at + 1 < len(heard):
            at += 1
            newest = _position(counts, heard[at][1], newest)
        if span.holds(since) and newest >= number:
            delays.append(max(0.0, heard[at][0] - since))
    return delays


def _heard(ear: Listener, place_id: str) -> list[tuple[float, int]]:
    told = [(each.at, json.loads(each.data)) for each in ear.heard if each.event == "place.changed"]
    return [(at, CAPACITY - body["free"]["standard"]) for at, body in told if body["id"] == place_id and body["free"]]


def _position(counts: Sequence[int], occupied: int, newest: int) -> int:
    """Which of the counts it is: none that lies before what was heard already."""
    try:
        return counts.index(occupied, max(newest, 0))
    except ValueError:
        return newest
