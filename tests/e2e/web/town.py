"""What happens in the city while somebody looks at its page: counts, chargers, links and plans, each through the API."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from cityloop_charging.operators.domain import Secrets
from cityloop_charging.protocols.tcec.client import Client
from cityloop_common import invented
from cityloop_common.clock import SystemClock, city_day
from cityloop_parking.places.domain import PlaceKind
from cityloop_parking.sample import invented_places
from tests.e2e.processes import Process, command, token
from tests.support import PATIENCE_S, wait_until

SAMPLE_OPERATOR = "sample-operator"
PARTNER = "123456789"  # an operator whose secrets the tests know
STATION = f"{PARTNER}*WEB"
CONNECTOR = "WEB01"
STREAMS = ("kitchen", "other", "recyclable", "hazardous")
NEAR_MIDNIGHT = timedelta(minutes=30)
MIDNIGHT = timedelta(minutes=2)
PLANNED_S = 180.0  # it is searched for 2 s, once the pool has begun
_numbers = itertools.count()


@dataclass(slots=True)
class Town:
    """The services behind one address, as those who work with them see them. `writes` says where each takes its changes."""

    url: str
    writes: Mapping[str, str]
    settings: Mapping[str, str]
    folder: Path
    http: httpx.AsyncClient
    operator: str = SAMPLE_OPERATOR
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    partner: tuple[Client, str] | None = None
    line: httpx.AsyncClient | None = None
    process: Process | None = None

    async def get(self, path: str, **params: str) -> Any:
        """What anybody can read, through the page's own address."""
        answer = await self.http.get(f"{self.url}{path}", params=params)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    async def send(self, method: str, service: str, path: str, body: object, *, role: str, operator: str = "") -> Any:
        """A change by somebody who may make it."""
        who = (role, operator)
        if who not in self.tokens:
            self.tokens[who] = token(self.settings, role, subject=f"the-{role}", operator=operator)
        headers = {"authorization": f"Bearer {self.tokens[who]}", "idempotency-key": f"web-{next(_numbers)}"}
        answer = await self.http.request(method, f"{self.writes[service]}/{service}/v1/{path}", json=body, headers=headers)
        assert answer.status_code in {200, 201, 202}, answer.text
        return answer.json()

    async def count(self, place_id: str, occupied: int) -> None:
        """A car park's own counter says how many standard bays are taken; of the others none is. A kerb would be closed now and then."""
        facts = next(facts for facts in invented_places() if facts.id == place_id)
        assert facts.kind is not PlaceKind.ON_STREET, f"{place_id} is closed whenever the plan of the day has a truck there"
        counts = [{"category": pool.category, "occupied": occupied if pool.category == "standard" else 0} for pool in facts.pools]
        body = {"observed_at": datetime.now(UTC).isoformat(), "source": "gate", "counts": counts}
        await self.send("POST", "parking", f"places/{place_id}/observations", body, role="lot_operator", operator=self.operator)

    async def join(self) -> None:
        """A charging operator with one station of one point joins, and speaks T/CEC 102 from now on."""
        done = await asyncio.to_thread(
            command, self.settings, self.folder, "charging", "operator", "add", PARTNER, "--name", "Web", "--json"
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        told = json.loads(done.stdout)
        secrets = Secrets(told["operator_secret"], told["data_secret"].encode(), told["data_iv"].encode(), told["sig_secret"].encode())
        await self.open_station(STATION, [CONNECTOR])
        self.line = httpx.AsyncClient(base_url=self.writes["charging"], timeout=PATIENCE_S)
        client = Client(self.line, SystemClock(), operator_id=PARTNER, secrets=secrets)
        heard = await client.token()
        assert heard.accepted, heard
        assert heard.parameters is not None
        self.partner = client, str(heard.parameters["AccessToken"])

    async def leave(self) -> None:
        """The partner hangs up."""
        if self.line is not None:
            await self.line.aclose()

    async def open_station(self, location_id: str, connectors: Sequence[str]) -> None:
        """The partner registers a station with these charging points, beside the second car park."""
        at = next(spot for spot in invented.car_parks() if spot.number == 2).position
        station = {
            "name": "网页站",
            "name_en": "Page station",
            "position": {"lon": at.lon, "lat": at.lat},
            "datum": "wgs84",
            "evses": [{"connector_id": each, "power_w": 60_000, "current": "dc"} for each in connectors],
        }
        await self.send("PUT", "charging", f"locations/{location_id}", station, role="charging_operator", operator=PARTNER)

    async def charge(self, status: int) -> None:
        """The partner's charging point reports a status of T/CEC 102: 1 idle, 3 charging, 255 fault."""
        assert self.partner is not None
        client, access = self.partner
        info = {"ConnectorID": CONNECTOR, "Status": status}
        heard = await client.send(client.envelope("notification_stationStatus", {"ConnectorStatusInfo": info}), token=access)
        assert heard.accepted, heard

    async def link(self, decision: str, location_id: str, place_id: str) -> None:
        """An officer decides in which car park a station stands: `confirmation`, `withdrawal`."""
        await self.send("POST", "charging", f"place-links/{location_id}/{decision}", {"place_id": place_id}, role="officer")

    async def have_routes(self, *streams: str) -> None:
        """Published plans of these streams, of today, and of tomorrow when midnight is near."""
        now = datetime.now(UTC)
        for day in sorted({city_day(now), city_day(now + NEAR_MIDNIGHT)}):
            for stream in streams:
                await self.decide(await self.plan(stream, on=day), "publication")

    async def plan(self, stream: str, *, on: date | None = None) -> str:
        """A plan of a day (today) for a stream, searched and ready to be published."""
        wish = {"stream": stream, "seconds": 2} | ({"date": on.isoformat()} if on else {})
        asked = await self.send("POST", "waste", "plans", wish, role="dispatcher")
        plan_id = str(asked["plan_id"])

        async def ready() -> bool:
            plan = await self._plan(plan_id)
            if plan["state"] not in {"waiting", "solving", "ready"}:
                raise RuntimeError(f"it never will be: {plan}")
            assert plan["state"] == "ready", (plan["state"], plan["progress"])
            return True

        await wait_until(ready, PLANNED_S, every=0.1, what=f"a plan of {stream} is ready")
        return plan_id

    async def not_at_midnight(self) -> None:
        """Waits until the city's day has some minutes left: a page shows the routes of its day only."""

        def the_same() -> bool:
            now = datetime.now(UTC)
            return city_day(now) == city_day(now + MIDNIGHT)

        await wait_until(the_same, 2 * MIDNIGHT.total_seconds(), every=1, what="midnight is over")

    async def have_rest(self, for_s: float) -> None:
        """Waits until no collection begins or ends within so many seconds: then the clock alone closes and opens no kerb."""

        async def resting() -> bool:
            places = (await self.get("/parking/v1/overview"))["places"]
            begins = [window["starts_at"] for each in places for window in each["closures"]]
            ends = [each["closed_until"] for each in places if each["closed_until"] is not None]
            soon = datetime.now(UTC) + timedelta(seconds=for_s)
            return all(datetime.fromisoformat(turn) > soon for turn in (*begins, *ends))

        await wait_until(resting, 2 * for_s, every=0.5, what=f"no kerb is closed or opened within {for_s:g} s")

    async def have_closed_figures(self) -> None:
        """Waits until all figures are closed as they are: then they change with what happens only."""

        async def closed() -> bool:
            for service in self.writes:
                figures, now = [
                    {each["name"]: _headline(each) for each in (await self.get(f"/{service}/v1/indicators", **which))["indicators"]}
                    for which in ({}, {"provisional": "true"})
                ]
                assert figures == now, f"closed {figures}, now {now}"
            return True

        await wait_until(closed, 180, every=2, what="the figures are closed")

    async def decide(self, plan_id: str, decision: str) -> Any:
        """The dispatcher's `publication` or `withdrawal` of a plan."""
        return await self.send("POST", "waste", f"plans/{plan_id}/{decision}", {}, role="dispatcher")

    async def _plan(self, plan_id: str) -> Any:
        headers = {"authorization": f"Bearer {token(self.settings, 'dispatcher')}"}
        answer = await self.http.get(f"{self.writes['waste']}/waste/v1/plans/{plan_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


def _headline(figure: Any) -> tuple[int, int]:
    return figure["schemes"][0]["numerator"], figure["schemes"][0]["denominator"]
