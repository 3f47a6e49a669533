"""Who works for the city: officers who decide on links and state what is registered, and whoever gives operators new secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from cityloop_common.clock import city_day, instant
from tests.simulation.city.promises import Decision, Promises
from tests.simulation.city.town import PLACE_IDS, STATION_IDS
from tests.simulation.people import Caller
from tests.simulation.world import Broken

API = "/charging/v1"
VERBS = {"confirmation": "confirmed", "rejection": "rejected", "withdrawal": "withdrawn"}


class Officer:
    """Decides which stations stand in which car parks; two of them may decide on one at the same time."""

    def __init__(self, caller: Caller, promises: Promises, name: str) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._name = name

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A decision every few seconds, some of them twice."""
        number = 0
        while clock() < length_s:
            await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 2), self._rng.uniform(3, 12))))
            number += 1
            location_id, verb, place_id = await self._choice()
            times = self._rng.choice((1, 1, 1, 2))
            await asyncio.gather(*[self._decide(location_id, verb, place_id, f"{self._name}-{number}") for _ in range(times)])

    async def _choice(self) -> tuple[str, str, str]:
        """Mostly what the list says is open or decided, sometimes what comes to mind."""
        links = (await self._ask.insist("GET", f"{API}/place-links?limit=100")).json()["links"]
        if not links or self._rng.random() < 0.3:
            return self._rng.choice(STATION_IDS), self._rng.choice(sorted(VERBS)), self._rng.choice(PLACE_IDS)
        link = self._rng.choice(links)
        decided = link["state"] == "confirmed"
        verb = "withdrawal" if decided else self._rng.choice(("confirmation", "confirmation", "rejection"))
        return link["location_id"], verb, link["place_id"]

    async def _decide(self, location_id: str, verb: str, place_id: str, key: str) -> None:
        answer = await self._ask.insist("POST", f"{API}/place-links/{location_id}/{verb}", body={"place_id": place_id}, key=key)
        if answer.status_code == 200:
            told = answer.json()
            if told["state"] != VERBS[verb] or told["place_id"] != place_id:
                raise Broken(f"{verb} of {location_id} and {place_id} was answered {told}")
            self._promises.decisions.add(Decision(location_id, place_id, told["state"], instant(told["since"])))


class Registrar:
    """States how many vehicles are registered; each statement for the day differs from the one before."""

    def __init__(self, caller: Caller, promises: Promises) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A correction now and then."""
        on = city_day(self._ask.now()) - timedelta(days=self._rng.randint(0, 1))
        self._promises.stocks_on = on
        while clock() < length_s:
            await asyncio.sleep(self._rng.uniform(0, 25))
            vehicles = 10 + len(self._promises.stocks)
            count = {"vehicle_class": "passenger", "drive": "bev", "standard": True, "vehicles": vehicles}
            body = {"on": on.isoformat(), "source": "traffic police", "counts": [count]}
            await self._ask.insist("PUT", f"{API}/vehicle-registrations", body=body)
            self._promises.stocks.append(vehicles)


async def rotate_once(at_s: float, rotate: Callable[[], Awaitable[None]]) -> None:
    """An operator gets new secrets in the middle of its work."""
    await asyncio.sleep(at_s)
    await rotate()
