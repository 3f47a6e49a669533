"""Learns the journal of counts in its order, minute by minute: the same rows make the same bytes, in one go or after any restart."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import orjson

from cityloop_parking.availability.calendar import Calendar
from cityloop_parking.availability.domain import Reading
from cityloop_parking.availability.model import Model
from cityloop_parking.availability.store import CITY, Count, Part, Skip, minute_of
from cityloop_parking.availability.totals import Counted, category_series, own_series, total, wall

STEP_MIN = 15
AT_ONCE = 500  # readings that a model takes in one go: about 20 ms
PLACES, CATEGORIES, COUNTS = "places", "categories", "counts"
PAST, TODAY = "past", "today"


class UnreadableState(Exception):
    """What is stored was written by another version of the model: it is learnt anew."""


class Key(NamedTuple):
    """Which part of what is learnt."""

    model: str
    series: str
    part: str


def open_models(calendar: Calendar) -> Mapping[str, Model]:
    """The two models of a city: places' totals, and categories, lighter."""
    return {PLACES: Model(STEP_MIN, calendar), CATEGORIES: Model(STEP_MIN, calendar, light=True)}


@dataclass(frozen=True, slots=True)
class Closed:
    """Where nobody may park, and since when or in which windows: what is counted there then teaches nothing."""

    since: Mapping[str, datetime]
    windows: Mapping[str, Sequence[tuple[datetime, datetime]]]

    def covers(self, count: Count) -> bool:
        """Whether the place took nobody when it was counted."""
        since = self.since.get(count.place_id)
        if since is not None and since <= count.happened_at:
            return True
        return any(starts_at <= count.happened_at < ends_at for starts_at, ends_at in self.windows.get(count.place_id, ()))


class Decided:
    """What an earlier learning of the same rows left out."""

    def __init__(self, skips: Iterable[Skip]) -> None:
        self._since: dict[str, list[int]] = {}
        self._until: dict[str, list[int]] = {}
        for each in sorted(skips):
            self._since.setdefault(each.place_id, []).append(each.since_minute)
            self._until.setdefault(each.place_id, []).append(each.until_minute)

    def covers(self, count: Count) -> bool:
        """Whether the row was left out."""
        begins = self._since.get(count.place_id)
        if begins is None:
            return False
        minute = minute_of(count.recorded_at)
        at = bisect.bisect_right(begins, minute) - 1
        return at >= 0 and minute <= self._until[count.place_id][at]


@dataclass(slots=True)
class Tally:
    """How many rows of the journal were learnt, were older than what was known, or came from places that took nobody."""

    learnt: int = 0
    late: int = 0
    closed: int = 0


