"""A rush in a city of three services behind one address: everybody asks once and notes each answer that is none."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_common import invented
from cityloop_common.clock import CITY_TZ
from tests.e2e.processes import City, command, token
from tests.integration.wire import Answer, Broken, Listener, Wire
from tests.support import PATIENCE_S

PAUSE_S = 0.02
CAPACITY = 5000
LOT, CHARGER, WEIGHER = "rush", "123456789", "sample-operator"
STATION = f"{CHARGER}*RUSH"
COUNTED, HELD, KERB = ("rush-1", "rush-2"), "rush-held", "rush-kerb"
CONNECTORS = ("RUSH01", "RUSH02")
STREAMS = ("parking", "parking", "charging", "waste")
AT = invented.car_parks()[1].position
KERB_AT = next(spot for spot in invented.car_parks() if spot.kerbside).position


@dataclass(slots=True)
class Trip:
    """A driver's wish and the state that the last answer told."""

    id: str
    told: str


@dataclass(slots=True)
class Told:
    """What was acknowledged."""

    counts: dict[str, list[int]] = field(default_factory=dict)  # occupied spaces of each counted place, in order
    counted_at: dict[str, list[float]] = field(default_factory=dict)  # and when each was answered
    statuses: dict[str, list[int]] = field(default_factory=dict)  # T/CEC status of each connector, in order
    loads: dict[str, str] = field(default_factory=dict)  # load by ticket
    plans: list[str] = field(default_factory=list)  # published, in order
    trips: list[Trip] = field(default_factory=list)


