"""What must be true of reservations at any rest, read from the database and the event log of a running city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from cityloop_common.clock import SystemClock
from cityloop_common.db import open_db
from cityloop_common.eventlog import open_event_log
from cityloop_common.tables import outbox
from cityloop_parking.reservations.domain import BUCKET
from cityloop_parking.reservations.events import TOPIC
from cityloop_parking.reservations.tables import pool_bucket, reservation

LIVING = {"held", "confirmed", "completed"}


@dataclass(frozen=True, slots=True)
class Books:
    """Reservations, quarter hours, and how many events wait for the log, of one snapshot."""

    reservations: Sequence[Row[Any]]
    buckets: Sequence[Row[Any]]
    unpublished: int

    def states(self, place_id: str) -> Counter[str]:
        """How many reservations of a place stand in which state."""
        return Counter(row.state for row in self.reservations if row.place_id == place_id)

    def event_ids(self) -> set[str]:
        """The id of the event of each transition that was stored."""
        named = ((row.held_event_id, row.confirmed_event_id, row.closed_event_id) for row in self.reservations)
        return {event_id for ids in named for event_id in ids if event_id is not None}

    def check(self) -> None:
        """No quarter hour is over its spaces, and what is booked is what lives."""
        booked: Counter[tuple[str, str, object]] = Counter()
        for row in self.reservations:
            at = row.bucket_from
            while row.state in LIVING and at < row.bucket_to:
                booked[row.place_id, row.category, at] += 1
                at += BUCKET
        assert all(row.booked <= row.sellable for row in self.buckets)
        assert {(row.place_id, row.category, row.starts_at): row.booked for row in self.buckets if row.booked} == dict(booked)


async def read_books(database_url: str) -> Books:
    """The books of a city, from outside its processes."""
    db = open_db(database_url, clock=SystemClock(), pool_size=2)
    try:
        async with db.read() as tx:
            reservations = await tx.all(select(reservation))
            buckets = await tx.all(select(pool_bucket))
            waiting = await tx.all(select(outbox.c.position).where(outbox.c.published_at.is_(None)))
    finally:
        await db.close()
    return Books(reservations, buckets, len(waiting))


@dataclass(frozen=True, slots=True)
class Told:
    """What the event log holds: reservation events in their order, and dead letters of all topics."""

    reservations: Sequence[tuple[str, str, int]]  # key, id, sequence
    dead_letters: int

    def ids(self) -> set[str]:
        return {event_id for _, event_id, _ in self.reservations}

    def check_order(self) -> None:
        """Of one reservation the events come in their sequence; only a repetition of what was there may be older."""
        seen: dict[str, list[str]] = {}
        newest: dict[str, int] = {}
        for key, event_id, sequence in self.reservations:
            if event_id in seen.setdefault(key, []):
                continue
            assert sequence == newest.get(key, 0) + 1, (key, event_id, sequence)
            seen[key].append(event_id)
            newest[key] = sequence


async def read_told(event_log_url: str) -> Told:
    """Everything that the log holds of reservations, and how many dead letters there are."""
    log = open_event_log(event_log_url, clock=SystemClock())
    try:
        topics = [info.name for info in await log.describe()]
        dead = [topic for topic in topics if topic.endswith(".dlq")]
        told = [
            ((record.key or b"").decode(), record.headers["ce_id"].decode(), int(record.headers["ce_sequence"]))
            async for record in log.read([TOPIC], from_start=True, follow=False)
        ]
        letters = [record.offset async for record in log.read(dead, from_start=True, follow=False)] if dead else []
    finally:
        await log.close()
    return Told(told, len(letters))
