"""What a search shows of the time ahead: forecasts of places that are silent, and of every place found at an hour of arrival."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from cityloop_common.clock import rfc3339
from cityloop_parking.availability.answers import Answers, Ask
from cityloop_parking.availability.outlook import Outlook
from cityloop_parking.availability.totals import Counted, wall
from cityloop_parking.search.domain import NEVER, Shown, is_closed_at, is_silent_at
from cityloop_parking.search.index import SearchIndex

EVERY_S = 60.0
AT_ONCE = 200


class Outlooks:
    """Keeps forecasts of silent places beside the counts in an index."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._index: SearchIndex | None = None
        self._round: list[str] = []
        self._began_s = NEVER
        self._done = 0
        self._foreseen: set[str] = set()
        self._forgotten: list[Shown] = []

    def due(self, index: SearchIndex, since_s: float, now_s: float) -> list[Shown]:
        """Places to look at now: of those that are silent a share, so that a minute brings all, and those that have fallen silent since.

        All at once where the index is new, or a minute and more were missed.
        """
        if index is not self._index or now_s - self._began_s >= 2 * EVERY_S:
            self._index = index
            self._begin(index, now_s)
            self._done = len(self._round)
            return list(_still_silent(index, self._round, now_s))
        passed = min(1.0, (now_s - self._began_s) / EVERY_S)
        share = self._round[self._done : (upto := math.ceil(passed * len(self._round)))]
        self._done = max(self._done, upto)
        if passed == 1.0:
            self._begin(index, now_s)
        fallen = index.fallen_silent(since_s, now_s)
        known = {place.id for place in fallen}
        return [*fallen, *(place for place in _still_silent(index, share, now_s) if place.id not in known)]

    def _begin(self, index: SearchIndex, now_s: float) -> None:
        """A round through the places that are silent now."""
        self._round, self._began_s, self._done = [place.id for place in index.silent(now_s)], now_s, 0
        self._forget(index, self._foreseen.difference(self._round))

    async def look(self, index: SearchIndex, places: Sequence[Shown], now: datetime) -> list[Shown]:
        """Brings forecasts of these places to this instant; answers those that are shown otherwise."""
        changed, self._forgotten = self._forgotten, []
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            for place, outlook in zip(some, await self._answers.ask([ask(place, now) for place in some]), strict=True):
                if outlook is None:
                    continue
                self._foreseen.add(place.id)
                if index.foresee(place.id, outlook):
                    changed.append(place)
        return changed

    def _forget(self, index: SearchIndex, place_ids: set[str]) -> None:
        """They are counted again, or nothing is said of them any more: nobody else would tell the streams of that."""
        self._foreseen -= place_ids
        changed = [place_id for place_id in sorted(place_ids) if index.foresee(place_id, None)]
        self._forgotten = [place for place_id in changed if (place := index.find(place_id)) is not None]


def _still_silent(index: SearchIndex, place_ids: Iterable[str], now_s: float) -> Iterator[Shown]:
    for place_id in place_ids:
        if (place := index.find(place_id)) is not None and is_silent_at(place, now_s):
            yield place


async def arrivals(answers: Answers, places: Sequence[Shown], at: datetime) -> list[bytes]:
    """What is expected of places when somebody arrives, as JSON."""
    open_then = [place for place in places if not is_closed_at(place, at.timestamp())]
    asked = await answers.ask([ask(place, at) for place in open_then])
    told = {place.id: _arrival(outlook, at) for place, outlook in zip(open_then, asked, strict=True)}
    nobody = {**_arrival(None, at), "state": "closed", "chance": 0.0}
    return [orjson.dumps(told.get(place.id, nobody)) for place in places]


def ask(place: Shown, at: datetime) -> Ask:
    """The question of a place at an instant, from the counts that are known of it."""
    return Ask(place.id, at, dict(_counts(place)))


def _counts(place: Shown) -> Iterator[tuple[str, Counted]]:
    for count in place.counts:
        yield count.category, Counted(count.occupied, count.capacity, wall(datetime.fromtimestamp(count.observed_at_s, UTC)))


def _arrival(outlook: Outlook | None, at: datetime) -> Mapping[str, object]:
    if outlook is None:
        return {"state": "open", "at": rfc3339(at), "since": None, "free": None, "chance": None, "categories": {}}
    return {"state": "open", **outlook.body()}
