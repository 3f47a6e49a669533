"""What must hold: SQL over the tables, at any instant and at rest."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from cityloop_common.clock import instant
from cityloop_common.envelope import from_record
from cityloop_common.eventlog.port import Record
from cityloop_parking.reservations import events
from cityloop_parking.reservations.domain import BUCKET, Count, Pool, sellable
from tests.simulation.log import Broker
from tests.simulation.people import Promises
from tests.simulation.world import Broken

# Each answers rows only when it is broken.
ALWAYS = {
    "more booked than there is": """
        SELECT b.place_id, b.starts_at, b.booked, p.capacity FROM pool_bucket b JOIN place_pool p USING (place_id, category)
        WHERE b.booked > p.capacity - p.out_of_service""",
    "booked is not what the reservations say": """
        SELECT * FROM (
            SELECT b.place_id, b.category, b.starts_at, b.booked,
                (SELECT count(*) FROM reservation r WHERE r.place_id = b.place_id AND r.category = b.category
                    AND r.state IN ('held', 'confirmed', 'completed')
                    AND r.bucket_from <= b.starts_at AND b.starts_at < r.bucket_to) AS promised
            FROM pool_bucket b) WHERE booked <> promised""",
    "a holder's counters are not what its reservations say": """
        SELECT * FROM (
            SELECT h.key, h.held, h.open,
                (SELECT count(*) FROM reservation r WHERE r.state = 'held' AND of IN (r.subject, r.network_hash)) AS are_held,
                (SELECT count(*) FROM reservation r
                    WHERE r.state IN ('held', 'confirmed') AND of IN (r.subject, r.network_hash)) AS are_open
            FROM (SELECT *, substr(key, instr(key, ':') + 1) AS of FROM holder_count) h) WHERE held <> are_held OR open <> are_open""",
    "a state without its instants and event ids": """
        SELECT id, state FROM reservation WHERE (state = 'confirmed' AND (confirmed_at IS NULL OR confirmed_event_id IS NULL))
            OR (state IN ('completed', 'expired', 'cancelled')) <> (closed_at IS NOT NULL AND closed_event_id IS NOT NULL)""",
    "a stored idempotency key without its answer": "SELECT caller, key FROM idempotency WHERE status IS NULL",
}
AT_REST = {
    "the outbox still has something": "SELECT id FROM outbox WHERE published_at IS NULL",
    "a hold outlived its time": "SELECT id FROM reservation WHERE state = 'held'",
    "search does not show the place": """
        SELECT p.id, p.version, e.place_version FROM place p LEFT JOIN search_entry e ON e.place_id = p.id
        WHERE e.place_version IS NOT p.version OR e.place ->> '$.name' IS NOT p.name""",
    "search does not show the newest count": """
        SELECT l.place_id, l.occupied, l.observed_at, e.counts FROM live_count l
        JOIN occupancy o USING (place_id) LEFT JOIN search_entry e USING (place_id)
        WHERE e.counts_version IS NOT o.published_version OR e.counts ->> '$[0].occupied' IS NOT l.occupied""",
}
NEWEST = """
    SELECT l.place_id, l.category, l.occupied, l.capacity, l.observed_at, p.capacity, p.walk_in_reserve, p.out_of_service
    FROM live_count l JOIN place_pool p USING (place_id, category) ORDER BY l.place_id"""
SHRINKS_FOR = timedelta(hours=1)
WAITING = ("SELECT 1 FROM outbox WHERE published_at IS NULL", "SELECT 1 FROM reservation WHERE state = 'held'")
EVENT_IDS = """
    SELECT held_event_id, id FROM reservation
    UNION ALL SELECT confirmed_event_id, id FROM reservation WHERE confirmed_event_id IS NOT NULL
    UNION ALL SELECT closed_event_id, id FROM reservation WHERE closed_event_id IS NOT NULL"""
MAY_BECOME = {
    "held": {"held", "confirmed", "completed", "expired", "cancelled"},
    "confirmed": {"confirmed", "completed"},
    "cancelled": {"cancelled"},
}


class Invariants:
    """Checks of parking over its file, its log and what was promised."""

    def __init__(self, path: Path, broker: Broker, promises: Promises) -> None:
        self._path = path
        self._broker = broker
        self._promises = promises

    def check_always(self) -> None:
        """Raises Broken; all in one snapshot."""
        self._none(ALWAYS)

    def check_at_rest(self) -> None:
        """Raises Broken."""
        self._none(AT_REST)
        self._promises_are_kept()
        self._one_reservation_a_key()
        self._log_tells_the_transitions()
        self._newest_count_wins()
        self._sold_by_the_newest_count()
        self._no_dead_letters()

    def nothing_waits(self) -> bool:
        """Whether outbox, holds and due sweeps are done."""
        return not any(self._rows(sql) for sql in WAITING)

    def figures(self) -> dict[str, int]:
        states = Counter(str(row[0]) for row in self._rows("SELECT state FROM reservation"))
        return {**dict(sorted(states.items())), "acknowledged": len(self._promises.states)}

    def _rows(self, sql: str, path: Path | None = None) -> list[Any]:
        connection = sqlite3.connect(path or self._path, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def _none(self, checks: dict[str, str]) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("BEGIN")
            for name, sql in checks.items():
                if rows := connection.execute(sql).fetchmany(3):
                    raise Broken(f"{name}: {rows}")
        finally:
            connection.close()

    def check_shown(self, node: str, answer: httpx.Response) -> None:
        """Raises Broken when a replica answers with an old number."""
        if answer.status_code != 200:
            raise Broken(f"{node} does not search: {answer.status_code} {answer.text[:200]}")
        shown = {place["id"]: place["free"].get("standard") for place in answer.json()["places"]}
        known = {row[0]: max(0, row[3] - row[2]) for row in self._rows(NEWEST)}
        known |= {row[0]: None for row in self._rows("SELECT id FROM place") if row[0] not in known}
        if shown != known:
            raise Broken(f"{node} shows {shown}, known is {known}")

    def _newest_count_wins(self) -> None:
        for place, _, occupied, _, at, *_ in self._rows(NEWEST):
            observed_at, sent = instant(at), self._promises.counts_sent.get(place, {})
            acknowledged = max(self._promises.counts.get(place, []), default=observed_at)
            if observed_at < acknowledged:
                raise Broken(f"{place}: a count of {acknowledged} was acknowledged, {observed_at} is the newest known")
            if sent.get(observed_at) != occupied:
                raise Broken(f"{place}: {occupied} at {observed_at} was never sent")
        if missing := set(self._promises.counts) - {row[0] for row in self._rows(NEWEST)}:
            raise Broken(f"counts were acknowledged and none is known: {sorted(missing)}")

    def _sold_by_the_newest_count(self) -> None:
        """The quarter hours that the newest count speaks for are sold by it, the later ones by the capacity."""
        newest = {row[0]: (Pool(*row[5:]), Count(row[2], row[3], instant(row[4]))) for row in self._rows(NEWEST)}
        for place, starts_at, sells in self._rows("SELECT place_id, starts_at, sellable FROM pool_bucket"):
            pool, count = newest.get(place, (None, None))
            bucket = instant(starts_at)
            if pool is None or count is None or bucket + BUCKET <= count.observed_at:
                continue
            if sells != (due := sellable(pool, count, bucket, shrinks_for=SHRINKS_FOR)):
                raise Broken(f"{place} at {starts_at} sells {sells}, by the newest count {count} it is {due}")

    def _no_dead_letters(self) -> None:
        for name, topic in self._broker.topics.items():
            letters = [record for partition in topic.partitions for record in partition.records] if name.endswith(".dlq") else []
            if letters:
                raise Broken(f"dead letter in {name}: {letters[0].headers.get('dlq_reason')!r}")

    def _promises_are_kept(self) -> None:
        stored = dict(self._rows("SELECT id, state FROM reservation"))
        for id_, promised in self._promises.states.items():
            allowed = MAY_BECOME[promised] | ({"cancelled"} if id_ in self._promises.cancel_sent else set())
            if stored.get(id_) not in allowed:
                raise Broken(f"reservation {id_} was acknowledged as {promised} and is {stored.get(id_)}")

    def _one_reservation_a_key(self) -> None:
        twice = self._rows("SELECT subject, starts_at, count(*) FROM reservation GROUP BY subject, starts_at, ends_at HAVING count(*) > 1")
        keyed = {subject for subject, _ in self._promises.keyed_stays}
        guests = [row for row in twice if row[0] in keyed or row[0].startswith("guest:")]
        if guests:
            raise Broken(f"one wish, two reservations: {guests}")

    def _log_tells_the_transitions(self) -> None:
        """Every transition's event is in the log, nothing else is, and each reservation's come in their order."""
        stored = dict(self._rows(EVENT_IDS))
        records: list[Record] = [record for partition in self._broker.topics[events.TOPIC].partitions for record in partition.records]
        told = [from_record(record.topic, record.key, record.headers, record.value) for record in records]
        if lost := set(stored) - {event.id for event in told}:
            raise Broken(f"transitions that the log never heard of: {sorted(lost)[:3]}")
        if made_up := {event.id for event in told} - set(stored):
            raise Broken(f"events without a transition: {sorted(made_up)[:3]}")
        newest: dict[str, int] = {}
        for event in told:
            if event.sequence > newest.get(event.key, 0) + 1:
                raise Broken(f"reservation {event.key}: event {event.sequence} came after {newest.get(event.key, 0)}")
            newest[event.key] = max(event.sequence, newest.get(event.key, 0))


class NeighbourInvariants(Invariants):
    """The same, and what a neighbour service has heard."""

    def __init__(self, path: Path, neighbour_path: Path, broker: Broker, promises: Promises) -> None:
        super().__init__(path, broker, promises)
        self._neighbour_path = neighbour_path

    def check_at_rest(self) -> None:
        """Raises Broken."""
        super().check_at_rest()
        self._neighbour_heard_each_once()

    def _neighbour_heard_each_once(self) -> None:
        told = dict(self._rows("SELECT reservation_id, told FROM arrival", self._neighbour_path))
        transitions: Sequence[Any] = self._rows(EVENT_IDS)
        made = Counter(str(reservation) for _, reservation in transitions)
        if told != dict(made):
            differ = {id_: (made.get(id_, 0), told.get(id_, 0)) for id_ in sorted({*made, *told}) if made.get(id_, 0) != told.get(id_, 0)}
            raise Broken(f"transitions and what the neighbour counted: {dict(list(differ.items())[:3])}")
