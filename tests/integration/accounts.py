"""What must be true of three services at rest: each effect is told once, heard once by each reader, and shown everywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, select

from cityloop_charging.bays.tables import place as parking_place
from cityloop_charging.status.tables import evse_live, evse_status
from cityloop_common.clock import SystemClock
from cityloop_common.db import open_db
from cityloop_common.envelope import Kind
from cityloop_common.eventlog import EventLog, open_event_log
from cityloop_common.service import Service, installed_services
from cityloop_common.tables import inbox, inbox_sequence, outbox
from cityloop_parking.chargers.tables import charger
from cityloop_parking.closures.tables import collection_plan
from cityloop_parking.observations.tables import observation, occupancy
from cityloop_parking.places.tables import place, place_version
from cityloop_parking.reservations.tables import reservation
from cityloop_parking.search.tables import search_entry
from cityloop_waste.ledger.tables import load
from cityloop_waste.planning.tables import plan_version, street_section

SERVICES = {service.name: service for service in installed_services()}
TABLES: Mapping[str, Sequence[Table]] = {
    "parking": (place, place_version, observation, occupancy, reservation, charger, collection_plan, search_entry),
    "charging": (evse_live, evse_status, parking_place),
    "waste": (load, plan_version, street_section),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the log."""

    id: str
    type: str
    key: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """The databases of a city and its event log."""

    rows: Mapping[str, Mapping[str, Sequence[Row[Any]]]]
    log: Mapping[str, Sequence[Letter]]
    moving: bool
    """While the databases were read, one after the other, somebody told of something or had not heard everything."""

    def of(self, service: str, table: Table) -> Sequence[Row[Any]]:
        return self.rows[service][table.name]

    def at_rest(self) -> bool:
        """Everything is sent, and everything sent is read."""
        waiting = [row for service in self.rows for row in self.of(service, outbox) if row.published_at is None]
        return not waiting and not self.moving

    def told(self, topic: str, key: str) -> int:
        """Records of an aggregate."""
        return sum(letter.key == key for letter in self.log[topic])

    def check(self) -> None:
        """All laws but those about what people were answered."""
        assert not any(letters for topic, letters in self.log.items() if topic.endswith(".dlq")), "dead letters"
        for name, service in SERVICES.items():
            self._check_sent_once(name, service)
            self._check_heard_once(name, service)
        self._check_journals()
        self._check_views()

    def _check_sent_once(self, name: str, service: Service) -> None:
        """What the outbox got is in the log, once, and nothing else is; of one key in its order."""
        for topic in {each.topic for each in service.publishes}:
            letters = self.log[topic]
            twice = {event_id: times for event_id, times in Counter(each.id for each in letters).items() if times > 1}
            assert not twice, f"{topic}: sent more than once: {len(twice)} of {len(letters)}: {list(twice)[:5]}"
            assert {each.id for each in letters} == {row.id for row in self.of(name, outbox) if row.topic == topic}, topic
            newest: dict[str, int] = {}
            for each in letters:
                assert each.sequence > newest.get(each.key, 0), (topic, each)
                newest[each.key] = each.sequence

    def _check_heard_once(self, name: str, service: Service) -> None:
        """Each consumer has applied each aggregate's newest state, and each fact once."""
        noted = {(row.consumer, row.topic, row.key): row.sequence for row in self.of(name, inbox_sequence)}
        for consumer in service.consumers:
            taken = {row.event_id for row in self.of(name, inbox) if row.consumer == consumer.name}
            facts = {each.event_type for each in consumer.on if each.kind is Kind.FACT}
            assert taken == {each.id for topic in consumer.topics for each in self.log[topic] if each.type in facts}, consumer.name
            for topic in consumer.topics:
                newest = {each.key: each.sequence for each in self.log[topic]}
                assert newest == {key: at for (who, of, key), at in noted.items() if (who, of) == (consumer.name, topic)}, consumer.name

    def _check_journals(self) -> None:
        """Each journal row that had an effect names its event, and the event is in the log; none is there without a row."""
        events = {topic: {each.id for each in letters} for topic, letters in self.log.items()}
        ends = ("held_event_id", "confirmed_event_id", "closed_event_id")
        transitions = {getattr(row, end) for row in self.of("parking", reservation) for end in ends} - {None}
        assert transitions == events["parking.reservation"]
        assert {row.event_id for row in self.of("parking", place_version)} == events["parking.place"]
        # counts of one minute share a row: their events are counted against the answers instead
        assert {row.event_id for row in self.of("parking", observation)} - {None} <= events["parking.occupancy"]
        assert {row.event_id for row in self.of("charging", evse_status)} - {None} == events["charging.evse"]
        assert {row.event_id for row in self.of("waste", load)} - {None} == events["waste.load"]
        assert {row.event_id for row in self.of("waste", plan_version)} == events["waste.plan"]

    def _check_views(self) -> None:
        """What a service shows of another is what the other one has."""
        places = {row.id: row for row in self.of("parking", place)}
        counts = {row.place_id: row.published_version for row in self.of("parking", occupancy)}
        assert {row.place_id: row.sequence for row in self.of("charging", parking_place)} == {
            id_: row.version for id_, row in places.items()
        }
        sections = {row.place_id: row.version for row in self.of("waste", street_section)}
        assert sections == {id_: row.version for id_, row in places.items() if row.kind == "on_street"}
        chargers = {row.evse_uid: (row.version, row.status) for row in self.of("parking", charger)}
        assert chargers == {row.evse_uid: (row.version, row.status) for row in self.of("charging", evse_live)}
        shown = {row.place_id: (row.place_version, row.counts_version) for row in self.of("parking", search_entry)}
        assert shown == {id_: (row.version, counts.get(id_, 0)) for id_, row in places.items()}
        plans = {(row.stream, str(row.on_day)): row.plan_id for row in sorted(self.of("waste", plan_version), key=lambda row: row.version)}
        assert {(row.stream, row.on_day): row.plan_id for row in self.of("parking", collection_plan)} == plans


