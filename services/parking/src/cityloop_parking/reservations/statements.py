"""The hot statements of holding and confirming, compiled once in each dialect.

On PostgreSQL a hold and a confirmation are one statement each: every step is conditioned on the one before it, so locks are
taken in one order (reservation, holders by key, buckets ascending) and nothing is read first to be written later. SQLite has
no writing CTE; there one writer at a time makes the same steps with the same conditions.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.sql.selectable import FromClause

from cityloop_common.db import HotStatement
from cityloop_parking.closures.tables import closure
from cityloop_parking.places.domain import PlaceKind
from cityloop_parking.places.tables import place
from cityloop_parking.reservations.domain import State, sources_of
from cityloop_parking.reservations.tables import holder_count, pool_bucket, reservation

SUBJECT = "subject:"
NETWORK = "network:"
_COLUMN_NAMES = (
    "id", "place_id", "category", "starts_at", "ends_at", "state", "held_until", "version", "created_at", "confirmed_at", "closed_at",
)  # fmt: skip
COLUMNS = tuple(reservation.c[name] for name in _COLUMN_NAMES)
HOLDER_COLUMNS = (reservation.c.subject, reservation.c.network_hash)
_INSERTED = (
    "id", "place_id", "category", "starts_at", "ends_at", "state", "held_until", "version", "created_at", "subject", "network_hash",
    "bucket_from", "bucket_to", "held_event_id",
)  # fmt: skip


class Counted(Enum):
    """Whose holds are counted: a user's own, and for a guest those of the network too."""

    SUBJECT = 1
    SUBJECT_AND_NETWORK = 2


def in_state(state: State) -> ColumnElement[bool]:
    """Written into the text, so that PostgreSQL can use the partial index of a sweep with a prepared statement."""
    return reservation.c.state == literal_column(f"'{state.value}'")


def may_become(target: State) -> ColumnElement[bool]:
    """The condition of a transition, from the domain's table of them."""
    return or_(*(in_state(source) for source in sources_of(target)))


def _value(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=reservation.c[name].type)


def _number(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=Integer)


def _in_range() -> ColumnElement[bool]:
    return and_(
        pool_bucket.c.place_id == _value("place_id"),
        pool_bucket.c.category == _value("category"),
        pool_bucket.c.starts_at >= _value("bucket_from"),
        pool_bucket.c.starts_at < _value("bucket_to"),
    )


def _free_in_range() -> ColumnElement[bool]:
    return and_(_in_range(), pool_bucket.c.booked < pool_bucket.c.sellable)


def _counted(source: FromClause, *conditions: ColumnElement[bool]) -> Select[int]:
    return select(func.count().label("n")).select_from(source).where(*conditions)


def _open_places() -> Select[int]:
    """The place when it takes people all through the stay: not closed, and no section of street that collection needs meanwhile."""
    needed = exists(
        select(literal_column("1")).where(
            closure.c.place_id == _value("place_id"), closure.c.starts_at < _value("ends_at"), closure.c.ends_at > _value("starts_at")
        )
    )
    free = or_(place.c.kind != literal_column(f"'{PlaceKind.ON_STREET.value}'"), ~needed)
    return _counted(place, place.c.id == _value("place_id"), place.c.state == literal_column("'open'"), free)


def _below_limit() -> ColumnElement[bool]:
    of_network = holder_count.c.key.like(literal_column(f"'{NETWORK}%'"))
    below_open = and_(holder_count.c.held < _number("holds_per_subject"), holder_count.c.open < _number("open_per_subject"))
    return or_(and_(of_network, holder_count.c.held < _number("holds_per_network")), and_(~of_network, below_open))


def _count_holders(dialect: str, counted: Counted, condition: ColumnElement[bool]) -> ReturningInsert[Any]:
    """One more hold for each key of the holder that is below its limit, in the keys' order: network before subject."""
    names = ["subject_key"] if counted is Counted.SUBJECT else ["network_key", "subject_key"]
    keys = union_all(*(select(bindparam(name, type_=String).label("key")) for name in names)).subquery("keys")
    one = literal_column("1", Integer)
    source = select(keys.c.key, one.label("held"), one.label("open")).where(condition).order_by(keys.c.key)
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return (
        make(holder_count)
        .from_select(["key", "held", "open"], source)
        .on_conflict_do_update(
            index_elements=[holder_count.c.key],
            set_={"held": holder_count.c.held + 1, "open": holder_count.c.open + 1},
            where=_below_limit(),
        )
        .returning(holder_count.c.key)
    )