class Learner:
    """The models with the newest count of each category; knows which parts changed since they were stored."""

    def __init__(self, calendar: Calendar) -> None:
        self.models = open_models(calendar)
        self.tally = Tally()
        self._counts: dict[str, dict[str, Counted]] = {}
        self._waiting: dict[str, list[Reading]] = {PLACES: [], CATEGORIES: []}
        self._group: list[Count] = []
        self._changed: set[tuple[str, str]] = set()
        self._stored: dict[Key, tuple[int, bytes]] = {}  # the valid slot and what is in it
        self._storing: dict[Key, tuple[int, bytes]] = {}  # the same of the next version
        self._left_out: dict[str, bool] = {}  # of places counted in this minute, whether they are skipped
        self._skipping: dict[str, Skip] = {}
        self._skipped: dict[tuple[str, int], Skip] = {}

    def __len__(self) -> int:
        """How many places it knows."""
        return len(self._counts)

    # ---- learning

    def feed(self, count: Count, closed: Closed | Decided) -> bool:
        """Takes the next row of a minute; True when models have learnt, which takes time."""
        if count.place_id not in self._left_out:  # one decision a place and minute, so that it can be kept
            self._left_out[count.place_id] = closed.covers(count)
        if self._left_out[count.place_id]:
            self._skip(count)
            return False
        self._skipping.pop(count.place_id, None)
        learnt = self._close_group() if self._group and _group(self._group[0]) != _group(count) else False
        self._group.append(count)
        return learnt

    def end_minute(self) -> None:
        """All rows of a recorded minute have been fed: what waits is learnt."""
        self._close_group()
        for name in self._waiting:
            self._learn(name)
        self._left_out = {}

    def _skip(self, count: Count) -> None:
        minute = minute_of(count.recorded_at)
        before = self._skipping.get(count.place_id)
        skip = Skip(count.place_id, minute if before is None else before.since_minute, minute)
        self._skipping[count.place_id] = self._skipped[skip.place_id, skip.since_minute] = skip
        self.tally.closed += 1

    def _close_group(self) -> bool:
        """What one report said of a place's categories becomes readings of its series."""
        if not self._group:
            return False
        place_id, at = self._group[0].place_id, wall(self._group[0].happened_at)
        counts = self._counts.setdefault(place_id, {})
        fresh = {}
        for count in self._group:
            if count.category in counts and counts[count.category].at > at:
                self.tally.late += 1
            else:
                fresh[count.category] = Counted(count.occupied, count.capacity, at)
        self._group = []
        if not fresh:
            return False
        counts.update(fresh)
        self.tally.learnt += len(fresh)
        self._changed.add((PLACES, place_id))
        whole = total(place_id, counts, at)
        if whole is not None:
            self._waiting[PLACES].append(whole)
        for category in sorted(fresh.keys() & set(own_series(counts))):
            reading = Reading(category_series(place_id, category), at, fresh[category].occupied, fresh[category].capacity)
            self._waiting[CATEGORIES].append(reading)
        full = [name for name, readings in self._waiting.items() if len(readings) >= AT_ONCE]
        for name in full:
            self._learn(name)
        return bool(full)

    def _learn(self, name: str) -> None:
        readings, self._waiting[name] = self._waiting[name], []
        if readings:
            self._changed |= {(name, series) for series in self.models[name].observe(readings)}

    # ---- what is stored

    def take(self, parts: Sequence[Part]) -> None:
        """Takes back all stored parts of one series. Raises UnreadableState."""
        bodies = {part.part: part.body for part in parts}
        model, series = parts[0].model, parts[0].series
        try:
            if CITY in bodies:
                self.models[model].take_city(bodies[CITY])
            if COUNTS in bodies:
                self._counts[series] = {category: Counted(*rest) for category, *rest in orjson.loads(bodies[COUNTS])}
            if TODAY in bodies:
                self.models[model].take(series, bodies[PAST], bodies[TODAY])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UnreadableState(f"{model} {series}: {error}") from error
        for part in parts:
            self._stored[Key(part.model, part.series, part.part)] = part.slot, _digest(part.body)

    def unstored(self, version: int) -> Iterator[Part]:
        """What changed since it was stored last, as parts of the next version."""
        self._storing = {}
        for model, series in sorted(self._changed):
            for part, body in self._bodies(model, series):
                yield from self._part(Key(model, series, part), version, body)
        for model in sorted({model for model, _ in self._changed}):
            yield from self._part(Key(model, "", CITY), version, self.models[model].city())

    def unstored_skips(self) -> list[Skip]:
        """Stretches that were left out and are not stored as they are now."""
        return list(self._skipped.values())

    def note_stored(self) -> None:
        """The version of what was answered last is valid now."""
        self._stored |= self._storing
        self._changed = set()
        self._skipped = {}

    def _bodies(self, model: str, series: str) -> Iterator[tuple[str, bytes]]:
        if model == PLACES:
            counts = sorted(self._counts[series].items())
            yield COUNTS, orjson.dumps([(category, *count) for category, count in counts])
        if self.models[model].knows(series):  # not one whose only counts are of no spaces
            yield PAST, self.models[model].past(series)
            yield TODAY, self.models[model].today(series)

    def _part(self, key: Key, version: int, body: bytes) -> Iterator[Part]:
        """The part in the slot that is not valid; none when it is stored as it is."""
        slot, stored = self._stored.get(key, (1, b""))
        digest = _digest(body)
        if digest != stored:
            self._storing[key] = 1 - slot, digest
            yield Part(*key, 1 - slot, version, body)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).digest()


def _group(count: Count) -> tuple[datetime, datetime, str]:
    return count.recorded_at, count.happened_at, count.place_id
