"""Who collects waste: dispatchers who ask for plans, publish and withdraw them, and weighbridges that tell of loads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cityloop_common.clock import CITY_TZ, city_day, day_begins, rfc3339
from tests.simulation.city.promises import Promises
from tests.simulation.city.town import DISTRICT_IDS, LOADS, PLANNED_STREAMS, STOPS, position
from tests.simulation.people import Caller
from tests.simulation.world import Broken

API = "/waste/v1"
MOST_LOOKS = 40


class Dispatcher:
    """Asks for a plan of today or tomorrow, waits for it, publishes it, and may take it back or bring an old one up again."""

    def __init__(self, caller: Caller, promises: Promises, name: str) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._name = name
        self._mine: list[str] = []
        self._number = 0

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """Some plans side by side."""
        async with asyncio.TaskGroup() as plans:
            while clock() < length_s:
                _asked = plans.create_task(self._plan(self._key()))
                await asyncio.sleep(self._rng.choice((self._rng.uniform(0, 2), self._rng.uniform(4, 20))))

    def _key(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    async def _plan(self, key: str) -> None:
        """From the wish to the last word on the plan."""
        body = self._wish()
        asked = [self._ask.insist("POST", f"{API}/plans", body=body, key=key) for _ in range(self._rng.choice((1, 1, 2)))]
        answers = [answer for answer in await asyncio.gather(*asked) if answer.status_code == 202]
        if len({answer.content for answer in answers}) > 1:
            raise Broken(f"{self._name}: the same key got two plans: {[answer.text for answer in answers]}")
        if not answers:
            return
        plan_id = str(answers[0].json()["plan_id"])
        self._promises.plans[key] = plan_id
        if body["publish"] == "when-ready":
            self._promises.wishes[plan_id, "published"] += 1
        if self._rng.random() < 0.15:
            await self._ask.insist("POST", f"{API}/plans/{plan_id}/cancellation", key=f"{key}-cancel")
        if await self._ready(plan_id):
            self._mine.append(plan_id)
            await self._use(plan_id)

    async def _ready(self, plan_id: str) -> bool:
        """Looks until its search has ended; whether there are routes."""
        for _ in range(MOST_LOOKS):
            told = (await self._ask.insist("GET", f"{API}/plans/{plan_id}")).json()
            if told["state"] not in ("waiting", "solving"):
                if told["state"] in ("ready", "published", "superseded") and told["verified"] is not True:
                    raise Broken(f"plan {plan_id} is {told['state']} and not verified")
                return told["state"] not in ("failed", "cancelled")
            await asyncio.sleep(self._rng.uniform(1, 4))
        return False

    async def _use(self, plan_id: str) -> None:
        for verb in self._rng.choice((("publish",), ("publish", "withdraw"), ("publish", "withdraw", "publish"), ("publish", "older"))):
            match verb:
                case "publish":
                    await self._publish(plan_id)
                case "older":
                    await self._publish(self._rng.choice(self._mine))
                case _:
                    await self._withdraw(plan_id)
            await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, 10))))

    async def _publish(self, plan_id: str) -> None:
        self._promises.wishes[plan_id, "published"] += 1
        answer = await self._ask.insist("POST", f"{API}/plans/{plan_id}/publication", key=self._key())
        if answer.status_code == 200:
            told = answer.json()
            if told["state"] != "published":
                raise Broken(f"the publication of {plan_id} was answered {told['state']}")
            self._promises.publications.add((plan_id, told["version"]))

    async def _withdraw(self, plan_id: str) -> None:
        self._promises.wishes[plan_id, "withdrawn"] += 1
        answer = await self._ask.insist("POST", f"{API}/plans/{plan_id}/withdrawal", key=self._key())
        if answer.status_code == 200:
            if answer.json()["state"] != "withdrawn":
                raise Broken(f"the withdrawal of {plan_id} was answered {answer.json()['state']}")
            self._promises.withdrawals.add(plan_id)

    def _wish(self) -> dict[str, object]:
        """A day of the registry, or some stops at an hour of its own: so that plans of one day close different times."""
        now = self._ask.now()
        on = city_day(now) + timedelta(days=self._rng.choice((0, 0, 0, 1)))
        stream = self._rng.choice(PLANNED_STREAMS)
        asked: dict[str, object] = {
            "stream": stream,
            "date": on.isoformat(),
            "publish": self._rng.choice(("when-ready", "by-hand", "by-hand")),
        }
        return asked if self._rng.random() < 0.25 else asked | self._problem(stream, now)

    def _problem(self, stream: str, now: datetime) -> dict[str, object]:
        begins_s = max(0, int((now - day_begins(city_day(now))).total_seconds()) + self._rng.randint(-2400, 6000))
        shift = {"start_s": begins_s, "end_s": begins_s + 4 * 3600}
        stops = self._rng.sample(sorted(STOPS), self._rng.randint(1, len(STOPS)))
        return {
            "datum": "wgs84",
            "depot": position(109.800),
            "stops": [
                {"id": each, "position": position(STOPS[each]), "demand_kg": 100, "demand_dm3": 400, "service_s": 120, "windows": []}
                for each in stops
            ],
            "trucks": [{"id": "K1", "capacity_kg": 5000, "capacity_dm3": 9000, "shift": shift, "streams": [stream]}],
            "sites": [{"id": "anywhere", "position": position(109.802), "streams": [stream], "service_s": 300}],
            "options": {"seconds": 5, "vehicle_cost_m": 20000},
        }


class Weighbridge:
    """Tells of each load, often twice; sometimes under a number that another load has, sometimes with a correction afterwards."""

    def __init__(self, caller: Caller, promises: Promises, site_id: str) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises
        self._site_id = site_id
        self._number = 0

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A truck every few seconds."""
        async with asyncio.TaskGroup() as loads:
            while clock() < length_s:
                self._number += 1
                _told = loads.create_task(self._tell(self._ticket(self._number)))
                await asyncio.sleep(self._rng.uniform(1, 10))

    def _ticket(self, number: int) -> dict[str, Any]:
        truck_id, stream = self._rng.choice(LOADS[self._site_id])
        weighed_at = self._ask.now() - timedelta(minutes=self._rng.choice((0, 0, 1, 5, 30, 600)))
        return {
            "site_id": self._site_id,
            "truck_id": truck_id,
            "stream": stream,
            "ticket_no": f"{self._site_id}-{number}",
            "gross_kg": 6000 + self._rng.randrange(4),
            "tare_kg": 4000,
            "weighed_at": rfc3339(weighed_at.replace(microsecond=0)),
        }

    async def _tell(self, ticket: dict[str, Any]) -> None:
        first = f"{ticket['ticket_no']}-first"
        tellings = [self._post(ticket, first)]
        if self._rng.random() < 0.3:  # the same content by another way, without the key
            tellings.append(self._post(ticket, None))
        if self._rng.random() < 0.2:  # the same number for another load
            other = ticket | {"gross_kg": ticket["gross_kg"] + 100}
            tellings.append(self._post(other, None))
        if self._rng.random() < 0.15:  # the same weighing under another number
            tellings.append(self._post(ticket | {"ticket_no": ticket["ticket_no"] + "-copy"}, None))
        load_id = (await asyncio.gather(*tellings))[0]
        while load_id is not None and self._rng.random() < 0.35:
            await asyncio.sleep(self._rng.uniform(0, 8))
            ticket = ticket | {"gross_kg": ticket["gross_kg"] + 10, "corrects": load_id}
            corrections = [self._post(ticket, f"{load_id}-next")]
            if self._rng.random() < 0.3:  # somebody else corrects the same version
                corrections.append(self._post(ticket | {"gross_kg": ticket["gross_kg"] + 5}, None))
            load_id = (await asyncio.gather(*corrections))[0]
        if load_id is not None and self._rng.random() < 0.15:
            await self._take_back(load_id)

    async def _take_back(self, load_id: str) -> None:
        answer = await self._ask.insist("POST", f"{API}/loads/{load_id}/voiding", body={"reason": "test"}, key=f"{load_id}-void")
        if answer.status_code == 200:
            self._promises.taken_back.add(str(answer.json()["id"]))

    async def _post(self, ticket: Mapping[str, Any], key: str | None) -> str | None:
        """The id of the load that it is; None when it was refused. A ticket without a key is its own: its number stands for one load."""
        self._promises.tickets.add((ticket["site_id"], ticket["ticket_no"]))
        answer = await self._ask.insist("POST", f"{API}/loads", body=ticket, key=key)
        if answer.status_code >= 300:
            return None
        told = answer.json()
        said = (told["ticket_no"], told["gross_kg"], told["tare_kg"])
        if self._promises.loads.setdefault(told["id"], said) != said:
            raise Broken(f"load {told['id']} was acknowledged as {self._promises.loads[told['id']]} and as {said}")
        return str(told["id"])


class Estimator:
    """An officer who says what was generated; each word on a district and day differs from the one before."""

    def __init__(self, caller: Caller, promises: Promises) -> None:
        self._ask = caller
        self._rng = caller.rng
        self._promises = promises

    async def live(self, length_s: float, clock: Callable[[], float]) -> None:
        """A word now and then."""
        while clock() < length_s:
            await asyncio.sleep(self._rng.uniform(0, 20))
            on = self._ask.now().astimezone(CITY_TZ).date() - timedelta(days=self._rng.randint(0, 1))
            district = self._rng.choice(DISTRICT_IDS)
            said = self._promises.estimates.setdefault((district, on), [])
            mass_kg = 10_000 + len(said)
            body = {"district": district, "on": on.isoformat(), "mass_kg": mass_kg, "method": "per head"}
            await self._ask.insist("PUT", f"{API}/generation-estimates", body=body)
            said.append(mass_kg)
