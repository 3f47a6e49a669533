"""A body that each operation takes, for every service, and the many ways in which a value of it can be wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import httpx

from tests.e2e.conftest import Town
from tests.support import scaled

GONE = object()
NASTY: tuple[object, ...] = (
    GONE, None, True, -1, 0.5, 2**31, 2**63, 10**30, 1e308, "", " ", "\x00", "a\x00b", "\ud800", "𝒳" * 5000, "NaN", "-1", [], {}, [[]],
    {"a": 1}, "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "no-such-thing",
)  # fmt: skip
TURN = "TURN"
"""In an operator, a path or a body: the number of the request, of five digits. What it makes is then its own."""
FEWER = scaled(ci=5, full=1)  # for bodies with many values
ON_SERVERS_TOO = ("charging", "waste") if scaled(ci=0, full=1) else ()
"""Services that are asked on real servers, too, besides parking."""
OWNER = "WRONG0001"  # of the stations that are claimed and decided about


def soon(hours: float) -> str:
    """An instant from now."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@dataclass(frozen=True, slots=True)
class Valid:
    """A request whose body nothing is wrong with; it is answered with `status`, the first time at least.

    `template` is the operation's path in the OpenAPI document, `where` the values in it: those, or what `prepared` calls so.
    `every`: so many variants further the next one is sent; without a common divisor with the number of NASTY values, all of them come.
    """

    service: str
    method: str
    template: str
    role: str
    body: Mapping[str, Any]
    status: int
    where: Mapping[str, str] = field(default_factory=dict)
    operator: str = "wrong"
    every: int = 1

    @property
    def path(self) -> str:
        """As the service's document has it."""
        return f"/{self.service}/v1{self.template}"

    @property
    def name(self) -> str:
        """For the report."""
        return f"{self.service}-{self.method} {self.template}{'-in-full' if 'stops' in self.body else ''}"

    def bearer(self, town: Town, turn: int) -> dict[str, str]:
        """Whoever sends the request of a number."""
        return town.bearer(self.role, subject=f"bad-{self.name}-{turn}", operator=self.operator.replace(TURN, f"{turn:05d}"))

    async def send(self, town: Town, client: httpx.AsyncClient, body: object, turn: int, made: Mapping[str, str]) -> httpx.Response:
        """This request with another body."""
        number = f"{turn:05d}"
        path = self.path.format_map({name: made.get(value, value).replace(TURN, number) for name, value in self.where.items()})
        content = json.dumps(body).replace(TURN, number).encode()
        headers = {**self.bearer(town, turn), "content-type": "application/json"}
        return await client.request(self.method, town.url_of(self.service) + path, content=content, headers=headers)


def _parking() -> list[Valid]:
    counts = [{"category": "standard", "occupied": 1, "capacity": 90}]
    observed = {"observed_at": soon(0), "source": "gate", "interval_s": 60, "counts": counts}
    place = {
        "name": "a", "name_en": "b", "position": {"lon": 109.78, "lat": 39.56}, "datum": "gcj02", "address": "c", "kind": "garage",
        "access": "public", "state": "open", "jurisdiction": "d", "district": "e", "charging_stations": 1, "accessible_bays": 1,
        "tariff_text": "f", "service_hours": "g", "phone": "h", "invented": True,
        "pools": [{"category": "standard", "capacity": 5, "walk_in_reserve": 1, "out_of_service": 1}],
    }  # fmt: skip
    stay = {"place_id": "wrong-1", "category": "standard", "starts_at": soon(2), "ends_at": soon(3)}
    one = {"place_id": "wrong-1"}
    return [
        Valid("parking", "PUT", "/places/{place_id}", "lot_operator", place, 201, {"place_id": "wrong-2"}),
        Valid("parking", "POST", "/places/{place_id}/observations", "lot_operator", observed, 201, one),
        Valid("parking", "POST", "/observations", "lot_operator", {"observations": [{**observed, "place_id": "wrong-1"}]}, 200),
        Valid("parking", "POST", "/reservations", "citizen", stay, 201),
    ]


