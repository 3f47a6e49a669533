"""What people and the clock do to reservations: hold, confirm, cancel, expire, complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cityloop_common import idempotency, outbox
from cityloop_common.clock import rfc3339
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.idempotency import Answer
from cityloop_parking.closures import store as closures
from cityloop_parking.closures.domain import CLOSED_FOR
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places.domain import PlaceState, UnknownPlace
from cityloop_parking.reservations import domain, events, pool_store, pools, store
from cityloop_parking.reservations.domain import (
    Buckets,
    Conflict,
    Holder,
    Limits,
    PlaceClosed,
    PlaceFull,
    Reservation,
    Rules,
    Stay,
    TooManyHolds,
    TooManyReservations,
    UnknownReservation,
)
from cityloop_parking.reservations.scope import OwnedBy, Scope
from cityloop_parking.settings import ParkingSettings

BUCKETS_KEPT_FOR = timedelta(days=2)
FAR = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Asked:
    """What makes a repeated request the same one: who, the Idempotency-Key if there is one, and the fingerprint."""

    caller: str
    key: str | None
    fingerprint: str


async def once(ctx: ParkingCtx, asked: Asked, effect: Callable[[WriteTx], Awaitable[Answer]]) -> Answer:
    """Runs an effect and stores its answer in one unit; the same request again gets the stored answer."""
    async with ctx.db.write() as tx:
        return await idempotency.once(tx, caller=asked.caller, key=asked.key, fingerprint=asked.fingerprint, run=lambda: effect(tx))


async def hold(ctx: ParkingCtx, want: Stay, holder: Holder) -> Reservation:
    """Keeps a space for a holder until it is confirmed or the hold runs out.

    Raises what `domain.check_stay` raises, UnknownPlace, UnknownCategory, PlaceClosed, PlaceFull, TooManyHolds or
    TooManyReservations.
    """
    async with ctx.db.write() as tx:
        return await hold_in(tx, ctx, want, holder)


async def hold_in(tx: WriteTx, ctx: ParkingCtx, want: Stay, holder: Holder) -> Reservation:
    """`hold` in an open unit, which must end when this raises."""
    made = domain.hold(want, id=ctx.ids.new(), now=ctx.clock.now(), rules=rules(ctx.settings))
    buckets = Buckets.of(made.starts_at, made.ends_at)
    limits = limits_of(ctx.settings)
    event_id = ctx.ids.new()
    outcome = await store.take(tx, made, holder, buckets=buckets, limits=limits, event_id=event_id)
    if outcome.place_open and outcome.present < buckets.count:
        await pools.make_missing(tx, ctx, want, buckets)
        outcome = await store.take(tx, made, holder, buckets=buckets, limits=limits, event_id=event_id)
    if not outcome.place_open:
        raise await _not_open(tx, want)
    if not outcome.counted:
        raise await _over_limit(tx, holder, limits)
    if outcome.taken < buckets.count:
        raise PlaceFull
    await outbox.append(tx, events.reservation_held(made, id=event_id, source=ctx.source))
    return made


async def confirm(ctx: ParkingCtx, id: str, owner: OwnedBy) -> Reservation:
    """Turns a hold into a promise; confirming again changes nothing.

    Raises UnknownReservation, HoldExpired or NotHeld.
    """
    async with ctx.db.write() as tx:
        return await confirm_in(tx, ctx, id, owner)


async def confirm_in(tx: WriteTx, ctx: ParkingCtx, id: str, owner: OwnedBy) -> Reservation:
    """`confirm` in an open unit."""
    now, event_id = ctx.clock.now(), ctx.ids.new()
    confirmed = await store.confirm(tx, id, owner, at=now, event_id=event_id)
    if confirmed is None:
        known = await _known(tx, id, owner)
        refusal = domain.unconfirmable(known, now)
        if refusal is not None:
            raise refusal
        return known
    await outbox.append(tx, events.reservation_confirmed(confirmed, id=event_id, at=now, source=ctx.source))
    return confirmed


async def cancel(ctx: ParkingCtx, id: str, owner: OwnedBy) -> Reservation:
    """Gives a space back; cancelling again changes nothing.

    Raises UnknownReservation, HoldExpired or ReservationOver.
    """
    async with ctx.db.write() as tx:
        return await cancel_in(tx, ctx, id, owner)


async def cancel_in(tx: WriteTx, ctx: ParkingCtx, id: str, owner: OwnedBy) -> Reservation:
    """`cancel` in an open unit."""
    now, event_id = ctx.clock.now(), ctx.ids.new()
    cancelled = await store.cancel(tx, id, owner, at=now, event_id=event_id)
    if cancelled is None:
        known = await _known(tx, id, owner)
        refusal = domain.uncancellable(known)
        if refusal is not None:
            raise refusal
        return known
    await outbox.append(tx, events.reservation_closed(cancelled, id=event_id, at=now, source=ctx.source))
    return cancelled


async def expire_due(ctx: ParkingCtx) -> int:
    """Sweep: ends holds that ran out and frees their spaces; answers how many."""
    async with ctx.db.write() as tx:
        now = ctx.clock.now()
        return await _tell_closed(tx, ctx, await store.expire_due(tx, at=now), at=now)


async def complete_due(ctx: ParkingCtx) -> int:
    """Sweep: ends reservations whose time is over; answers how many."""
    async with ctx.db.write() as tx:
        now = ctx.clock.now()
        return await _tell_closed(tx, ctx, await store.complete_due(tx, at=now), at=now)


async def prune(ctx: ParkingCtx) -> int:
    """Sweep: forgets quarter hours that are long over and holders who have nothing."""
    async with ctx.db.write() as tx:
        await store.prune(tx, before=ctx.clock.now() - BUCKETS_KEPT_FOR)
    return 0


async def find(ctx: ParkingCtx, id: str, scope: Scope) -> Reservation:
    """One reservation. Raises UnknownReservation, also for another's."""
    async with ctx.db.read() as tx:
        found = await store.get(tx, id, scope)
    if found is None:
        raise UnknownReservation
    return found