@dataclass(slots=True)
class Rush:
    """The people, what they were told, and what went wrong."""

    port: int
    settings: Mapping[str, str]
    secrets: Mapping[str, str]
    told: Told = field(default_factory=Told)
    failed: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)  # when it was answered, how long it took
    listeners: list[Listener] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    people: list[asyncio.Task[None]] = field(default_factory=list)
    bearers: dict[str, str] = field(default_factory=dict)
    wires: int = 0
    pause_s: float = PAUSE_S  # of everybody, after an answer

    def wire(self) -> Wire:
        """A client with a network of its own."""
        self.wires += 1
        return Wire(self.port, f"127.0.{self.wires}.1")

    def bearer(self, role: str, *, operator: str = "", subject: str = "") -> dict[str, str]:
        who = f"{role}/{operator}/{subject}"
        if who not in self.bearers:
            self.bearers[who] = token(self.settings, role, operator=operator, subject=subject)
        return {"authorization": f"Bearer {self.bearers[who]}"}

    async def rest(self) -> None:
        """Nobody begins anything any more, and what was begun has its answer; the streams go on."""
        self.stopping.set()
        if self.people:
            await asyncio.wait(self.people)

    async def ask(
        self, wire: Wire, method: str, path: str, headers: Mapping[str, str], body: object = None, *, fine: Sequence[int] = (200,)
    ) -> Answer | None:
        """One request; None for a failed one: no answer, or a status that is not `fine`."""
        sent = b"" if body is None else json.dumps(body).encode()
        kind = f"{method} {path.split('/')[3].partition('?')[0] if method == 'GET' else path.rpartition('/')[2]}"
        self.asked[kind] += 1
        try:
            answer = await wire.ask(method, path, {**headers, "content-type": "application/json"} if sent else headers, sent)
        except Broken as broken:
            self.failed.append(str(broken))
            return None
        self.took.append((time.monotonic(), answer.seconds))
        if answer.status not in fine:
            self.failed.append(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
            return None
        return answer

    async def look(self) -> None:
        """Searches one after the other, without a pause."""
        async with self.wire() as wire:
            while not self.stopping.is_set():
                await self.ask(wire, "GET", f"/parking/v1/places?near={AT.lon},{AT.lat}&radius_m=2000", {})

    async def _search(self) -> None:
        async with self.wire() as wire:
            admin = self.bearer("city_admin")
            while not self.stopping.is_set():
                await self.ask(wire, "GET", f"/parking/v1/places?near={AT.lon},{AT.lat}&radius_m=2000", {})
                await self.ask(wire, "GET", f"/charging/v1/locations/{STATION}", {})
                await self.ask(wire, "GET", "/waste/v1/loads?limit=5", admin)
                await asyncio.sleep(self.pause_s)

    async def count(self, place_id: str) -> None:
        """Another number each time; the next one only after the answer."""
        told, at = self.told.counts.setdefault(place_id, []), self.told.counted_at.setdefault(place_id, [])
        operator = self.bearer("lot_operator", operator=LOT)
        turn = 0
        async with self.wire() as wire:
            while not self.stopping.is_set():
                turn += 1
                occupied = turn % 500
                counts = [{"category": "standard", "occupied": occupied}]
                body = {"observed_at": datetime.now(UTC).isoformat(), "source": "gate", "counts": counts}
                answer = await self.ask(wire, "POST", f"/parking/v1/places/{place_id}/observations", operator, body, fine=(201,))
                if answer is not None:
                    told.append(occupied)
                    at.append(time.monotonic())
                await asyncio.sleep(self.pause_s)

    async def _drive(self, number: int) -> None:
        """Hold, then confirm or cancel, each under an Idempotency-Key."""
        turn = 0
        async with self.wire() as wire:
            while not self.stopping.is_set():
                turn += 1
                subject = f"driver-{number}-{turn}"
                me = self.bearer("citizen", subject=subject)
                starts_at = datetime.now(UTC) + timedelta(hours=3 + turn % 5)
                stay = {"starts_at": starts_at.isoformat(), "ends_at": (starts_at + timedelta(hours=1)).isoformat()}
                wish = {"place_id": HELD, "category": "standard", **stay}
                path = "/parking/v1/reservations"
                held = await self.ask(wire, "POST", path, {**me, "idempotency-key": subject}, wish, fine=(201,))
                if held is not None:
                    trip = Trip(json.loads(held.body)["id"], "held")
                    self.told.trips.append(trip)
                    end = "cancellation" if turn % 4 == 0 else "confirmation"
                    done = await self.ask(wire, "POST", f"{path}/{trip.id}/{end}", {**me, "idempotency-key": f"{subject}-{end}"})
                    trip.told = trip.told if done is None else json.loads(done.body)["state"]
                del self.bearers[f"citizen//{subject}"]
                await asyncio.sleep(self.pause_s)

    async def _push(self, connector: str) -> None:
        """An operator's program sets one connector to and fro through T/CEC; any Ret but 0 is a failure."""
        told = self.told.statuses.setdefault(f"{STATION}*{connector}", [])
        async with self.wire() as wire:
            partner = Partner(self, wire, CONNECTORS.index(connector))
            while not partner.token and not self.stopping.is_set():
                await partner.log_in()
            turn = 0
            while not self.stopping.is_set():
                turn += 1
                status = (1, 3)[turn % 2]
                if await partner.notify(connector, status):
                    told.append(status)
                await asyncio.sleep(self.pause_s)

    async def _weigh(self, number: int) -> None:
        """A truck of its own, a minute after the other long before the sample's loads: a truck is weighed once a minute."""
        operator = self.bearer("site_operator", operator=WEIGHER)
        before = (datetime.now(UTC) - timedelta(days=60)).replace(microsecond=0)
        turn = 0
        async with self.wire() as wire:
            while not self.stopping.is_set():
                turn += 1
                ticket = f"R{number}-{turn}"
                weighed_at = (before - timedelta(minutes=turn)).isoformat()
                truck = {"truck_id": f"T{number + 1:02d}", "stream": "recyclable"}
                body = {"site_id": "recycler-1", **truck, "ticket_no": ticket, "gross_kg": 7300}
                headers = {**operator, "idempotency-key": ticket}
                body |= {"tare_kg": 5600 + turn % 900, "weighed_at": weighed_at}
                answer = await self.ask(wire, "POST", "/waste/v1/loads", headers, body, fine=(201,))
                if answer is not None:
                    self.told.loads[ticket] = json.loads(answer.body)["id"]
                await asyncio.sleep(2 * self.pause_s)

    async def _plan(self) -> None:
        """Asks for a plan that publishes itself and waits for it, again and again: a job of a worker, with a solver's process."""
        dispatcher = self.bearer("dispatcher")
        turn = 0
        async with self.wire() as wire:
            while not self.stopping.is_set():
                turn += 1
                headers = {**dispatcher, "idempotency-key": f"plan-{turn}"}
                asked = await self.ask(wire, "POST", "/waste/v1/plans", headers, day(), fine=(202,))
                state = "" if asked is None else "waiting"
                while asked is not None and state in {"", "waiting", "solving", "ready"}:
                    await asyncio.sleep(0.5)
                    shown = await self.ask(wire, "GET", f"/waste/v1/plans/{json.loads(asked.body)['plan_id']}", dispatcher)
                    state = "" if shown is None else json.loads(shown.body)["state"]
                if state == "published":
                    self.told.plans.append(json.loads(asked.body)["plan_id"])  # type: ignore[union-attr]
                elif asked is not None:
                    self.failed.append(f"a plan became {state}")
                await asyncio.sleep(1)


@dataclass(slots=True)
class Partner:
    """An operator's own program: it signs, sends and reads what comes back."""

    rush: Rush
    wire: Wire
    number: int
    token: str = ""
    seq: int = 0

    async def call(self, interface: str, data: Mapping[str, object]) -> Any:
        """The decrypted answer of Ret 0; None for any other."""
        keys = Keys(**{name: self.rush.secrets[name].encode() for name in ("data_secret", "data_iv", "sig_secret")})
        self.seq = self.seq % 4999 + 1
        stamp, seq = f"{datetime.now(CITY_TZ):%Y%m%d%H%M%S}", f"{self.number * 5000 + self.seq:04d}"
        sealed = keys.encrypt(json.dumps(data).encode())
        envelope = {"OperatorID": CHARGER, "Data": sealed, "TimeStamp": stamp, "Seq": seq}
        envelope["Sig"] = keys.sign(f"{CHARGER}{sealed}{stamp}{seq}")
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        answer = await self.rush.ask(self.wire, "POST", f"/charging/tcec/v1/{interface}", headers, envelope)
        if answer is None:
            return None
        reply = json.loads(answer.body)
        if reply["Ret"] != 0:
            self.rush.failed.append(f"{interface}: {reply}")
            return None
        return json.loads(keys.decrypt(reply["Data"]))

    async def log_in(self) -> None:
        found = await self.call("query_token", {"OperatorID": CHARGER, "OperatorSecret": self.rush.secrets["operator_secret"]})
        self.token = found["AccessToken"] if found else ""

    async def notify(self, connector: str, status: int) -> bool:
        info = {"ConnectorID": connector, "Status": status, "ParkStatus": 0, "LockStatus": 0}
        return bool(await self.call("notification_stationStatus", {"ConnectorStatusInfo": info}) == {"Status": 0})


def day(*, seconds: int = 1) -> dict[str, object]:
    """One stop at a section of street, now: the smallest plan that closes something."""
    position = {"lon": KERB_AT.lon, "lat": KERB_AT.lat}
    now = datetime.now(CITY_TZ)
    start_s = min((now.hour * 60 + now.minute) * 60, 80_000)
    stop = {"id": "P1", "position": position, "demand_kg": 100, "demand_dm3": 200, "service_s": 300}
    shift = {"start_s": max(0, start_s - 600), "end_s": start_s + 5000}
    return {
        "stream": "kitchen", "date": f"{now:%Y-%m-%d}", "datum": "wgs84", "depot": position, "publish": "when-ready",
        "stops": [{**stop, "windows": [{"start_s": start_s, "end_s": start_s + 600}]}],
        "trucks": [{"id": "T1", "capacity_kg": 5000, "capacity_dm3": 9000, "shift": shift, "streams": ["kitchen"]}],
        "sites": [{"id": "S1", "position": position, "streams": ["kitchen"], "service_s": 60}],
        "options": {"seconds": seconds},
    }  # fmt: skip


async def open_places(rush: Rush, *place_ids: str) -> None:
    """Car parks of 5,000 spaces; the one named for it is a section of street."""
    lot = rush.bearer("lot_operator", operator=LOT)
    async with rush.wire() as wire:
        for place_id in place_ids:
            at, kind = (KERB_AT, "on_street") if place_id == KERB else (AT, "garage")
            body = {
                "name": place_id, "kind": kind, "position": {"lon": at.lon, "lat": at.lat}, "datum": "wgs84",
                "pools": [{"category": "standard", "capacity": CAPACITY}],
            }  # fmt: skip
            await rush.ask(wire, "PUT", f"/parking/v1/places/{place_id}", lot, body, fine=(201,))
    assert not rush.failed, rush.failed


async def _open_station(rush: Rush) -> None:
    charger = rush.bearer("charging_operator", operator=CHARGER)
    evses = [{"connector_id": name, "power_w": 60_000, "current": "dc", "bay_no": name[-2:]} for name in CONNECTORS]
    station = {"name": "Rush", "position": {"lon": AT.lon, "lat": AT.lat}, "datum": "wgs84", "evses": evses}
    async with rush.wire() as wire:
        await rush.ask(wire, "PUT", f"/charging/v1/locations/{STATION}", charger, station, fine=(200, 201))
    assert not rush.failed, rush.failed


@asynccontextmanager
async def rushing(city: City, port: int, *, pause_s: float = PAUSE_S) -> AsyncIterator[Rush]:
    """Everybody runs around the body, unless it lets them rest; what was begun comes to its answer."""
    adding = (
        ("charging", "operator", "add", CHARGER, "--name", "Rush", "--json"),
        ("waste", "sample"),
    )
    added, sampled = await asyncio.gather(*(asyncio.to_thread(command, city.settings, city.folder, *words) for words in adding))
    assert (added.returncode, sampled.returncode) == (0, 0), f"{added.stderr}{sampled.stderr}"
    rush = Rush(port, city.settings, json.loads(added.stdout), pause_s=pause_s)
    await open_places(rush, *COUNTED, HELD, KERB)
    await _open_station(rush)
    rush.listeners += [Listener(rush.wire(), f"/{service}/v1/stream") for service in STREAMS]
    async with asyncio.TaskGroup() as group:
        ears = [group.create_task(each.listen()) for each in rush.listeners]
        for each in rush.listeners:
            await asyncio.wait_for(each.is_open.wait(), PATIENCE_S)
        people = [rush._search(), rush._search(), rush._search(), *map(rush.count, COUNTED), *map(rush._push, CONNECTORS)]
        people += [rush._drive(0), rush._drive(1), rush._drive(2), rush._weigh(0), rush._weigh(1), rush._plan()]
        rush.people += [group.create_task(each) for each in people]
        try:
            yield rush
        finally:
            await rush.rest()
            for ear in ears:
                ear.cancel()


@asynccontextmanager
async def storming(settings: Mapping[str, str], port: int, *, pairs: int) -> AsyncIterator[Rush]:
    """As many who search as who count, each on a kept connection and without a pause, around the body."""
    rush = Rush(port, settings, {}, pause_s=0)
    places = [f"{LOT}-storm-{number}" for number in range(pairs)]
    await open_places(rush, *places)
    async with asyncio.TaskGroup() as group:
        rush.people += [group.create_task(each) for place_id in places for each in (rush.look(), rush.count(place_id))]
        try:
            yield rush
        finally:
            await rush.rest()
