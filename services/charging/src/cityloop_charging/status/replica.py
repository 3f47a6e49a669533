"""One API replica's share of the changes: it forwards what is newer than what it told before to its streams' clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from cityloop_charging.context import ChargingCtx
from cityloop_charging.status import store
from cityloop_charging.status.domain import Live
from cityloop_charging.status.events import body
from cityloop_charging.status.overview import Overview
from cityloop_charging.status.use_cases import CHANGES
from cityloop_common.cache import position_of
from cityloop_common.compression import Body
from cityloop_common.fanout import FanoutEntry
from cityloop_common.sse import EventStream, Hub, Message, Resume

PAGE = 2_000
CHANGED = "evse.changed"
LATE_COMMITS = timedelta(seconds=60)  # a unit may commit 30 s after its instant, and clocks differ by up to 5 s
COMPARE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """One EVSE's new status on its way to clients. `id` is there when nothing more of its stream entry follows."""

    id: str
    uid: str
    version: int
    text: str

    def message(self) -> Message:
        return Message(self.id, CHANGED, self.uid, self.text, self.version)


class Watch:
    """The event streams of this replica (a FanoutReader). Of each EVSE it remembers the version that it told last."""

    def __init__(self, ctx: ChargingCtx) -> None:
        self._ctx = ctx
        self._told: dict[str, int] = {}
        self._streamed: dict[str, int] = {}  # of those, what the stream itself told
        self._loaded = False
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._compared_at_s = 0.0
        self._revision = 0  # counts what became otherwise
        self._overview = Overview(ctx)
        self.hub = Hub(ctx.service, clock=ctx.clock, rng=ctx.rng)

    async def follow(self) -> None:
        """Background loop: forwards until cancelled."""
        await self._ctx.fanout.follow(self)

    async def overview(self) -> Body:
        """Every station as JSON, with whatever the streams here have told: whoever opened one and then reads misses nothing."""
        return await self._overview.get(lambda: self._revision)

    def stream(self, last_event_id: str | None) -> EventStream:
        """A client's stream of changes, from where it was."""
        resume = Resume(self._ctx.fanout.comes_to, self._missed, lambda uid: self._told.get(uid, 0))
        return self.hub.stream(last_event_id=last_event_id, resume=resume)

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        """Forwards what is newer; entries that were lost are found by comparing with the database now and then."""
        await self.hub.publish_all(self._taken(entries))
        if self._ctx.clock.monotonic() - self._compared_at_s >= COMPARE_EVERY_S:
            await self.poll()

    async def reset(self) -> None:
        """Learns every EVSE's version; clients that were there before are told that they may have missed something."""
        again, began, after = self._loaded, self._ctx.clock.now(), ""
        told: dict[str, int] = {}
        newest = began
        while True:
            async with self._ctx.db.read() as tx:
                lives = await store.page(tx, after=after, most=PAGE)
            if not lives:
                break
            told |= {_uid(live): live.version for live in lives}
            newest = max(newest, *(live.entry.recorded_at for live in lives))
            after = _uid(lives[-1])
        self._told, self._loaded = told, True
        self._revision += 1
        self._newest, self._compared_at_s = newest, self._ctx.clock.monotonic()
        if again or self.hub.clients:
            self.hub.reset("trimmed")

    async def poll(self) -> None:
        """Forwards what the database knows and the stream did not say, with room for late commits."""
        if not self._loaded:
            await self.reset()
            return
        async with self._ctx.db.read() as tx:
            lives = await store.told_since(tx, self._newest - LATE_COMMITS)
        await self.hub.publish_all(message for live in lives for message in self._forward(_told(live)))
        self._newest = max([self._newest, *(live.entry.recorded_at for live in lives)])
        self._compared_at_s = self._ctx.clock.monotonic()

    async def _missed(self, last_event_id: str) -> Sequence[Message] | None:
        entries = await self._ctx.fanout.since(last_event_id)
        if entries is None:
            return None
        lost = await self._unheard_since(datetime.fromtimestamp(position_of(last_event_id)[0] / 1000, UTC))
        return [*(_told(live).message() for live in lost), *(told.message() for told in _read(entries))]

    async def _unheard_since(self, at: datetime) -> list[Live]:
        """What was written since an entry and the stream did not tell here: its entry may be lost, and the client never heard of it."""
        async with self._ctx.db.read() as tx:
            lives = await store.told_since(tx, at - LATE_COMMITS)
        return [live for live in lives if live.version > self._streamed.get(_uid(live), 0)]

    def _taken(self, entries: Sequence[FanoutEntry]) -> Iterator[Message]:
        """Takes each change as it comes to be told."""
        for told in _read(entries):
            self._streamed[told.uid] = max(told.version, self._streamed.get(told.uid, 0))
            yield from self._forward(told)

    def _forward(self, told: Told) -> Iterator[Message]:
        """What there is to tell of a change that is newer."""
        if told.version > self._told.get(told.uid, 0):
            self._told[told.uid] = told.version
            self._revision += 1
            if self.hub.clients:
                yield told.message()


def _read(entries: Sequence[FanoutEntry]) -> Iterator[Told]:
    """What stream entries tell. A client goes on behind a whole entry: only the last of it carries the position."""
    for entry in entries:
        if entry.change.kind != CHANGES:
            continue
        changes = orjson.loads(entry.change.body)
        for number, change in enumerate(changes, 1):
            uid = str(change["evse"]["evse_uid"])
            yield Told(entry.id if number == len(changes) else "", uid, change["version"], orjson.dumps(change["evse"]).decode())


def _told(live: Live) -> Told:
    """What the database knows and no entry tells."""
    return Told("", _uid(live), live.version, body(live).decode())


def _uid(live: Live) -> str:
    return live.entry.report.evse.uid