async def read_accounts(settings: Mapping[str, str]) -> Accounts:
    """The books of a city, from outside its processes."""
    log = open_event_log(settings["CITYLOOP_EVENT_LOG_URL"], clock=SystemClock())
    letters: dict[str, list[Letter]] = {}
    try:
        before = await _heard(log)
        rows = {name: await _read(settings[f"CITYLOOP_{name.upper()}_DATABASE_URL"], tables) for name, tables in TABLES.items()}
        after = await _heard(log)
        letters = {topic: [] for topic in after}
        async for record in log.read(list(letters), from_start=True, follow=False):
            head = {name: value.decode(errors="replace") for name, value in record.headers.items()}
            letter = Letter(head.get("ce_id", ""), head.get("ce_type", ""), (record.key or b"").decode(), int(head.get("ce_sequence", "0")))
            letters[record.topic].append(letter)
    finally:
        await log.close()
    return Accounts(rows, letters, before != after or any(lag for _, lag in after.values()))


async def _read(database_url: str, tables: Sequence[Table]) -> dict[str, Sequence[Row[Any]]]:
    db = open_db(database_url, clock=SystemClock(), pool_size=2)
    try:
        async with db.read() as tx:
            return {table.name: await tx.all(select(table)) for table in (*tables, outbox, inbox, inbox_sequence)}
    finally:
        await db.close()


async def _heard(log: EventLog) -> dict[str, tuple[int, int]]:
    """How much was told in each topic, and how much of it its readers have not heard."""
    return {info.name: (sum(info.end_offsets.values()), sum(info.lag_records.values())) for info in await log.describe()}


def states(data: Sequence[str], key: str, *values: str) -> dict[str, list[Any]]:
    """What a stream told of each thing, in order: `key` names it, `values` is the path to what changes."""
    found: dict[str, list[Any]] = {}
    for text in data:
        body = json.loads(text)
        told: Any = body
        for name in values:
            told = told[name]
        found.setdefault(body[key], []).append(told)
    return found
