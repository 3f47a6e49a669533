"""Reservations and the quarter hours of their pools in the database; every read takes the scope of who asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, true, tuple_, update

from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_parking.reservations import statements
from cityloop_parking.reservations.domain import (
    Buckets,
    Holder,
    Limits,
    Reservation,
    State,
    Stay,
)
from cityloop_parking.reservations.scope import OwnedBy, Scope, WholeCity
from cityloop_parking.reservations.statements import COLUMNS, HOLDER_COLUMNS, NETWORK, SUBJECT, Counted, in_state, may_become
from cityloop_parking.reservations.tables import holder_count, pool_bucket, reservation

SWEEP_LIMIT = 500


@dataclass(frozen=True, slots=True)
class HoldOutcome:
    """How far a hold came: each number must be reached before the next one counts."""

    place_open: bool
    present: int
    counted: bool
    taken: int


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation that has just changed, and whose counters it is in."""

    reservation: Reservation
    holder: Holder


async def take(tx: WriteTx, made: Reservation, holder: Holder, *, buckets: Buckets, limits: Limits, event_id: str) -> HoldOutcome:
    """Counts the holder, takes one space in every bucket and stores the reservation, or tells what was missing.

    Takes all buckets or none, in ascending order, by `booked < sellable` in the statement. Whoever raises on the outcome
    rolls the counting back.
    """
    params: dict[str, object] = {
        "id": made.id,
        "place_id": made.place_id,
        "category": made.category,
        "starts_at": made.starts_at,
        "ends_at": made.ends_at,
        "state": made.state.value,
        "held_until": made.held_until,
        "version": made.version,
        "created_at": made.created_at,
        "subject": holder.subject,
        "network_hash": holder.network_hash,
        "bucket_from": buckets.first,
        "bucket_to": buckets.end,
        "held_event_id": event_id,
        "needed": buckets.count,
        "subject_key": SUBJECT + holder.subject,
        "network_key": f"{NETWORK}{holder.network_hash}",
        "holds_per_subject": limits.holds_per_subject,
        "open_per_subject": limits.open_per_subject,
        "holds_per_network": limits.holds_per_network,
    }
    counted = Counted.SUBJECT if holder.network_hash is None else Counted.SUBJECT_AND_NETWORK
    if tx.dialect_name == "sqlite":
        return await _take_in_steps(tx, params, counted, buckets.count)
    opened, present, counting, taken = (await tx.hot.all(statements.HOLD[counted], params))[0]
    return HoldOutcome(opened == 1, present, counting == counted.value, taken)


async def _take_in_steps(tx: WriteTx, params: dict[str, object], counted: Counted, needed: int) -> HoldOutcome:
    opened, present = (await tx.hot.all(statements.READY, params))[0]
    if opened != 1 or present < needed:
        return HoldOutcome(opened == 1, present, counted=False, taken=0)
    counting = await tx.hot.all(statements.COUNT_HOLDERS[counted], params)
    if len(counting) < counted.value:
        return HoldOutcome(True, present, counted=False, taken=0)
    taken = await tx.hot.run(statements.TAKE, params)
    if taken == needed:
        await tx.hot.run(statements.INSERT, params)
    return HoldOutcome(True, present, counted=True, taken=taken)


async def confirm(tx: WriteTx, id: str, owner: OwnedBy, *, at: datetime, event_id: str) -> Reservation | None:
    """Confirms a hold that has not run out, in one condition; None when there is none."""
    params = {"of_id": id, "of_subject": owner.subject, "at": at, "event_id": event_id}
    if tx.dialect_name != "sqlite":
        row = await tx.hot.first(statements.CONFIRM, params)
        return None if row is None else _read(row)
    row = await tx.hot.first(statements.CONFIRM_ALONE, params)
    if row is None:
        return None
    await _free_holders(tx, [_read_held(row)], less_held=[1], less_open=[0])
    return _read(row)


async def cancel(tx: WriteTx, id: str, owner: OwnedBy, *, at: datetime, event_id: str) -> Reservation | None:
    """Gives a space back before its time is over; None when there is nothing to give back."""
    statement = (
        update(reservation)
        .values(state=State.CANCELLED.value, version=reservation.c.version + 1, closed_at=at, closed_event_id=event_id)
        .where(reservation.c.id == id, may_become(State.CANCELLED), reservation.c.ends_at > at, visible(owner))
        .returning(*COLUMNS, *HOLDER_COLUMNS)
    )
    row = await tx.first(statement)
    if row is None:
        return None
    await _give_back(tx, [_read_held(row)])
    return _read(row)


