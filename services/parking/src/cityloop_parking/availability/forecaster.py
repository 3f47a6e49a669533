"""The forecaster: one process of the service learns the journal of counts behind its closed minutes, and stores what it learnt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cityloop_common import telemetry
from cityloop_common.journal import CLOSED_AFTER
from cityloop_common.leases import Held
from cityloop_parking.availability import store
from cityloop_parking.availability.calendars import calendar_of
from cityloop_parking.availability.learning import Closed, Decided, Learner, UnreadableState
from cityloop_parking.availability.store import Part, Run
from cityloop_parking.context import ParkingCtx

LOOK_EVERY_S = 5.0
ROWS_AT_ONCE = 2000
PARTS_AT_ONCE = 500  # in one unit: some 3 MB
LOADED_AT_ONCE = 500
TELL_EVERY_S = 10.0
GIVEN_UP_AFTER = timedelta(hours=1)  # a rebuild that has stored nothing for so long
log = telemetry.get_logger(__name__)

UNTIL = telemetry.gauge(
    "parking_forecast_learnt_until_timestamp_seconds", "What was recorded before this instant has been learnt and stored."
)
KNOWN = telemetry.gauge("parking_forecast_places", "Car parks that forecasts can be made for.")
READINGS = telemetry.counter("parking_forecast_counts", "Counts that the forecaster learnt or left out.", ("service", "outcome"))
STORED = telemetry.histogram("parking_forecast_store_seconds", "Time of storing what was learnt.")

Alive = Callable[[], Awaitable[None]]
Tell = Callable[[int, int], None]


def closed_minute(now: datetime) -> int:
    """No row can appear any more that is recorded before this minute."""
    return store.minute_of(now - CLOSED_AFTER)


async def run(ctx: ParkingCtx, held: Held) -> None:
    """Learns until cancelled, with the right to be the only one."""
    course = await open_current(ctx, held.renew)
    while True:
        await held.renew()
        await course.learn(closed_minute(ctx.clock.now()), alive=held.renew)
        await course.store_when_due()
        await ctx.clock.sleep(LOOK_EVERY_S)


async def open_current(ctx: ParkingCtx, alive: Alive) -> Course:
    """The current run as it is stored; a new one where there is none, or none that can be read."""
    async with ctx.db.write() as tx:
        found = await store.current_run(tx)
        run = None if found is None else await store.take_run(tx, found)
        await store.drop_building(tx, untouched_for=GIVEN_UP_AFTER)
    await drop_leftovers(ctx, alive)
    if run is not None:
        try:
            return await Course.load(ctx, run, alive)
        except UnreadableState as error:
            log.warning("forecast_learnt_anew", reason=str(error))
            return await rebuild(ctx, alive=alive)
    course = await Course.begin(ctx)
    async with ctx.db.write() as tx:
        if not await store.make_current(tx, course.run):
            raise store.RunTaken
    return course


async def rebuild(ctx: ParkingCtx, *, alive: Alive, tell: Tell | None = None) -> Course:
    """Learns the whole journal anew, as far as the current run has, and lets answers come from that; they go on meanwhile.

    What the current run left out is left out again, so the same rows make the same bytes.
    """
    async with ctx.db.write() as tx:
        await store.drop_building(tx)
        current = await store.current_run(tx)
    course = await Course.begin(ctx, tell=tell)
    while True:
        until = closed_minute(ctx.clock.now()) if current is None else current.minute
        await course.learn(until, alive=alive, again=current is not None)
        await course.store()
        async with ctx.db.write() as tx:
            if await store.make_current(tx, course.run):
                break
            current = await store.current_run(tx)
    await drop_leftovers(ctx, alive)
    return course


async def drop_leftovers(ctx: ParkingCtx, alive: Alive) -> None:
    """Removes what earlier runs had learnt."""
    while True:
        await alive()
        async with ctx.db.write() as tx:
            if not await store.drop_leftovers(tx, most=PARTS_AT_ONCE):
                return


class Course:
    """A run in memory: the learner, how far it is, and what of it is stored."""

    def __init__(self, ctx: ParkingCtx, run: Run, *, tell: Tell | None = None) -> None:
        self._ctx = ctx
        self._tell = tell
        self._stored_at_s = ctx.clock.monotonic()
        self._told_at_s = ctx.clock.monotonic()
        self.run = run
        self.minute = run.minute
        self.learner = Learner(calendar_of(ctx.settings))

    @classmethod
    async def begin(cls, ctx: ParkingCtx, *, tell: Tell | None = None) -> Course:
        """A new run that has learnt nothing."""
        async with ctx.db.write() as tx:
            first = await store.first_minute(tx)
            minute = closed_minute(ctx.clock.now()) if first is None else first
            return cls(ctx, await store.begin_run(tx, minute=min(minute, closed_minute(ctx.clock.now()))), tell=tell)

    @classmethod
    async def load(cls, ctx: ParkingCtx, run: Run, alive: Alive) -> Course:
        """A run as it was stored. Raises UnreadableState.

        What a process wrote that died before it was valid is removed: the next version would make it valid.
        """
        course, after = cls(ctx, run), ("", "", "", -1)
        of_series: list[Part] = []
        while True:
            await alive()
            async with ctx.db.read() as tx:
                page = await store.page_parts(tx, run, after=after, most=LOADED_AT_ONCE)
            if unfinished := [part for part in page if part.version > run.version]:
                async with ctx.db.write() as tx:
                    await store.hold_run(tx, run)
                    await store.drop_parts(tx, run, unfinished)
            for part in page:
                if part.version > run.version:
                    continue
                if of_series and (part.model, part.series) != (of_series[0].model, of_series[0].series):
                    course.learner.take(store.newest(of_series))
                    of_series = []
                of_series.append(part)
            if not page:
                break
            after = page[-1][:4]
        if of_series:
            course.learner.take(store.newest(of_series))
        course._measure()
        return course

    async def learn(self, until: int, *, alive: Alive, again: bool = False) -> None:
        """Learns every minute recorded before `until`; `again` leaves out what was left out before."""
        after, began = store.before_minute(self.minute), self.minute
        self._measure()
        if until <= self.minute:
            return
        closed = await self._decided() if again else await self._closed_now()
        while True:
            await alive()
            async with self._ctx.db.read() as tx:
                page = await store.page_counts(tx, after=after, until=store.minute_begins(until), most=ROWS_AT_ONCE)
            await self._take(page, closed)
            self._tell_progress(began, until)
            if len(page) < ROWS_AT_ONCE:
                break
            after = page[-1]
        self._end_minute(until)
        self._measure()

    async def _take(self, page: Sequence[store.Count], closed: Closed | Decided) -> None:
        for number, count in enumerate(page):
            minute = store.minute_of(count.recorded_at)
            if minute > self.minute:
                self._end_minute(minute)
                await asyncio.sleep(0)
                await self.store_when_due()
            if self.learner.feed(count, closed) or number % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _end_minute(self, minute: int) -> None:
        self.learner.end_minute()
        self.minute = minute

    async def store_when_due(self) -> None:
        """Stores what was learnt unless that was done a moment ago."""
        if self._ctx.clock.monotonic() - self._stored_at_s >= self._ctx.settings.forecast_store_every_s:
            await self.store()

    async def store(self) -> None:
        """Stores what was learnt, in as many units as it takes; it is valid with the last. Raises RunTaken."""
        if self.minute == self.run.minute:
            return
        began_s, version = self._ctx.clock.monotonic(), self.run.version + 1
        waiting: list[Part] = []
        for part in self.learner.unstored(version):
            if len(waiting) == PARTS_AT_ONCE:
                await self._put(waiting)
                waiting = []
            waiting.append(part)
        skips = self.learner.unstored_skips()
        async with self._ctx.db.write() as tx:
            await store.move_run(tx, self.run, version=version, minute=self.minute)
            await store.put_parts(tx, self.run, waiting)
            await store.put_skips(tx, skips)
        self.run = replace(self.run, version=version, minute=self.minute)
        self.learner.note_stored()
        self._stored_at_s = self._ctx.clock.monotonic()
        STORED.observe(self._ctx.service, value=self._stored_at_s - began_s)
        self._measure()

    async def _put(self, parts: Sequence[Part]) -> None:
        async with self._ctx.db.write() as tx:
            await store.hold_run(tx, self.run)
            await store.put_parts(tx, self.run, parts)

    async def _closed_now(self) -> Closed:
        """Where nobody may park, as far as it is known: of a minute that was recorded days ago, less is."""
        async with self._ctx.db.read() as tx:
            since = await store.closed_since(tx)
            windows = await store.windows(tx, ending_after=store.minute_begins(self.minute) - timedelta(days=1))
        by_place: dict[str, list[tuple[datetime, datetime]]] = {}
        for place_id, starts_at, ends_at in windows:
            by_place.setdefault(place_id, []).append((starts_at, ends_at))
        return Closed(since, by_place)

    async def _decided(self) -> Decided:
        async with self._ctx.db.read() as tx:
            return Decided(await store.skips(tx))

    def _tell_progress(self, began: int, until: int) -> None:
        if self._tell is not None:
            self._tell(self.minute - began, until - began)
        now_s = self._ctx.clock.monotonic()
        if now_s - self._told_at_s >= TELL_EVERY_S:
            self._told_at_s = now_s
            self._measure()
            log.info("forecast_learns", minute=store.minute_begins(self.minute).isoformat(), minutes_left=until - self.minute)

    def _measure(self) -> None:
        service, tally = self._ctx.service, self.learner.tally
        UNTIL.set(service, to=self.run.minute * 60)
        KNOWN.set(service, to=len(self.learner))
        for outcome, counts in (("learnt", tally.learnt), ("late", tally.late), ("closed", tally.closed)):
            READINGS.add(service, outcome, by=counts)
        tally.learnt = tally.late = tally.closed = 0