def _hold_postgresql(counted: Counted) -> HotStatement:
    present = _counted(pool_bucket, _in_range()).cte("present")
    opened = _open_places().cte("opened")
    present_n, opened_n = select(present.c.n).scalar_subquery(), select(opened.c.n).scalar_subquery()
    ready = and_(present_n == _number("needed"), opened_n == 1)
    counting = _count_holders("postgresql", counted, ready).cte("counting")
    counting_n = _counted(counting).scalar_subquery()
    locked = (
        select(pool_bucket.c.starts_at)
        .where(_free_in_range(), counting_n == counted.value)
        .order_by(pool_bucket.c.starts_at)
        .with_for_update()
        .cte("locked")
    )
    taking = (
        update(pool_bucket)
        .values(booked=pool_bucket.c.booked + 1)
        .where(_in_range(), pool_bucket.c.starts_at == locked.c.starts_at, _counted(locked).scalar_subquery() == _number("needed"))
        .returning(pool_bucket.c.starts_at)
        .cte("taking")
    )
    taking_n: ScalarSelect[int] = _counted(taking).scalar_subquery()
    row = select(*(_value(name) for name in _INSERTED)).where(taking_n == _number("needed"))
    making = insert(reservation).from_select(_INSERTED, row).cte("making")
    return HotStatement(select(opened_n, present_n, counting_n, taking_n).add_cte(making))


HOLD = {counted: _hold_postgresql(counted) for counted in Counted}

# SQLite: the same steps, one statement each.
READY = HotStatement(select(_open_places().scalar_subquery(), _counted(pool_bucket, _in_range()).scalar_subquery()))
COUNT_HOLDERS = {counted: HotStatement(_count_holders("sqlite", counted, true())) for counted in Counted}
_twin = pool_bucket.alias("twin")
TAKE = HotStatement(
    update(pool_bucket)
    .values(booked=pool_bucket.c.booked + 1)
    .where(
        _free_in_range(),
        _counted(
            _twin,
            _twin.c.place_id == _value("place_id"),
            _twin.c.category == _value("category"),
            _twin.c.starts_at >= _value("bucket_from"),
            _twin.c.starts_at < _value("bucket_to"),
            _twin.c.booked < _twin.c.sellable,
        ).scalar_subquery()
        == _number("needed"),
    )
)
INSERT = HotStatement(insert(reservation).values({name: _value(name) for name in _INSERTED}))


def _confirming() -> ReturningUpdate[Any]:
    at = bindparam("at", type_=reservation.c.confirmed_at.type)
    return (
        update(reservation)
        .values(
            state=literal_column(f"'{State.CONFIRMED.value}'"),
            version=reservation.c.version + 1,
            confirmed_at=at,
            confirmed_event_id=bindparam("event_id", type_=String),
        )
        .where(
            reservation.c.id == bindparam("of_id", type_=String),
            reservation.c.subject == bindparam("of_subject", type_=String),
            may_become(State.CONFIRMED),
            reservation.c.held_until > at,
        )
        .returning(*COLUMNS, *HOLDER_COLUMNS)
    )


def _confirm_postgresql() -> HotStatement:
    mine = _confirming().cte("mine")
    keys = union_all(
        select(literal_column(f"'{SUBJECT}'", String) + mine.c.subject),
        select(literal_column(f"'{NETWORK}'", String) + mine.c.network_hash).where(mine.c.network_hash.is_not(null())),
    )
    locked = select(holder_count.c.key).where(holder_count.c.key.in_(keys)).order_by(holder_count.c.key).with_for_update().cte("locked")
    freeing = update(holder_count).values(held=holder_count.c.held - 1).where(holder_count.c.key == locked.c.key).cte("freeing")
    return HotStatement(select(*mine.c).add_cte(freeing))


CONFIRM = _confirm_postgresql()
CONFIRM_ALONE = HotStatement(_confirming())
FREE_HOLDER = HotStatement(
    update(holder_count)
    .where(holder_count.c.key == bindparam("of_key", type_=String))
    .values(held=holder_count.c.held - _number("less_held"), open=holder_count.c.open - _number("less_open"))
)