async def expire_due(tx: WriteTx, *, at: datetime) -> list[Reservation]:
    """Ends up to `SWEEP_LIMIT` holds that ran out and frees their spaces; rows that another replica has are left to it."""
    due = _due(in_state(State.HELD), reservation.c.held_until, at)
    held = await _close(tx, due, State.EXPIRED, at=at, still=reservation.c.held_until <= at)
    await _give_back(tx, held)
    return [each.reservation for each in held]


async def complete_due(tx: WriteTx, *, at: datetime) -> list[Reservation]:
    """Ends up to `SWEEP_LIMIT` confirmed reservations whose time is over; their quarter hours are past."""
    due = _due(in_state(State.CONFIRMED), reservation.c.ends_at, at)
    held = await _close(tx, due, State.COMPLETED, at=at, still=reservation.c.ends_at <= at)
    await _free_holders(tx, held, less_held=[0] * len(held), less_open=[1] * len(held))
    return [each.reservation for each in held]


def _due(condition: ColumnElement[bool], due_at: ColumnElement[datetime], at: datetime) -> Any:
    found = select(reservation.c.id).where(condition, due_at <= at).order_by(due_at).limit(SWEEP_LIMIT)
    return found.with_for_update(skip_locked=True).cte("due")


async def _close(tx: WriteTx, due: Any, to: State, *, at: datetime, still: ColumnElement[bool]) -> list[Held]:
    statement = (
        update(reservation)
        .values(state=to.value, version=reservation.c.version + 1, closed_at=at)
        .where(reservation.c.id.in_(select(due.c.id)), may_become(to), still)
        .returning(*COLUMNS, *HOLDER_COLUMNS)
    )
    closed = [_read_held(row) for row in await tx.all(statement)]
    return sorted(closed, key=lambda each: each.reservation.id)


_NAME_CLOSING = HotStatement(
    update(reservation).where(reservation.c.id == bindparam("of_id")).values(closed_event_id=bindparam("event_id"))
)


async def name_closing_events(tx: WriteTx, event_ids: Sequence[tuple[str, str]]) -> None:
    """Notes which event told of the end of each reservation: `(reservation id, event id)`."""
    if event_ids:
        await tx.hot.many(_NAME_CLOSING, [{"of_id": of_id, "event_id": event_id} for of_id, event_id in event_ids])


async def _give_back(tx: WriteTx, held: Sequence[Held]) -> None:
    if held:
        less_held = [0 if each.reservation.confirmed_at else 1 for each in held]
        await _free_holders(tx, held, less_held=less_held, less_open=[1] * len(held))
        await _free_buckets(tx, [each.reservation.id for each in held])


async def _free_holders(tx: WriteTx, held: Sequence[Held], *, less_held: Iterable[int], less_open: Iterable[int]) -> None:
    """Counts holders down, in the order of their keys."""
    of_held: Counter[str] = Counter()
    of_open: Counter[str] = Counter()
    for each, held_n, open_n in zip(held, less_held, less_open, strict=True):
        for key in _keys(each.holder):
            of_held[key] += held_n
            of_open[key] += open_n
    rows = [{"of_key": key, "less_held": of_held[key], "less_open": of_open[key]} for key in sorted(of_held)]
    if rows:
        await tx.hot.many(statements.FREE_HOLDER, rows)


def subject_key(holder: Holder) -> str:
    """Under which key a holder's own reservations are counted."""
    return SUBJECT + holder.subject


def _keys(holder: Holder) -> list[str]:
    keys = [subject_key(holder)]
    return keys if holder.network_hash is None else [NETWORK + holder.network_hash, *keys]


