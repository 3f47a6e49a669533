"""What the invented EVSEs do: cars come, charge, stay too long, and go. The same at the same minute in every installation."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cityloop_charging import sample
from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry.domain import EvseUid, Lifecycle
from cityloop_charging.sample import SOURCE, invented_stations
from cityloop_charging.status import store
from cityloop_charging.status import use_cases as status
from cityloop_charging.status.domain import KnownEvse, Live, Outcome, Report, Status
from cityloop_common import telemetry
from cityloop_common.clock import CITY_TZ, city_day
from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_common.rng import Rng

LOOK_EVERY_S = 5.0
STAY_S = 900  # an EVSE decides anew every quarter hour, each at a second of its own: some change every few seconds
HEARD_EVERY_S = 600
MOST_ENTRIES = 200_000  # about two weeks of a live sample; then it stays as it is
log = telemetry.get_logger(__name__)
BROKEN_SHARE, RESERVED_SHARE, BLOCKED_SHARE = 0.02, 0.03, 0.08


@dataclass(frozen=True, slots=True)
class Does:
    """What an EVSE does, since when."""

    status: Status
    since: datetime


def does(uid: str, now: datetime) -> Does:
    """A day's rhythm, and chance that is the same for the same EVSE and quarter hour; a few are broken all day."""
    own_second = zlib.crc32(uid.encode()) % STAY_S
    turn = (int(now.timestamp()) - own_second) // STAY_S
    since = datetime.fromtimestamp(turn * STAY_S + own_second, UTC)
    local = since.astimezone(CITY_TZ)
    chances = Rng(SOURCE)
    if chances.stream(f"{uid}/{city_day(since)}").random() < BROKEN_SHARE:
        return Does(Status.OUTOFORDER, since)
    busy = 0.38 + 0.25 * math.sin((local.hour + local.minute / 60 - 9) / 24 * 2 * math.pi)
    drawn = chances.stream(f"{uid}/{turn}").random()
    for share, found in ((busy, Status.CHARGING), (BLOCKED_SHARE, Status.BLOCKED), (RESERVED_SHARE, Status.RESERVED)):
        if drawn < share:
            return Does(found, since)
        drawn -= share
    return Does(Status.AVAILABLE, since)


async def seed(ctx: ChargingCtx) -> None:
    """Makes the sample, and a first status of each of its EVSEs that has none."""
    await sample.seed(ctx)
    await _report(ctx, ctx.clock.now())


async def keep_alive(ctx: ChargingCtx) -> None:
    """Reports changes as they come, and repeats what has not changed, until the journal has its size."""
    async with ctx.db.read() as tx:
        written = await store.entries_of(tx, SOURCE, most=MOST_ENTRIES)
    while written < MOST_ENTRIES:
        await ctx.clock.sleep(LOOK_EVERY_S)
        try:
            written += await _report(ctx, ctx.clock.now())
        except (Unavailable, DeadlinePassed) as error:
            log.warning("live-sample-waits", reason=str(error))
    while True:
        await ctx.clock.sleep(3600)


async def _report(ctx: ChargingCtx, now: datetime) -> int:
    """One unit for all; answers how many statuses changed. Of an EVSE that somebody else reports on, the newest stays."""
    uids = _uids()
    async with ctx.db.write() as tx:
        known = await store.known(tx, uids)
        lives = await store.standing_in(tx, {each.location_id for each in known.values()})
        reports = [report for uid in uids if uid in known and (report := _due(known[uid], lives, now)) is not None]
        outcomes = await status.record_in(tx, ctx, reports)
    return sum(outcome is Outcome.CURRENT for outcome in outcomes)


def _due(evse: KnownEvse, lives: Mapping[EvseUid, Live], now: datetime) -> Report | None:
    """A change since the newest report, else a repetition when it is time for one."""
    live, model = lives.get(evse.uid), does(evse.uid, now)
    if live is None or (model.since > live.last_at and model.status is not live.status):
        return Report(evse, model.status, model.since, SOURCE)
    if now - live.last_at >= timedelta(seconds=HEARD_EVERY_S):
        return Report(evse, live.status, now.replace(microsecond=0), SOURCE)
    return None


def _uids() -> list[EvseUid]:
    """The sample's EVSEs in service."""
    return [facts.uid(each) for facts in invented_stations() for each in facts.evses if each.lifecycle is Lifecycle.IN_SERVICE]
