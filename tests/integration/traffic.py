"""Drivers and operators of a running city who insist: who gets no answer asks again, with the same Idempotency-Key."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.e2e.processes import Process, token
from tests.support import wait_until

V1 = "/parking/v1"
PAUSE_S = 0.05
OPERATOR = "traffic"
AGAIN = {408, 429, 503, 504}  # "come again": everything else is an answer
NO_ANSWER = 0


@dataclass(slots=True)
class Insistent:
    """Asks replicas in turn until one gives an answer that is not "come again"; what was no answer is counted."""

    processes: Sequence[Process]
    settings: Mapping[str, str]
    http: httpx.AsyncClient
    refused: Counter[int] = field(default_factory=Counter)
    turn: int = 0

    def bearer(self, role: str, *, subject: str = "", operator: str = "") -> dict[str, str]:
        return {"authorization": f"Bearer {token(self.settings, role, subject=subject, operator=operator)}"}

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None, *, key: str | None = None
    ) -> httpx.Response:
        """Raises AssertionError for a 500, with what was logged of it: nothing that the servers do may cause one."""
        sent = {**headers, **({"idempotency-key": key} if key else {})}
        while True:
            self.turn += 1
            process = self.processes[self.turn % len(self.processes)]
            try:
                answer = await self.http.request(method, f"{process.url}{V1}{path}", headers=sent, json=body)
            except httpx.TransportError:
                self.refused[NO_ANSWER] += 1
            else:
                assert answer.status_code != 500, f"{method} {path}: {answer.text}\n{process.said_of(answer.headers['x-request-id'])}"
                if answer.status_code not in AGAIN and not _waits_for_its_turn(answer):
                    return answer
                self.refused[answer.status_code] += 1
            await asyncio.sleep(PAUSE_S)


def _waits_for_its_turn(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and answer.json()["type"] == "urn:cityloop:problem:deadline-passed"


@asynccontextmanager
async def insistent(processes: Sequence[Process], settings: Mapping[str, str]) -> AsyncIterator[Insistent]:
    """People with a connection to every replica."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=25, limits=limits) as http:
        yield Insistent(processes, settings, http)


@dataclass(slots=True)
class Trip:
    """One wish of one driver, and the last answer to it."""

    subject: str
    told: str = "nothing"
    id: str | None = None


@dataclass(slots=True)
class Traffic:
    """Drivers who hold, confirm, cancel or forget, and an operator who counts, until `stop`."""

    people: Insistent
    name: str
    trips: list[Trip] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)  # the last acknowledged count of each car park
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    spaces: Mapping[str, int] = field(default_factory=dict)

    async def open(self, **spaces: int) -> None:
        """Makes the car parks."""
        self.spaces = {f"{OPERATOR}-{self.name}-{name}": capacity for name, capacity in spaces.items()}
        operator = self.people.bearer("lot_operator", operator=OPERATOR)
        for place_id, capacity in self.spaces.items():
            body = {
                "name": place_id, "position": {"lon": 109.787, "lat": 39.565}, "datum": "wgs84",
                "pools": [{"category": "standard", "capacity": capacity}],
            }  # fmt: skip
            assert (await self.people.ask("PUT", f"/places/{place_id}", operator, body)).status_code in {200, 201}

    def stop(self) -> None:
        """Nobody begins anything any more; what was begun is brought to its answer."""
        self.stopping.set()

    async def drive(self, number: int) -> None:
        """One driver after the other."""
        chance = random.Random(f"{self.name}/{number}")
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            trip = Trip(f"{self.name}-{number}-{turn}")
            self.trips.append(trip)
            await self._take(trip, chance)
            await asyncio.sleep(PAUSE_S)

    async def _take(self, trip: Trip, chance: random.Random) -> None:
        me = self.people.bearer("citizen", subject=trip.subject)
        starts_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=3 + chance.randrange(4))
        body = {
            "place_id": chance.choice(sorted(self.spaces)), "category": "standard",
            "starts_at": starts_at.isoformat(), "ends_at": (starts_at + timedelta(hours=1)).isoformat(),
        }  # fmt: skip
        made = await self.people.ask("POST", "/reservations", me, body, key=f"{trip.subject}-hold")
        if made.status_code == 409:
            trip.told = "full"
            return
        assert made.status_code == 201, made.text
        trip.id, trip.told = made.json()["id"], "held"
        wish = chance.choice(("confirmation", "confirmation", "cancellation", None))
        if wish is not None:
            answer = await self.people.ask("POST", f"/reservations/{trip.id}/{wish}", me, key=f"{trip.subject}-{wish}")
            assert answer.status_code in {200, 409}, answer.text
            trip.told = answer.json()["state"] if answer.status_code == 200 else "expired"

    async def count(self, *, but: str) -> None:
        """Counts every car park except one again and again, each time with another number."""
        turn = 0
        others = {place_id: capacity for place_id, capacity in self.spaces.items() if place_id != but}
        while not self.stopping.is_set():
            turn += 1
            for place_id, capacity in others.items():
                await self.report(place_id, turn % (capacity + 1))
            await asyncio.sleep(PAUSE_S)

    async def report(self, place_id: str, occupied: int) -> None:
        """One count, until it is acknowledged."""
        operator = self.people.bearer("lot_operator", operator=OPERATOR)
        body = {
            "observed_at": datetime.now(UTC).isoformat(), "source": "gate", "counts": [{"category": "standard", "occupied": occupied}],
        }  # fmt: skip
        answer = await self.people.ask("POST", f"/places/{place_id}/observations", operator, body)
        assert answer.status_code == 201, answer.text
        self.newest[place_id] = occupied

    async def shown(self, url: str) -> dict[str, int | None]:
        """Taken spaces of each car park as drivers see them at one replica."""
        answer = await self.people.http.get(f"{url}{V1}/places", params={"near": "109.787,39.565", "radius_m": "100", "limit": "100"})
        assert answer.status_code == 200, answer.text
        found = {each["id"]: each for each in answer.json()["places"]}
        return {place_id: _taken(found.get(place_id)) for place_id in self.spaces}

    async def all_shown(self, within_s: float, urls: Sequence[str]) -> float:
        """Waits until every replica shows the last acknowledged counts; answers how long it took."""
        began = asyncio.get_running_loop().time()
        for url in urls:

            async def as_counted(url: str = url) -> bool:
                try:
                    shown = await self.shown(url)
                except httpx.TransportError:
                    return False
                assert shown == self.newest
                return True

            await wait_until(as_counted, within_s, every=0.1, what=f"{url} shows the newest counts")
        return asyncio.get_running_loop().time() - began


def _taken(place: Mapping[str, Any] | None) -> int | None:
    if not place or "standard" not in place["free"]:
        return None
    return int(place["capacity"]["standard"] - place["free"]["standard"])
