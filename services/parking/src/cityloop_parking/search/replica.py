"""One API replica's share of search: the index in memory, kept true, and the stream of changes to its clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from cityloop_common import telemetry
from cityloop_common.cache import position_of
from cityloop_common.clock import instant, rfc3339
from cityloop_common.compression import Body
from cityloop_common.errors import Unavailable
from cityloop_common.fanout import FanoutEntry
from cityloop_common.sse import EventStream, Hub, Message, Resume
from cityloop_parking.availability.answers import Answers
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.chargers import store as chargers
from cityloop_parking.context import ParkingCtx
from cityloop_parking.search import store
from cityloop_parking.search.domain import CHANGE, HEARD, NEVER, Shown, chargers_freshness, render
from cityloop_parking.search.index import UNCOUNTED, Near, SearchIndex
from cityloop_parking.search.outlooks import Outlooks, arrivals
from cityloop_parking.search.overview import Overview

PAGE = 500
CHANGED = "place.changed"
LATE_COMMITS = timedelta(seconds=60)  # a unit may commit 30 s after its instant, and clocks differ by up to 5 s
COMPARE_EVERY_S = 30.0
JUST_COMPARED_S = 1.0  # who comes back may have heard elsewhere what was found in the database and the stream lacks
TURN_EVERY_S = 1.0
MEASURE_EVERY_S = 15.0
CLOCKS_DIFFER_S = 5.0


PLACES = telemetry.gauge("parking_places", "Car parks by how fresh the counts are that drivers are shown", ("service", "freshness"))


class IndexNotReady(Unavailable):
    """The replica has not read the database yet."""

    slug, title = "index-not-ready", "The search index is being loaded"


class Search:
    """The index of this replica (a FanoutReader) and its event streams."""

    def __init__(self, ctx: ParkingCtx, answers: Answers) -> None:
        self._ctx = ctx
        self._answers = answers
        self._outlooks = Outlooks(answers)
        self._index: SearchIndex | None = None
        self._as_of = b""
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._compared_at_s = 0.0
        self._streamed: dict[str, int] = {}  # versions that the stream itself told of
        self._chargers, self._chargers_since_s = Freshness.UNKNOWN, ctx.clock.now().timestamp()
        self._overview = Overview(ctx.clock)
        self.hub = Hub(ctx.service, clock=ctx.clock, rng=ctx.rng)

    async def follow(self) -> None:
        """Background loop: keeps the index true until cancelled."""
        await self._ctx.fanout.follow(self)

    async def turn(self) -> None:
        """Background loop: tells the streams what the clock alone changes. An answer looks at the clock itself.

        A count that is not repeated is late, then unknown; a window of collection begins or ends; charging falls silent.
        """
        since_s, measured_s = self._ctx.clock.now().timestamp(), NEVER
        while True:
            await self._ctx.clock.sleep(TURN_EVERY_S)
            now_s = self._ctx.clock.now().timestamp()
            if self._index is not None:
                if now_s - measured_s >= MEASURE_EVERY_S:
                    measured_s = now_s
                    self._measure(self._index.classes(now_s))
                places = self._index.turned(since_s, now_s)
                if self._chargers_turned(now_s):
                    places += self._index.with_chargers()
                await self.hub.publish_all(self._as_they_are(places))
            since_s = max(since_s, now_s)

    async def foresee(self) -> None:
        """Background loop: keeps what is expected beside the old counts of places that have fallen silent, and tells the streams."""
        since_s = self._ctx.clock.now().timestamp()
        while True:
            await self._ctx.clock.sleep(TURN_EVERY_S)
            now = self._ctx.clock.now()
            index, now_s = self._index, now.timestamp()
            if index is not None:
                places = self._outlooks.due(index, since_s, now_s)
                await self.hub.publish_all(self._as_they_are(await self._outlooks.look(index, places, now)))
            since_s = max(since_s, now_s)

    def _measure(self, classes: Counter[str]) -> None:
        for freshness in (*Freshness, UNCOUNTED):
            PLACES.set(self._ctx.service, str(freshness), to=classes[freshness])

    async def check(self) -> None:
        """Raises IndexNotReady until the first reading is done."""
        self._ready()

    def nearest(self, ask: Near) -> bytes:
        """The answer of a search as JSON. `as_of`: what the database knew then is in it. Raises IndexNotReady."""
        index = self._ready()
        places = index.answer(ask, self._ctx.clock.now().timestamp())
        return b'{"as_of":"%b","datum":"wgs84","places":%b}' % (self._as_of, places)

    async def nearest_at(self, ask: Near, at: datetime) -> bytes:
        """The answer of a search by somebody who arrives at an instant. Raises IndexNotReady."""
        index, as_of = self._ready(), self._as_of
        found = index.nearest(ask)
        expected = await arrivals(self._answers, [entry.place for _, entry in found], at)
        now_s = self._ctx.clock.now().timestamp()
        places = [
            b'%b,"distance_m":%d,"arrival":%b}' % (entry.body(now_s, index.heard_s), metres, arrival)
            for (metres, entry), arrival in zip(found, expected, strict=True)
        ]
        return b'{"as_of":"%b","datum":"wgs84","places":[%b]}' % (as_of, b",".join(places))

    async def overview(self) -> Body:
        """Every car park as JSON, made once for all who ask. Raises IndexNotReady."""
        return await self._overview.of(lambda: (self._ready(), self._as_of))

    def stream(self, last_event_id: str | None) -> EventStream:
        """A client's stream of changes, from where it was."""
        resume = Resume(self._ctx.fanout.comes_to, self._missed, lambda place_id: self._ready().version(place_id))
        return self.hub.stream(last_event_id=last_event_id, resume=resume)

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        """Takes what is newer. Each entry is a whole row, so none must be read for a gap; lost last ones are found by comparing."""
        await self.hub.publish_all(self._taken(entries))
        if self._ctx.clock.monotonic() - self._compared_at_s >= COMPARE_EVERY_S:
            await self.poll()
        else:
            self._true_at(self._ctx.clock.now())

    async def reset(self) -> None:
        """Reads every entry; until that is done the old index answers with its old `as_of`."""
        again = self._index is not None
        began, index, after = self._ctx.clock.now(), SearchIndex(), ""
        newest = began
        while True:
            async with self._ctx.db.read() as tx:
                rows = await store.page(tx, after=after, most=PAGE)
                heard_at = await chargers.heard_at(tx)
            if not rows:
                break
            after = rows[-1].place_id
            newest = max(newest, *(row.updated_at for row in rows))
            for row in rows:
                if (shown := row.shown()) is not None:
                    index.put(shown)
        index.hear(NEVER if heard_at is None else heard_at.timestamp())
        self._index, self._newest, self._compared_at_s = index, newest, self._ctx.clock.monotonic()
        self._true_at(began)
        if again or self.hub.clients:
            self.hub.reset("trimmed")

    async def poll(self) -> None:
        """Compares with the database: what was written since the newest known entry, with room for late commits."""
        if self._index is None:
            await self.reset()
            return
        began = self._ctx.clock.now()
        async with self._ctx.db.read() as tx:
            heard_at = await chargers.heard_at(tx)
            self._index.hear(NEVER if heard_at is None else heard_at.timestamp())
            written = await store.written_since(tx, self._newest - LATE_COMMITS)
            unknown = [place_id for place_id, version, _ in written if version > self._index.version(place_id)]
            rows: list[store.Entry] = []
            for start in range(0, len(unknown), PAGE):
                rows += await store.read(tx, unknown[start : start + PAGE])
        await self.hub.publish_all(message for row in rows for message in self._put("", row))
        self._newest = max([self._newest, *(updated_at for _, _, updated_at in written)])
        self._compared_at_s = self._ctx.clock.monotonic()
        self._true_at(began)

    def _ready(self) -> SearchIndex:
        if self._index is None:
            raise IndexNotReady(retry_after_s=1)
        return self._index

    def _true_at(self, at: datetime) -> None:
        self._as_of = rfc3339(at).encode()

    async def _missed(self, last_event_id: str) -> Sequence[Message] | None:
        if self._ctx.clock.monotonic() - self._compared_at_s >= JUST_COMPARED_S:
            await self.poll()
        entries = await self._ctx.fanout.since(last_event_id)
        if entries is None:
            return None
        rows = [(entry.id, self._row(entry).shown()) for entry in entries if entry.change.kind == CHANGE]
        known = [self._message("", place) for place in (*self._unheard_since(last_event_id), *self._turned_since(last_event_id))]
        return [*known, *(self._message(id_, shown) for id_, shown in rows if shown is not None)]

    def _unheard_since(self, last_event_id: str) -> list[Shown]:
        """Places written since an entry that the stream did not tell of here: its entry may be lost, and the client never heard of it."""
        if self._index is None:
            return []
        since_s = position_of(last_event_id)[0] / 1000 - LATE_COMMITS.total_seconds()
        written = self._index.written_since(int(since_s * 1_000_000))
        return [place for place in written if place.version > self._streamed.get(place.id, 0)]

    def _turned_since(self, last_event_id: str) -> list[Shown]:
        """Places that are shown otherwise, by the clock alone, since an entry of the stream, whose id begins with its millisecond."""
        if self._index is None:
            return []
        since_s = position_of(last_event_id)[0] / 1000 - CLOCKS_DIFFER_S
        places = self._index.turned(since_s, self._ctx.clock.now().timestamp())
        if self._chargers_since_s >= since_s - COMPARE_EVERY_S:  # another replica may have noticed it so much later
            places += self._index.with_chargers()
        return places

    def _chargers_turned(self, now_s: float) -> bool:
        """Whether charging has fallen silent or is heard again since the last look."""
        is_now = chargers_freshness(self._ready().heard_s, now_s)
        if is_now is self._chargers:
            return False
        self._chargers, self._chargers_since_s = is_now, now_s
        return True

    def _row(self, entry: FanoutEntry) -> store.Entry:
        body = orjson.loads(entry.change.body)
        parts = body.get("chargers"), body.get("closures")  # the first release's workers wrote neither, nor when charging was heard
        if self._index is not None and (heard_at := body.get(HEARD)) is not None:
            self._index.hear(instant(heard_at).timestamp())
        return store.Entry(entry.change.key, entry.change.version, body["place"], body["counts"], *parts, self._newest)

    def _taken(self, entries: Sequence[FanoutEntry]) -> Iterator[Message]:
        """Takes each entry as it comes to be told."""
        for entry in entries:
            change = entry.change
            self._streamed[change.key] = max(change.version, self._streamed.get(change.key, 0))
            yield from self._put(entry.id, self._row(entry))

    def _put(self, id_: str, row: store.Entry) -> Iterator[Message]:
        """Takes a row; what there is to tell of it."""
        shown = row.shown()
        if shown is not None and self._ready().put(shown) and self.hub.clients:
            yield self._message(id_, shown)

    def _as_they_are(self, places: Sequence[Shown]) -> Iterator[Message]:
        """Each as it is known when its turn comes: a newer version that was told meanwhile is not followed by an older one."""
        for place in places if self.hub.clients else ():
            if (newest := self._ready().find(place.id)) is not None:
                yield self._message("", newest)

    def _message(self, id_: str, shown: Shown) -> Message:
        heard_s, outlook = NEVER, None
        if self._index is not None:
            entry = self._index.entry(shown.id)
            heard_s, outlook = self._index.heard_s, None if entry is None else entry.outlook
        body = render(shown, self._ctx.clock.now().timestamp(), heard_s=heard_s, outlook=outlook).body + b"}"
        return Message(id_, CHANGED, shown.id, body.decode(), shown.version)