async def _free_buckets(tx: WriteTx, ids: Sequence[str]) -> None:
    """Gives the spaces of these reservations back, all buckets in one statement."""
    covers = (
        (pool_bucket.c.place_id == reservation.c.place_id)
        & (pool_bucket.c.category == reservation.c.category)
        & (pool_bucket.c.starts_at >= reservation.c.bucket_from)
        & (pool_bucket.c.starts_at < reservation.c.bucket_to)
    )
    key = (pool_bucket.c.place_id, pool_bucket.c.category, pool_bucket.c.starts_at)
    freed = (
        select(*key, func.count().label("n"))
        .select_from(reservation.join(pool_bucket, covers))
        .where(reservation.c.id.in_(ids))
        .group_by(*key)
        .cte("freed")
    )
    same = tuple_(*key) == tuple_(freed.c.place_id, freed.c.category, freed.c.starts_at)
    if tx.dialect_name == "postgresql":  # the order that holds take them in
        locked = select(*key).join(freed, same).order_by(*key).with_for_update(of=pool_bucket).subquery()
        await tx.run(select(func.count()).select_from(locked))
    await tx.run(update(pool_bucket).where(same).values(booked=pool_bucket.c.booked - freed.c.n))


def visible(scope: Scope) -> ColumnElement[bool]:
    """The rows that a reader may see."""
    match scope:
        case OwnedBy(subject):
            return reservation.c.subject == subject
        case WholeCity():
            return true()


async def get(tx: Tx, id: str, scope: Scope) -> Reservation | None:
    """One reservation, if the reader may see it."""
    row = await tx.first(select(*COLUMNS).where(reservation.c.id == id, visible(scope)))
    return None if row is None else _read(row)


async def page(tx: Tx, scope: Scope, *, before: str | None, limit: int) -> list[Reservation]:
    """Reservations in the order newest first, from below the id `before`."""
    found = select(*COLUMNS).where(visible(scope)).order_by(reservation.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(reservation.c.id < before)
    return [_read(row) for row in await tx.all(found)]


@dataclass(frozen=True, slots=True)
class Told:
    """A reservation with the ids of the events that told of it so far."""

    reservation: Reservation
    held_event_id: str
    confirmed_event_id: str | None
    closed_event_id: str | None


async def told_page(tx: Tx, *, key: str | None, after: str, most: int) -> list[Told]:
    """Reservations in the order of their ids, behind `after`; or the one with id `key`."""
    found = select(*COLUMNS, reservation.c.held_event_id, reservation.c.confirmed_event_id, reservation.c.closed_event_id)
    found = found.where(reservation.c.id > after).order_by(reservation.c.id).limit(most)
    if key is not None:
        found = found.where(reservation.c.id == key)
    rows: Sequence[Any] = await tx.all(found)
    return [Told(_read(row), *row[11:]) for row in rows]


async def open_stays(tx: Tx, place_id: str, *, now: datetime) -> list[Stay]:
    """What is held or confirmed of a place and not over."""
    r = reservation.c
    asked = select(r.place_id, r.category, r.starts_at, r.ends_at).where(
        r.place_id == place_id, or_(in_state(State.HELD), in_state(State.CONFIRMED)), r.ends_at > now
    )
    rows: Sequence[Any] = await tx.all(asked.order_by(r.starts_at, r.id))
    return [Stay(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class HolderCount:
    """What a subject or network has at the moment."""

    held: int
    open: int


async def holder_counts(tx: Tx, holder: Holder) -> dict[str, HolderCount]:
    """The counters of a holder by key."""
    rows = await tx.all(select(holder_count).where(holder_count.c.key.in_(_keys(holder))))
    return {row.key: HolderCount(row.held, row.open) for row in rows}


async def prune(tx: WriteTx, *, before: datetime) -> None:
    """Forgets quarter hours that are long over, and holders who have nothing."""
    await tx.run(delete(pool_bucket).where(pool_bucket.c.starts_at < before))
    idle = select(holder_count.c.key).where(holder_count.c.held == 0, holder_count.c.open == 0).limit(SWEEP_LIMIT)
    await tx.run(delete(holder_count).where(holder_count.c.key.in_(idle.with_for_update(skip_locked=True))))


def _read(row: Any) -> Reservation:
    id_, place_id, category, starts_at, ends_at, state, held_until, version, created_at, confirmed_at, closed_at = row[:11]
    return Reservation(id_, place_id, category, starts_at, ends_at, State(state), held_until, version, created_at, confirmed_at, closed_at)


def _read_held(row: Any) -> Held:
    return Held(_read(row), Holder(row[11], row[12]))
