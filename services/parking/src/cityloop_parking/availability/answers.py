"""What one API replica answers of the time ahead, from what the forecaster stored: read when it is asked for, kept while it is used.

An answer starts from the newest count that its asker knows: what is stored lags behind by a minute or two, a count does not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cityloop_common import telemetry
from cityloop_common.db import Tx
from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_parking.availability import store
from cityloop_parking.availability.calendars import calendar_of
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.freshness import FORECAST_UNTIL_S
from cityloop_parking.availability.learning import CATEGORIES, PAST, PLACES, TODAY, open_models
from cityloop_parking.availability.outlook import Outlook, Spaces, spaces_of
from cityloop_parking.availability.store import CITY, Part, Run
from cityloop_parking.availability.totals import Counts, category_series, instant_of, own_series, total, wall
from cityloop_parking.context import ParkingCtx

MOST_SERIES = 4000  # some 60 MB
READ_WITHIN_S = 2.0
ANSWER_WITHIN_S = 3.0  # with the wait for one's turn: requests do not queue behind a database that is slow
TRY_AGAIN_S = 5.0  # a database that hangs is waited for by one request at a time, not by all
LOOK_AGAIN_S = 15.0  # the forecaster stores once a minute
AT_ONCE = 100
log = telemetry.get_logger(__name__)
FAILURES = telemetry.counter("parking_forecast_failures", "Times that what the forecaster stored could not be read for an answer.")
_Series = tuple[str, str]  # of which model


@dataclass(frozen=True, slots=True)
class Ask:
    """A place at an instant, with the newest count of each category."""

    place_id: str
    at: datetime
    counts: Counts


class Answers:
    """Forecasts of one API replica."""

    def __init__(self, ctx: ParkingCtx) -> None:
        self._ctx = ctx
        self._calendar = calendar_of(ctx.settings)
        self._turn = asyncio.Lock()
        self._run: Run | None = None
        self._looked_at_s = -LOOK_AGAIN_S
        self._failed_at_s = -TRY_AGAIN_S
        self._city_version = 0
        self._forget_all()
        FAILURES.add(ctx.service, by=0)

    def _forget_all(self) -> None:
        self._models = open_models(self._calendar)
        self._known: OrderedDict[_Series, int] = OrderedDict()  # the version of the run as of which each is known
        self._city_version = 0

    async def ask(self, asks: Sequence[Ask]) -> list[Outlook | None]:
        """What is expected, in the order of the questions: None of a place that nothing was learnt of, or that was not counted for a week.

        What cannot be read in time is answered from what is at hand, or not at all; never an error.
        """
        answers: list[Outlook | None] = []
        for start in range(0, len(asks), AT_ONCE):
            some = asks[start : start + AT_ONCE]
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S), self._turn:
                    await self._make_known([each for ask in some for each in _series(ask)])
                    answers += self._outlooks(some)
            except TimeoutError:
                FAILURES.add(self._ctx.service)  # others read slowly before this one: no reason to stop reading
                answers += self._outlooks(some)
            await asyncio.sleep(0)
        return answers

    async def _make_known(self, series: Sequence[_Series]) -> None:
        if self._ctx.clock.monotonic() - self._failed_at_s < TRY_AGAIN_S:
            return
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                await self._read(series)
        except (Unavailable, DeadlinePassed, TimeoutError) as error:
            self._note_failure("forecast_not_read", str(error) or type(error).__name__)
        except (ValueError, KeyError) as error:
            self._note_failure("forecast_not_readable", str(error))
            self._forget_all()
        for each in series:
            if each in self._known:
                self._known.move_to_end(each)
        while len(self._known) > max(MOST_SERIES, len(series)):
            (model, name), _ = self._known.popitem(last=False)
            self._models[model].forget(name)

    def _note_failure(self, what: str, reason: str) -> None:
        self._failed_at_s = self._ctx.clock.monotonic()
        FAILURES.add(self._ctx.service)
        log.warning(what, reason=reason)

    async def _read(self, series: Sequence[_Series]) -> None:
        """Brings what is known of series to the newest version that is stored."""
        is_old = self._ctx.clock.monotonic() - self._looked_at_s >= LOOK_AGAIN_S
        if not is_old and all(each in self._known for each in series):
            return
        async with self._ctx.db.read() as tx:
            run = await store.current_run(tx)
            self._looked_at_s = self._ctx.clock.monotonic()
            if run is None:
                return
            if self._run is None or self._run.run != run.run:
                self._forget_all()
            self._run = run
            await self._read_city(tx, run)
            for model in self._models:
                names = [name for of_model, name in series if of_model == model]
                await self._read_series(tx, run, model, names)

    async def _read_city(self, tx: Tx, run: Run) -> None:
        if self._city_version == run.version:
            return
        for name, model in self._models.items():
            for part in await store.parts_of(tx, run, name, [""], after=self._city_version):
                if part.part == CITY:
                    model.take_city(part.body)
        self._city_version = run.version

    async def _read_series(self, tx: Tx, run: Run, model: str, names: Sequence[str]) -> None:
        """Reads what is new: all of a series that is not known, of another only the parts that were stored since."""
        known = [name for name in names if self._known.get((model, name), 0) > 0]
        stale = [name for name in known if self._known[model, name] < run.version]
        unknown = sorted(set(names).difference(known))
        parts: list[Part] = []
        if unknown:
            parts += await store.parts_of(tx, run, model, unknown, after=0)
        if stale:
            parts += await store.parts_of(tx, run, model, stale, after=min(self._known[model, name] for name in stale))
        by_series: dict[str, dict[str, bytes]] = {}
        for part in parts:
            by_series.setdefault(part.series, {})[part.part] = part.body
        for name, bodies in by_series.items():
            self._take(model, name, bodies)
        for name in (*unknown, *stale):
            self._known[model, name] = run.version

    def _take(self, model: str, name: str, bodies: dict[str, bytes]) -> None:
        if PAST not in bodies and TODAY not in bodies:
            return
        of = self._models[model]
        past = bodies[PAST] if PAST in bodies else of.past(name)
        of.take(name, past, bodies[TODAY] if TODAY in bodies else of.today(name))

    def _outlooks(self, asks: Sequence[Ask]) -> list[Outlook | None]:
        """From what is known now."""
        places = self._models[PLACES].forecast([_whole(ask) for ask in asks])
        questions = [(number, category, question) for number, ask in enumerate(asks) for category, question in _parts(ask)]
        forecasts = self._models[CATEGORIES].forecast([question for _, _, question in questions])
        now = self._ctx.clock.now()
        parts: dict[int, dict[str, Spaces]] = {}
        for (number, category, _), forecast in zip(questions, forecasts, strict=True):
            if (forecast := _not_too_old(forecast, now)) is not None:
                parts.setdefault(number, {})[category] = spaces_of(forecast)
        wholes = [_not_too_old(each, now) for each in places]
        return [self._outlook(ask, wholes[number], parts.get(number, {})) for number, ask in enumerate(asks)]

    @staticmethod
    def _outlook(ask: Ask, whole: Forecast | None, parts: dict[str, Spaces]) -> Outlook | None:
        if whole is None:
            return None
        spaces = spaces_of(whole)
        alone = [category for category in ask.counts if category not in set(own_series(ask.counts))]
        categories = {**parts, **dict.fromkeys(alone, spaces)}
        return Outlook(ask.at, instant_of(whole.since), spaces, dict(sorted(categories.items())))


def _not_too_old(forecast: Forecast | None, now: datetime) -> Forecast | None:
    """None instead of one that starts from a count that is too old to say anything of these days."""
    if forecast is None or (now - instant_of(forecast.since)).total_seconds() > FORECAST_UNTIL_S:
        return None
    return forecast


def _series(ask: Ask) -> Iterable[_Series]:
    yield PLACES, ask.place_id
    for category in own_series(ask.counts):
        yield CATEGORIES, category_series(ask.place_id, category)


def _whole(ask: Ask) -> Question:
    newest = max((count.at for count in ask.counts.values()), default=None)
    return Question(ask.place_id, wall(ask.at), None if newest is None else total(ask.place_id, ask.counts, newest))


def _parts(ask: Ask) -> Iterable[tuple[str, Question]]:
    for category in own_series(ask.counts):
        count, series = ask.counts[category], category_series(ask.place_id, category)
        yield category, Question(series, wall(ask.at), Reading(series, count.at, count.occupied, count.capacity))
