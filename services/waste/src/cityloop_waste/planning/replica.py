"""One API replica's stream of plans: what changes, as it changes, to whoever listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from cityloop_common.cache import position_of
from cityloop_common.fanout import FanoutEntry
from cityloop_common.sse import EventStream, Hub, Message, Resume
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import publishing, store, use_cases
from cityloop_waste.planning.plans import CityPlan

CHANGED = "plan.changed"
PROGRESS = "plan.progress"
_EVENTS = {publishing.CHANGE: CHANGED, use_cases.PROGRESS: PROGRESS}
REMEMBERED = 1_000
COMPARE_EVERY_S = 30.0
LATE_COMMITS = timedelta(seconds=60)  # a unit may commit 30 s after its instant, and clocks differ by up to 5 s


class PlanStream:
    """The event streams of this replica (a FanoutReader). While the cache is away it reads the database."""

    def __init__(self, ctx: WasteCtx) -> None:
        self._ctx = ctx
        self._known: dict[str, int] = {}
        self._streamed: dict[str, int] = {}  # of those, what the stream itself told
        self._newest: datetime | None = None
        self._compared_at_s = 0.0
        self._revision = 0
        self.hub = Hub(ctx.service, clock=ctx.clock, rng=ctx.rng)

    async def follow(self) -> None:
        """Background loop: passes changes on until cancelled."""
        await self._ctx.fanout.follow(self)

    def revision(self) -> int:
        """Counts what became otherwise, before any client is told of it."""
        return self._revision

    def stream(self, last_event_id: str | None) -> EventStream:
        """A client's stream, from where it was."""
        resume = Resume(self._ctx.fanout.comes_to, self._missed, lambda plan_id: self._known.get(plan_id, 0))
        return self.hub.stream(last_event_id=last_event_id, resume=resume)

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        """Passes entries on; a plan's change that was read from the database before is not told twice. Lost ones are found by comparing."""
        await self.hub.publish_all(self._taken(entries))
        if self._ctx.clock.monotonic() - self._compared_at_s >= COMPARE_EVERY_S:
            await self.poll()

    async def reset(self) -> None:
        """Remembers what the database has; whoever listened already reads it again."""
        again = self._newest is not None
        for plan in await self._changed(self._ctx.clock.now() - LATE_COMMITS):
            _remember(self._known, plan.id, plan.version)
        self._newest, self._compared_at_s = self._ctx.clock.now(), self._ctx.clock.monotonic()
        self._revision += 1
        if again or self.hub.clients:
            self.hub.reset("trimmed")

    async def poll(self) -> None:
        """Tells of what changed in the database since the last look."""
        now = self._ctx.clock.now()
        plans = reversed(await self._changed((self._newest or now) - LATE_COMMITS))
        await self.hub.publish_all(_changed(plan) for plan in plans if self._takes(plan.id, plan.version))
        self._newest, self._compared_at_s = now, self._ctx.clock.monotonic()

    def _taken(self, entries: Sequence[FanoutEntry]) -> Iterator[Message]:
        """Takes each entry as it comes to be told."""
        for entry in entries:
            change = entry.change
            if change.kind == publishing.CHANGE:
                _remember(self._streamed, change.key, change.version)
                if not self._takes(change.key, change.version):
                    continue
            if (message := _message(entry)) is not None:
                yield message

    def _takes(self, plan_id: str, version: int) -> bool:
        """Whether this version of a plan is new here."""
        is_new = _remember(self._known, plan_id, version)
        self._revision += is_new
        return is_new

    async def _changed(self, since: datetime) -> list[CityPlan]:
        async with self._ctx.db.read() as tx:
            return await store.changed_since(tx, since, most=REMEMBERED)

    async def _missed(self, last_event_id: str) -> Sequence[Message] | None:
        entries = await self._ctx.fanout.since(last_event_id)
        if entries is None:
            return None
        lost = await self._unheard_since(datetime.fromtimestamp(position_of(last_event_id)[0] / 1000, UTC))
        return [*map(_changed, lost), *(message for entry in entries if (message := _message(entry)) is not None)]

    async def _unheard_since(self, at: datetime) -> list[CityPlan]:
        """What was written since an entry and the stream did not tell here: its entry may be lost, and the client never heard of it."""
        return [plan for plan in await self._changed(at - LATE_COMMITS) if plan.version > self._streamed.get(plan.id, 0)]


def _remember(known: dict[str, int], plan_id: str, version: int) -> bool:
    """Whether this version is new there; the plans that changed longest ago are forgotten."""
    before = known.pop(plan_id, 0)
    known[plan_id] = max(before, version)
    if before >= version:
        return False
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
    return True


def _changed(plan: CityPlan) -> Message:
    return Message("", CHANGED, plan.id, orjson.dumps(publishing.shown_body(plan)).decode(), plan.version)


def _message(entry: FanoutEntry) -> Message | None:
    event = _EVENTS.get(entry.change.kind)
    version = entry.change.version if event == CHANGED else 0
    return None if event is None else Message(entry.id, event, entry.change.key, entry.change.body.decode(), version)