def _station(number: str) -> dict[str, Any]:
    evse = {
        "connector_id": f"C{number}", "power_w": 60_000, "current": "dc", "standard": True, "bay_no": "A1", "lifecycle": "in_service",
    }  # fmt: skip
    return {
        "name": "a", "name_en": "b", "position": {"lon": 109.78, "lat": 39.56}, "datum": "gcj02", "access": "public", "bay_count": 2,
        "state": "open", "district": "d01", "invented": True, "evses": [evse],
    }  # fmt: skip


def _kept(number: str) -> Valid:
    where = {"location_id": f"{OWNER}*S{number}"}
    return Valid("charging", "PUT", "/locations/{location_id}", "charging_operator", _station(number), 201, where, OWNER)


def _claim(number: str) -> Valid:
    claimed, where = {"place_id": "no-place", "bay_nos": ["A1"]}, {"location_id": f"{OWNER}*S{number}"}
    return Valid("charging", "POST", "/locations/{location_id}/place-claims", "charging_operator", claimed, 201, where, OWNER)


def _decision(number: str, decision: str) -> Valid:
    where = {"location_id": f"{OWNER}*S{number}"}
    return Valid("charging", "POST", f"/place-links/{{location_id}}/{decision}", "officer", {"place_id": "no-place"}, 200, where)


def _charging() -> list[Valid]:
    own = f"BAD0{TURN}"
    registered = {"vehicle_class": "bus", "drive": "bev", "standard": True, "vehicles": 3, "district": "d01"}
    stock = {"on": datetime.now(UTC).date().isoformat(), "source": "police", "counts": [registered]}
    return [
        Valid(
            "charging", "PUT", "/locations/{location_id}", "charging_operator", _station("1"), 201, {"location_id": f"{own}*S1"}, own, FEWER
        ),
        _claim("1"), _decision("2", "confirmation"), _decision("3", "rejection"), _decision("4", "withdrawal"),
        Valid("charging", "PUT", "/vehicle-registrations", "city_admin", stock, 200),
    ]  # fmt: skip


def _load(ticket_no: str, gross_kg: int = 7000) -> Valid:
    load = {
        "site_id": "recycler-1", "truck_id": "T01", "stream": "recyclable", "ticket_no": ticket_no, "gross_kg": gross_kg, "tare_kg": 5600,
        "weighed_at": soon(-1), "district": "d01", "corrects": None,
    }  # fmt: skip
    return Valid("waste", "POST", "/loads", "site_operator", load, 201, operator="sample-operator")


def small_problem() -> dict[str, Any]:
    """A problem of one stop that is planned at once."""
    at, hours = {"lon": 109.787, "lat": 39.565}, {"start_s": 0, "end_s": 36_000}
    stop = {"id": "a", "position": at, "demand_kg": 10, "demand_dm3": 20, "service_s": 60}
    truck = {"id": "t", "capacity_kg": 100, "capacity_dm3": 100, "shift": hours, "streams": ["other"]}
    site = {"id": "s", "position": at, "streams": ["other"], "service_s": 60}
    return {
        "stream": "other", "publish": "by-hand", "datum": "wgs84", "depot": at, "stops": [stop], "trucks": [truck], "sites": [site],
        "options": {"seconds": 1},
    }  # fmt: skip


def _problem() -> dict[str, Any]:
    """The same with everything that can be said of it."""
    small = small_problem()
    at, hours, caps = small["depot"], small["trucks"][0]["shift"], {"kg": 100, "dm3": 100, "stops": 9, "containers": 9}
    small["stops"][0] |= {"windows": [hours], "containers": 1, "container_s": 9, "trucks": ["t"], "prize_m": 9000}
    underway = {"position": at, "at_s": 60, "load_kg": 1, "load_dm3": 1, "taken": caps}
    small["trucks"][0] |= {"gross_mass_kg": 9000, "day": caps, "overtime_s": 60, "underway": underway}
    small["sites"][0] |= {"queue_s": 9, "opening": [hours], "day_kg": 900}
    options = {"vehicle_cost_m": 9, "minimise": "distance", "overtime_m": 9, "even_percent": 9, "engine": "auto"}
    lunch, yesterday = {"earliest_s": 9, "latest_s": 99, "duration_s": 9}, [{"truck": "t", "stops": ["a"]}]
    return {**small, "date": "2020-01-01", "options": small["options"] | options, "lunch": lunch, "yesterday": yesterday}


