"""Who uses parking: citizens and guests who search, hold, confirm, cancel and insist; operators who count."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from cityloop_common.clock import rfc3339
from tests.simulation.suite import Suite
from tests.simulation.world import Broken

TRIES = 80
EXPECTED = {200, 201, 204, 409, 429}
API = "/parking/v1"


@dataclass(slots=True)
class Promises:
    """What parking has acknowledged: it must be found in the tables at the end."""

    states: dict[str, str] = field(default_factory=dict)
    cancel_sent: set[str] = field(default_factory=set)
    keyed_stays: set[tuple[str, str]] = field(default_factory=set)
    counts: dict[str, dict[datetime, int]] = field(default_factory=dict)
    counts_sent: dict[str, dict[datetime, int]] = field(default_factory=dict)


class Caller:
    """Somebody with a token who asks again until there is an answer."""

    def __init__(
        self, suite: Suite, client: httpx.AsyncClient, name: str, token: str, *, allowed: frozenset[int] = frozenset(EXPECTED)
    ) -> None:
        self._suite = suite
        self._client = client
        self._name = name
        self.token = token
        self._allowed = allowed | {503}
        self.rng: random.Random = suite.world.stream(f"caller/{name}")
        self._network = f"10.{self.rng.randrange(250)}.{self.rng.randrange(250)}.7"

    def now(self) -> datetime:
        """The true time."""
        return self._suite.world.now()

    async def once(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None, key: str | None = None, seen: str | None = None
    ) -> httpx.Response:
        """One try; `key` is its Idempotency-Key, `seen` its If-Match.

        Raises httpx.TransportError when nobody can tell what became of it, Broken for an answer that must not be.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if seen is not None:
            headers["If-Match"] = seen
        hosts = self._suite.hosts(path)
        host = f"http://{hosts[self.rng.randint(1, len(hosts)) - 1]}"
        extensions = {"client": (self._network, 40000)}
        answer = await self._client.request(method, host + path, json=body, headers=headers, extensions=extensions)
        if answer.status_code not in self._allowed:
            raise Broken(f"{self._name}: {method} {path} {body} answered {answer.status_code} {answer.text[:300]}")
        return answer

    async def insist(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None, key: str | None = None, seen: str | None = None
    ) -> httpx.Response:
        """Tries until there is an answer."""
        for _ in range(TRIES):
            try:
                answer = await self.once(method, path, body=body, key=key, seen=seen)
            except httpx.TransportError:
                await asyncio.sleep(self.rng.uniform(0.1, 2))
                continue
            if answer.status_code != 503:
                return answer
            await asyncio.sleep(self.rng.uniform(0.1, 2))
        raise Broken(f"{self._name}: {method} {path} got no answer in {TRIES} tries")


@dataclass(frozen=True, slots=True)
class Rush:
    """A concert ends: many want the same quarter hours of the same car park within a blink."""

    at_s: float
    place: str
    hour: int

    def wish(self, now: datetime, second: int) -> dict[str, object]:
        starts_at = now.replace(hour=self.hour, minute=0, second=second, microsecond=0)
        ends_at = starts_at + timedelta(minutes=25)
        return {"place_id": self.place, "category": "standard", "starts_at": rfc3339(starts_at), "ends_at": rfc3339(ends_at)}

    async def scout(self, caller: Caller, promises: Promises, now: Callable[[], datetime]) -> None:
        """The first who wants those quarter hours, well before the crowd."""
        await asyncio.sleep(self.at_s - 4)
        answer = await caller.insist("POST", f"{API}/reservations", body=self.wish(now(), 0), key="scout")
        if answer.status_code == 201:
            promises.states[str(answer.json()["id"])] = "held"


