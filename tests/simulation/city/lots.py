"""Who keeps and uses the car parks: clerks of their operator, and drivers who want a space where trucks may come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cityloop_common.clock import rfc3339
from tests.simulation.city.promises import Promises
from tests.simulation.city.town import PLACE_IDS, STANDARD_SPACES
from tests.simulation.people import API, Caller, Citizen
from tests.simulation.world import Broken

OK, CREATED, CHANGED_MEANWHILE = 200, 201, 412


class Clerk:
    """Changes car parks: how many charging bays they have, whether they take anybody, and whom. Two clerks may meet at one."""

    def __init__(self, caller: Caller, promises: Promises) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A change every few seconds; some follow each other at once."""
        while clock() < length_s:
            await self.change(self._rng.choice(PLACE_IDS))
            await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 1.5), self._rng.uniform(4, 20))))

    async def change(self, place_id: str) -> None:
        """Reads, changes, writes with the version that was seen; somebody else may have been first."""
        seen = await self._ask.insist("GET", f"{API}/places/{place_id}")
        body = self._changed(seen.json())
        answer = await self._ask.insist("PUT", f"{API}/places/{place_id}", body=body, seen=seen.headers["etag"])
        if answer.status_code != CHANGED_MEANWHILE:
            self._note(answer.json())

    def _note(self, told: Mapping[str, Any]) -> None:
        bays = sum(pool["capacity"] for pool in told["pools"])
        said, version = (told["access"], told["state"], bays), (told["id"], told["version"])
        if self._promises.places.setdefault(version, said) != said:
            raise Broken(f"{version} was acknowledged as {self._promises.places[version]} and as {said}")

    def _changed(self, told: Mapping[str, Any]) -> dict[str, object]:
        kept = ("name", "position", "datum", "kind", "access", "state", "invented")
        body: dict[str, object] = {name: told[name] for name in kept}
        ev = next((pool["capacity"] for pool in told["pools"] if pool["category"] == "ev"), 0)
        match self._rng.choice(("bays", "bays", "state", "access", "kind")):
            case "bays":
                ev = self._rng.randint(0, 6)
            case "state":
                body["state"] = "closed" if told["state"] == "open" else "open"
            case "access":
                body["access"] = "permit" if told["access"] == "public" else "public"
            case _:
                body["kind"] = "surface" if told["kind"] == "on_street" else told["kind"] if told["kind"] == "garage" else "on_street"
        standard = {"category": "standard", "capacity": STANDARD_SPACES}
        return {**body, "pools": [standard, *([{"category": "ev", "capacity": ev}] if ev else [])]}


class Driver(Citizen):
    """Wants a space now or in the next hours, where collection may need the street."""

    def _wish(self, visit: int, now: datetime) -> dict[str, object]:
        starts_at = now.replace(microsecond=0) + timedelta(seconds=visit)
        if self._rng.random() < 0.8:
            starts_at += timedelta(minutes=self._rng.randint(0, 150))
        return {
            "place_id": self._rng.choice(self._places),
            "category": "standard",
            "starts_at": rfc3339(starts_at),
            "ends_at": rfc3339(starts_at + timedelta(seconds=self._rng.choice((40, 600, 2600)))),
        }
