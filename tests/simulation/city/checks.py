"""What must hold between the services: SQL over their tables, the log, what was acknowledged and what is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from cityloop_common.clock import instant, rfc3339
from cityloop_common.envelope import Event, from_record
from cityloop_common.eventlog.port import Retention
from tests.simulation.city import subjects
from tests.simulation.city.closing import Closing
from tests.simulation.city.kept import Kept
from tests.simulation.city.promises import Promises
from tests.simulation.city.questions import ALWAYS, AT_REST, NEWEST_OF_STATES, ROWS_OF_EVENTS, WAITING
from tests.simulation.city.tables import Tables
from tests.simulation.invariants import Invariants
from tests.simulation.log import Broker
from tests.simulation.world import Broken, World

WORKING = {"AVAILABLE", "CHARGING", "RESERVED", "BLOCKED"}
IN_USE = WORKING - {"AVAILABLE"}
CHARGERS = """
    SELECT l.place_id, e.uid, e.bay_no, coalesce(v.status, 'UNKNOWN'), v.happened_at
    FROM charging.link k JOIN charging.location l ON l.id = k.location_id
    JOIN charging.evse e ON e.location_id = l.id AND e.lifecycle = 'in_service'
    LEFT JOIN charging.evse_live v ON v.evse_uid = e.uid AND v.version > 0
    WHERE k.state = 'confirmed' AND k.place_id = l.place_id AND l.state = 'open'"""

FREE = """
    SELECT c.place_id, c.category, min(max(0, c.capacity - c.occupied), p.capacity) FROM parking.live_count c
    JOIN parking.place_pool p ON p.place_id = c.place_id AND p.category = c.category"""


class Checks:
    """The checks of the scenario `city`."""

    def __init__(self, paths: Mapping[str, Path], broker: Broker, promises: Promises, world: World) -> None:
        self._tables = Tables(paths)
        self._broker = broker
        self._world = world
        self._parking = Invariants(paths["parking"], broker, promises.people)
        self._closing = Closing(self._tables, world)
        self._kept = Kept(self._tables, promises)

    def check_always(self) -> None:
        """Raises Broken."""
        self._parking.check_always()
        self._tables.none(ALWAYS)
        self._closing.look()

    def check_at_rest(self) -> None:
        """Raises Broken."""
        self._parking.check_at_rest()
        self._tables.none(AT_REST)
        self._closures_are_the_plans()
        self._charging_bays_add_up()
        for topic, sql in ROWS_OF_EVENTS.items():
            self._log_tells_the_rows(topic, sql)
        self._kept.check()

    def nothing_waits(self) -> bool:
        """Whether outboxes, holds, searches and jobs are done."""
        return not any(self._tables.rows(sql) for sql in WAITING)

    def figures(self) -> dict[str, int]:
        """How much happened."""
        counts = {
            "reservations": "parking.reservation",
            "statuses": "charging.evse_status",
            "links": "charging.link_version",
            "published": "waste.plan_version",
            "closures": "parking.closure",
            "loads": "waste.load",
        }
        return {name: int(self._tables.rows(f"SELECT count(*) FROM {table}")[0][0]) for name, table in counts.items()}

    def check_shown(self, answers: Mapping[str, httpx.Response]) -> None:
        """Raises Broken when a replica shows something else than the tables say."""
        for node, answer in answers.items():
            if answer.status_code != 200:
                raise Broken(f"{node} does not answer: {answer.status_code} {answer.text[:200]}")
            if node.startswith("parking"):
                self._same(f"{node} shows", self._now(subjects.read_places(answer.json())), self._places_now())
            else:
                self._same(f"{node} shows", subjects.read_locations(answer.json()), self._statuses())

    def check_heard(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises Broken when a client of a stream believes what is not true."""
        self._same("parking's listener believes", self._now(states["parking"]), self._places_now())
        plans = {row[0]: (row[1], row[2]) for row in self._tables.rows("SELECT id, state, publication FROM waste.plan")}
        self._same("waste's listener believes", states["waste"], plans)
        removed = {row[0] for row in self._tables.rows("SELECT evse_uid FROM charging.evse_version WHERE lifecycle = 'removed'")}
        evses = self._statuses()
        heard = {uid: status for uid, status in states["charging"].items() if uid in evses}
        self._same("charging's listener believes", heard, evses, may_miss=removed)  # that one came back is no status

    def _same(self, what: str, said: Mapping[str, Any], true: Mapping[str, Any], *, may_miss: Collection[str] = ()) -> None:
        keys = [key for key in sorted({*said, *true}) if key in said or key not in may_miss]
        if wrong := {key: (said.get(key), true.get(key)) for key in keys if said.get(key) != true.get(key)}:
            raise Broken(f"{what}, and it is: {dict(list(wrong.items())[:3])}")

    @staticmethod
    def _now(shown: Mapping[str, Any]) -> dict[str, Any]:
        """What was shown when it was told; a window that has begun or ended since is told of, so the state must be right."""
        return {
            key: {**{name: value[name] for name in ("state", "closed_until", "free")}, "charging": _bays_of(value["charging"])}
            for key, value in shown.items()
        }

    def _statuses(self) -> dict[str, str]:
        sql = """SELECT v.evse_uid, v.status FROM charging.evse_live v JOIN charging.evse e ON e.uid = v.evse_uid
            WHERE v.version > 0 AND e.lifecycle = 'in_service'"""
        return dict(self._tables.rows(sql))

    def _places_now(self) -> dict[str, Any]:
        """State, free spaces and charging bays of car parks, from the three services' own tables."""
        now, bays, closed = self._world.now(), self._bays(), self._windows()
        found: dict[str, Any] = {}
        totals = "SELECT place_id, sum(capacity) FROM parking.place_pool WHERE category <> 'motorcycle' GROUP BY place_id"
        total = dict(self._tables.rows(totals))
        counted = {(row[0], row[1]): row[2] for row in self._tables.rows(FREE)}
        for place_id, kind, state in self._tables.rows("SELECT id, kind, state FROM parking.place"):
            windows = closed.get(place_id, []) if kind == "on_street" and state == "open" else []
            until = next((ends_at for starts_at, ends_at in windows if starts_at <= now < ends_at), None)
            shown_state = "closed" if until is not None else state
            charging = bays.get(place_id)
            if charging is not None:
                charging = _within(charging, total.get(place_id, 0)) | ({} if shown_state == "open" else {"free": None})
            free = {category: spaces for (of, category), spaces in counted.items() if of == place_id and shown_state == "open"}
            closed_until = None if until is None else rfc3339(until)
            found[place_id] = {"state": shown_state, "closed_until": closed_until, "free": free, "charging": charging}
        return found

    def _windows(self) -> dict[str, list[tuple[datetime, datetime]]]:
        """Windows by place of the plans that hold, those of all streams merged."""
        found: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
        for closures in self._closures_that_hold().values():
            for place_id, starts_at, ends_at in closures:
                found[place_id].append((starts_at, ends_at))
        return {place_id: _merged(windows) for place_id, windows in found.items()}

    def _closures_that_hold(self) -> dict[tuple[str, str], set[tuple[str, datetime, datetime]]]:
        sql = "SELECT stream, on_day, change, closures, max(version) FROM waste.plan_version GROUP BY stream, on_day"
        return {
            (stream, on_day): {(place_id, instant(a), instant(b)) for place_id, a, b in orjson.loads(closures)}
            for stream, on_day, change, closures, _ in self._tables.rows(sql)
            if change == "published"
        }

    def _closures_are_the_plans(self) -> None:
        kept: dict[tuple[str, str], set[tuple[str, datetime, datetime]]] = defaultdict(set)
        for stream, on_day, place_id, a, b in self._tables.rows("SELECT stream, on_day, place_id, starts_at, ends_at FROM parking.closure"):
            kept[stream, on_day].add((place_id, instant(a), instant(b)))
        hold = {key: closures for key, closures in self._closures_that_hold().items() if closures}
        if dict(kept) != hold:
            differ = [key for key in sorted({*kept, *hold}) if kept.get(key) != hold.get(key)]
            raise Broken(f"parking's closures are not those of the plans: {[(key, kept.get(key), hold.get(key)) for key in differ[:2]]}")

    def _bays(self) -> dict[str, dict[str, Any]]:
        """Charging bays of each car park by charging's tables: a numbered bay once, an EVSE without a number for itself."""
        by_bay: dict[str, dict[tuple[bool, str], set[str]]] = defaultdict(lambda: defaultdict(set))
        newest: dict[str, datetime] = {}
        for place_id, uid, bay_no, status, since in self._tables.rows(CHARGERS):
            if status in ("PLANNED", "REMOVED"):
                continue
            by_bay[place_id][bay_no is None, bay_no or uid].add(status)
            if since is not None:
                newest[place_id] = max(instant(since), newest.get(place_id, instant(since)))
        return {
            place_id: {
                "bays": len(bays),
                "working": sum(bool(statuses & WORKING) for statuses in bays.values()),
                "free": sum("AVAILABLE" in statuses and not statuses & IN_USE for statuses in bays.values()),
                "as_of": rfc3339(newest[place_id]) if place_id in newest else None,
            }
            for place_id, bays in by_bay.items()
        }

    def _charging_bays_add_up(self) -> None:
        shown = {
            place_id: None if chargers is None else orjson.loads(chargers)
            for place_id, chargers in self._tables.rows("SELECT place_id, chargers FROM parking.search_entry")
        }
        bays = self._bays()
        self._same("parking adds up", shown, {place_id: bays.get(place_id) for place_id in shown} | bays)

    def _log_tells_the_rows(self, topic: str, sql: str) -> None:
        """Every event in the log is a row's and the reverse; each aggregate's come in their order, the newest state is the row's."""
        rows = {row[0]: (row[1], row[2]) for row in self._tables.rows(sql)}
        told = self._events(topic)
        if made_up := {event.id for event in told} - set(rows):
            raise Broken(f"{topic}: events without a row: {sorted(made_up)[:3]}")
        states = self._broker.topics[topic].spec.retention is Retention.COMPACT
        if lost := set(rows) - {event.id for event in told}:
            raise Broken(f"{topic}: rows that the log never heard of: {sorted(lost)[:3]}")
        newest: dict[str, Event] = {}
        for event in told:
            before = newest.get(event.key)
            if not states and event.sequence > (before.sequence if before else 0) + 1:
                raise Broken(f"{topic}: event {event.sequence} of {event.key} came after {before and before.sequence}")
            if before is None or event.sequence > before.sequence:
                newest[event.key] = event
        for key, event_id, version in self._tables.rows(NEWEST_OF_STATES.get(topic, "SELECT 1 WHERE false")):
            if key not in newest or (newest[key].id, newest[key].sequence) != (event_id, version):
                raise Broken(f"{topic}: the newest event of {key} is {newest.get(key)}, its row says {event_id} {version}")

    def _events(self, topic: str) -> list[Event]:
        records = [record for partition in self._broker.topics[topic].partitions for record in partition.history]
        return [from_record(record.topic, record.key, record.headers, record.value) for record in records]


def _bays_of(charging: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is said of the bays; when charging was heard last is another minute in every replica."""
    return None if charging is None else {name: value for name, value in charging.items() if name not in ("heard_at", "freshness")}


def _within(bays: Mapping[str, Any], total: int) -> dict[str, Any]:
    """No more charging bays than the car park has."""
    if not 0 < total < bays["bays"]:
        return dict(bays)
    working = min(bays["working"], total)
    return dict(bays) | {"bays": total, "working": working, "free": min(bays["free"], working)}


def _merged(windows: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    found: list[tuple[datetime, datetime]] = []
    for starts_at, ends_at in sorted(windows):
        if found and starts_at <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends_at))
        else:
            found.append((starts_at, ends_at))
    return found