async def page(ctx: ParkingCtx, scope: Scope, *, before: str | None, limit: int) -> list[Reservation]:
    """Reservations that the reader may see, newest first."""
    async with ctx.db.read() as tx:
        return await store.page(tx, scope, before=before, limit=limit)


async def conflicts(ctx: ParkingCtx, place_id: str, *, operator_id: str | None) -> list[Conflict]:
    """Quarter hours of a place in which promises cannot be kept as things are; None as operator is the whole city.

    Raises UnknownPlace, also for another operator's.
    """
    async with ctx.db.read() as tx:
        if operator_id is None:
            known = await pool_store.state_of(tx, place_id) is not None
        else:
            known = await pool_store.operates(tx, operator_id, place_id)
        if not known:
            raise UnknownPlace
        now = ctx.clock.now()
        oversold = await pool_store.oversold(tx, place_id, now=now)
        windows = await closures.closing(tx, place_id, starts_at=now, ends_at=now + FAR)
        stays = await store.open_stays(tx, place_id, now=now) if windows else []
    return sorted([*oversold, *domain.closed_over(stays, windows, now=now)], key=lambda each: (each.starts_at, each.category, each.reason))


async def republished(ctx: ParkingCtx, key: str | None) -> AsyncIterator[Event]:
    """Every event of every reservation, or of one, as it was first published: same id, sequence and time."""
    after = ""
    while True:
        async with ctx.db.read() as tx:
            found = await store.told_page(tx, key=key, after=after, most=store.SWEEP_LIMIT)
        for told in found:
            for event in _events_of(told, ctx.source):
                yield event
        if len(found) < store.SWEEP_LIMIT:
            return
        after = found[-1].reservation.id


def _events_of(told: store.Told, source: str) -> list[Event]:
    now = told.reservation
    made = replace(now, version=1)
    all_of_it = [events.reservation_held(made, id=told.held_event_id, source=source)]
    if told.confirmed_event_id is not None and now.confirmed_at is not None:
        confirmed = replace(now, version=2)
        all_of_it.append(events.reservation_confirmed(confirmed, id=told.confirmed_event_id, at=now.confirmed_at, source=source))
    if told.closed_event_id is not None and now.closed_at is not None:
        all_of_it.append(events.reservation_closed(now, id=told.closed_event_id, at=now.closed_at, source=source))
    return all_of_it


def rules(settings: ParkingSettings) -> Rules:
    """What the settings allow of a stay."""
    return Rules(
        hold_for=timedelta(seconds=settings.hold_for_s),
        horizon=timedelta(days=settings.horizon_days),
        longest_stay=timedelta(hours=settings.longest_stay_h),
    )


def limits_of(settings: ParkingSettings) -> Limits:
    """How much the settings allow at a time."""
    return Limits(settings.holds_per_subject, settings.open_per_subject, settings.holds_per_network)


async def _known(tx: WriteTx, id: str, scope: Scope) -> Reservation:
    known = await store.get(tx, id, scope)
    if known is None:
        raise UnknownReservation
    return known


async def _tell_closed(tx: WriteTx, ctx: ParkingCtx, closed: Sequence[Reservation], *, at: datetime) -> int:
    told = [(each, ctx.ids.new()) for each in closed]
    await store.name_closing_events(tx, [(each.id, event_id) for each, event_id in told])
    await outbox.append_many(tx, [events.reservation_closed(each, id=event_id, at=at, source=ctx.source) for each, event_id in told])
    return len(closed)


async def _not_open(tx: WriteTx, want: Stay) -> Exception:
    """Why a place takes nobody then; of two reasons the one that lasts longer."""
    state = await pool_store.state_of(tx, want.place_id)
    if state is None:
        return UnknownPlace()
    windows = await closures.closing(tx, want.place_id, starts_at=want.starts_at, ends_at=want.ends_at)
    if state != PlaceState.OPEN or not windows:
        return PlaceClosed()
    first = windows[0]
    return PlaceClosed(
        "waste collection needs this section of street then",
        closed_for=CLOSED_FOR,
        closed_from=rfc3339(first.starts_at),
        closed_until=rfc3339(first.ends_at),
    )


async def _over_limit(tx: WriteTx, holder: Holder, limits: Limits) -> Exception:
    counts = await store.holder_counts(tx, holder)
    mine = counts.get(store.subject_key(holder))
    if mine is not None and mine.open >= limits.open_per_subject:
        return TooManyReservations(f"at most {limits.open_per_subject} that have not ended", limit=limits.open_per_subject)
    if mine is not None and mine.held >= limits.holds_per_subject:
        return TooManyHolds(f"at most {limits.holds_per_subject} unconfirmed holds", limit=limits.holds_per_subject)
    return TooManyHolds("too many unconfirmed holds from this network", limit=limits.holds_per_network)