def _waste() -> list[Valid]:
    # Plans are refused for their day, or for what there is of the stream, when all else was found right: nobody is to search a thousand.
    nothing = {"stream": "construction", "date": None, "publish": "by-hand", "seconds": 1, "depot_id": "depot-1"}
    stop = _problem()["stops"][0]
    anew = {
        "at": soon(0), "datum": "wgs84", "broken": ["T01"], "closed_roads": ["a road", {"lon": 109.787, "lat": 39.565}],
        "reopened": ["a road"], "urgent": [{"point_id": "P001"}, stop], "overtime_s": 60, "seconds": 1, "margin_s": 60,
        "positions": {"T02": {"position": {"lon": 109.787, "lat": 39.565}, "load_kg": 1, "load_dm3": 1}}, "publish": "by-hand",
    }  # fmt: skip
    estimate = {"district": "d01", "on": "2026-01-01", "mass_kg": 5800, "method": "per head"}
    return [
        Valid("waste", "POST", "/plans", "dispatcher", nothing, 422),
        Valid("waste", "POST", "/plans", "dispatcher", _problem(), 422, every=FEWER),
        Valid("waste", "POST", "/plans/{plan_id}/replans", "dispatcher", anew, 404, {"plan_id": "no-plan"}, every=FEWER),
        _load(f"W{TURN}"),
        Valid(
            "waste", "POST", "/loads/{load_id}/voiding", "site_operator", {"reason": "a"}, 200, {"load_id": "LOAD"}, "sample-operator"
        ),
        Valid("waste", "PUT", "/generation-estimates", "city_admin", estimate, 200),
    ]  # fmt: skip


def valid_requests() -> Sequence[Valid]:
    """At least one for every operation that takes a body."""
    return [*_parking(), *_charging(), *_waste()]


async def open_place(town: Town, client: httpx.AsyncClient) -> None:
    """The car park that parking's requests speak of; it may be there already."""
    place = {"name": "a", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84", "pools": [{"category": "standard", "capacity": 90}]}
    kept = await client.put("/parking/v1/places/wrong-1", json=place, headers=town.bearer("lot_operator", operator="wrong"))
    assert kept.status_code in {200, 201}, kept.text


async def prepared(valid: Valid, town: Town, client: httpx.AsyncClient) -> Mapping[str, str]:
    """Makes what a valid request speaks of; answers the ids that the service gave."""
    if valid.service == "parking":
        await open_place(town, client)
        return {}
    of_station = valid.where.get("location_id", TURN)
    if TURN not in of_station:
        number = of_station[-1]
        steps = [_kept(number), *([_claim(number)] if number > "1" else []), *([_decision(number, "confirmation")] if number > "3" else [])]
    else:
        steps = [_load("voided", gross_kg=9000)] if "load_id" in valid.where else []
    ids: dict[str, str] = {}
    for step in steps:
        answer = await step.send(town, client, step.body, 0, {})
        assert answer.status_code == step.status, (step.name, answer.text)
        ids["LOAD"] = answer.json().get("id", "")
    return ids


def wrong(valid: Valid) -> Iterator[tuple[str, object]]:
    """Variants of a request's body, each with one value replaced or gone; and one member too many, and no object at all."""
    yield from islice(_with_one_wrong(valid.body), 0, None, valid.every)
    yield "a member too many", {**valid.body, "surplus": 1}
    yield from ((f"whole body = {value!r}"[:60], value) for value in NASTY if value is not GONE)


def _with_one_wrong(body: Any) -> Iterator[tuple[str, object]]:
    for where in _places_in(body):
        for value in NASTY:
            variant = copy.deepcopy(body)
            inner = variant
            for part in where[:-1]:
                inner = inner[part]
            if value is GONE:
                del inner[where[-1]]
            else:
                inner[where[-1]] = value
            yield f"{'/'.join(map(str, where))} = {'gone' if value is GONE else repr(value)[:40]}", variant


def _places_in(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield (*before, name)
        yield from _places_in(each, (*before, name))