class Citizen:
    """Comes a few times, wants a space, and does with it what people do."""

    def __init__(self, caller: Caller, promises: Promises, places: list[str], name: str, *, length_s: float) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._places = places
        self._name = name
        self._length_s = length_s

    async def live(self, now: Callable[[], datetime], rushes: Sequence[Rush]) -> None:
        """The whole of its visits; the first of many is the rush."""
        if rushes and self._rng.random() < 0.7:
            await self._join(self._rng.choice(rushes), now)
        await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 3), self._rng.uniform(0, self._length_s))))
        for visit in range(self._rng.randint(1, 3)):
            if self._rng.random() < 0.4:
                await self._ask.insist("GET", f"{API}/places?near=109.787,39.565&radius_m=5000&limit=5")
            held = await self._hold(visit, now())
            if held is not None:
                await self._use(held, visit)
            await asyncio.sleep(self._rng.uniform(0, 10))

    async def _join(self, rush: Rush, now: Callable[[], datetime]) -> None:
        await asyncio.sleep(rush.at_s + self._rng.uniform(0, 0.03))
        answer = await self._hold_once(rush.wish(now(), 1))
        if answer is not None and answer.status_code == 201:
            self._promises.states[str(answer.json()["id"])] = "held"

    def _wish(self, visit: int, now: datetime) -> dict[str, object]:
        starts_at = now.replace(microsecond=0) + timedelta(seconds=visit)
        if self._rng.random() < 0.7:
            starts_at = starts_at.replace(minute=0, second=0) + timedelta(hours=1, seconds=visit)
        return {
            "place_id": self._rng.choice(self._places),
            "category": "standard",
            "starts_at": rfc3339(starts_at),
            "ends_at": rfc3339(starts_at + timedelta(seconds=self._rng.choice((40, 1700, 2600)))),
        }

    async def _hold(self, visit: int, now: datetime) -> str | None:
        body = self._wish(visit, now)
        key = f"{self._name}-hold-{visit}" if self._rng.random() < 0.6 else None
        answer = await (self._hold_safely(body, key) if key else self._hold_once(body))
        if answer is None or answer.status_code != 201:
            return None
        id_ = str(answer.json()["id"])
        self._promises.states.setdefault(id_, "held")
        return id_

    async def _hold_once(self, body: Mapping[str, object]) -> httpx.Response | None:
        """Without a key nobody may ask twice."""
        try:
            return await self._ask.once("POST", f"{API}/reservations", body=body)
        except httpx.TransportError:
            return None

    async def _hold_safely(self, body: Mapping[str, object], key: str) -> httpx.Response:
        """With a key: again after an error, sometimes twice at once, sometimes once more later; the answer is one."""
        self._promises.keyed_stays.add((self._name, str(body["starts_at"])))
        twice = 2 if self._rng.random() < 0.3 else 1
        asked = [self._ask.insist("POST", f"{API}/reservations", body=body, key=key) for _ in range(twice)]
        answers = list(await asyncio.gather(*asked))
        if answers[0].status_code == 201 and self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.uniform(0, 5))
            answers.append(await self._ask.insist("POST", f"{API}/reservations", body=body, key=key))
        made = [answer for answer in answers if answer.status_code == 201]
        if len({answer.content for answer in made}) > 1:
            raise Broken(f"{self._name}: the same key got two answers: {[answer.text for answer in made]}")
        return made[0] if made else answers[0]

    async def _use(self, id_: str, visit: int) -> None:
        await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 20))))
        match self._rng.choice(("confirm", "confirm", "confirm", "cancel", "leave")):
            case "confirm":
                answer = await self._ask.insist("POST", f"{API}/reservations/{id_}/confirmation", key=f"{self._name}-confirm-{visit}")
                if answer.status_code == 200:
                    self._promises.states[id_] = "confirmed"
                    if self._rng.random() < 0.25:
                        await self._cancel(id_, visit)
            case "cancel":
                await self._cancel(id_, visit)
            case _:
                pass

    async def _cancel(self, id_: str, visit: int) -> None:
        self._promises.cancel_sent.add(id_)
        answer = await self._ask.insist("POST", f"{API}/reservations/{id_}/cancellation", key=f"{self._name}-cancel-{visit}")
        if answer.status_code == 200:
            self._promises.states[id_] = "cancelled"


class Operator:
    """Counts its car parks; its network repeats and reorders what it sends."""

    def __init__(self, caller: Caller, promises: Promises, places: list[str], *, length_s: float) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._places = places
        self._length_s = length_s

    async def live(self, now: Callable[[], datetime], ends_at_s: float, clock: Callable[[], float]) -> None:
        """Sends a count every few seconds, some twice, some late."""
        async with asyncio.TaskGroup() as sends:
            while clock() < ends_at_s:
                place, taken_at = self._rng.choice(self._places), now().replace(microsecond=self._rng.randrange(1000) * 1000)
                occupied = self._rng.randrange(3)
                for _ in range(self._rng.choice((1, 1, 2))):
                    _sent = sends.create_task(
                        self._send(place, taken_at, occupied, late_s=self._rng.choice((0.0, self._rng.uniform(0, 15))))
                    )
                await asyncio.sleep(self._rng.uniform(1, 6))

    async def _send(self, place: str, taken_at: datetime, occupied: int, *, late_s: float) -> None:
        await asyncio.sleep(late_s)
        body = {"observed_at": rfc3339(taken_at), "source": "sensor", "counts": [{"category": "standard", "occupied": occupied}]}
        self._promises.counts_sent.setdefault(place, {})[taken_at] = occupied
        answer = await self._ask.insist("POST", f"{API}/places/{place}/observations", body=body)
        if answer.status_code < 300:
            self._promises.counts.setdefault(place, {})[taken_at] = occupied
