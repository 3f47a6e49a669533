"""What a crew takes along: a truck's day as a list of calls, and as CSV, GPX 1.1 and GeoJSON. Pure; no name of a person is in it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import orjson

from cityloop_common.clock import CITY_TZ, day_begins, rfc3339
from cityloop_waste.planning import routes
from cityloop_waste.planning.domain import VisitKind
from cityloop_waste.planning.plans import CityPlan, NoRoutes, UnknownRoute

Names = Mapping[str, tuple[str, str | None]]
"""Name and English name by id of a point or site."""
Line = Sequence[Sequence[float]]
COLUMNS = (
    "number", "kind", "id", "name", "name_en", "lon", "lat", "arrives_at", "starts_at", "departs_at", "windows", "containers", "kg", "dm3",
    "load_kg", "load_dm3",
)  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Call:
    """A truck at a place: what it takes there, and what is on board when it leaves."""

    number: int
    kind: VisitKind
    id: str | None
    name: str
    name_en: str | None
    lon: float
    lat: float
    arrives_at: datetime
    starts_at: datetime
    departs_at: datetime
    windows: tuple[str, ...]
    containers: int
    kg: int
    dm3: int
    load_kg: int
    load_dm3: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A truck's day. `line` follows the roads where it was drawn along them; `stranded`: it broke down after its last call."""

    plan_id: str
    truck: str
    stream: str
    on: date
    state: str
    version: int | None
    distance_m: int
    duration_s: int
    calls: tuple[Call, ...]
    lunch: tuple[datetime, datetime] | None
    line: Line
    along_roads: bool
    stranded: bool

    @property
    def path(self) -> str:
        """Where it is, under the city's address: the truck in the path, or beside it where clients and proxies would rewrite the path."""
        there, truck = f"/waste/v1/plans/{self.plan_id}/manifests", quote(self.truck, safe="")
        return f"{there}/{truck}" if _PLAIN.fullmatch(self.truck) else f"{there}?truck={truck}"

    @property
    def stops(self) -> int:
        """Stops that it serves."""
        return sum(1 for call in self.calls if call.kind is VisitKind.STOP)


def manifest(plan: CityPlan, lines: Sequence[Mapping[str, Any]] | None, truck: str, names: Names) -> Manifest:
    """A truck's day of a plan. Raises NoRoutes, UnknownRoute."""
    if plan.result is None or plan.problem is None:
        raise NoRoutes(f"it is {plan.state}")
    number = next((n for n, route in enumerate(plan.result["routes"]) if route["truck"] == truck), None)
    if number is None:
        raise UnknownRoute(f"no route of {truck[:80]}")
    route = plan.result["routes"][number]
    places = routes.Places(plan.problem)
    line = routes.line_of(plan.result, route, places, lines, number)
    midnight, lunch = day_begins(plan.on), route.get("lunch")
    return Manifest(
        plan_id=plan.id,
        truck=truck,
        stream=plan.stream.value,
        on=plan.on,
        state=plan.state.value,
        version=plan.publication,
        distance_m=route["distance_m"],
        duration_s=route["duration_s"],
        calls=tuple(_calls(plan.problem, route, places, midnight, names)),
        lunch=None if not lunch else (midnight + timedelta(seconds=lunch["start_s"]), midnight + timedelta(seconds=lunch["end_s"])),
        line=line["line"],
        along_roads=line["travel"] == "graph",
        stranded=truck in {each["truck"] for each in plan.result.get("stranded", ())},
    )


def ids(plan: CityPlan, truck: str) -> list[str]:
    """The places of a route that have names."""
    found = (route for route in (plan.result or {}).get("routes", ()) if route["truck"] == truck)
    return sorted({str(visit["id"]) for route in found for visit in route["visits"] if visit["id"] is not None})


def to_csv(of: Manifest) -> bytes:
    """A row a call, local times; UTF-8 with its mark, so that office programs read Chinese. No cell is a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for call in of.calls:
        times = (local(each).isoformat() for each in (call.arrives_at, call.starts_at, call.departs_at))
        named = (_cell(call.id or ""), _cell(call.name), _cell(call.name_en or ""))
        loads = (call.containers, call.kg, call.dm3, call.load_kg, call.load_dm3)
        writer.writerow((call.number, call.kind.value, *named, call.lon, call.lat, *times, ";".join(call.windows), *loads))
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def to_geojson(of: Manifest) -> bytes:
    """RFC 7946: the line, when it leads somewhere, and a point a call."""
    features: list[dict[str, Any]] = []
    if len(of.line) > 1:
        about = {"truck": of.truck, "stream": of.stream, "on": of.on, "distance_m": of.distance_m, "along_roads": of.along_roads}
        features.append({"type": "Feature", "geometry": {"type": "LineString", "coordinates": of.line}, "properties": about})
    for call in of.calls:
        told = {name: getattr(call, name) for name in COLUMNS if name not in ("lon", "lat")}
        features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [call.lon, call.lat]}, "properties": told})
    whole = {"type": "FeatureCollection", "plan_id": of.plan_id, "truck": of.truck, "features": features}
    return orjson.dumps(whole, option=orjson.OPT_UTC_Z)


def to_gpx(of: Manifest) -> bytes:
    """GPX 1.1: a waypoint a call, the calls as a route, and the way along the roads as a track."""
    title = escape(f"{of.on} {of.stream} {of.truck}")
    calls = list(of.calls)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        '<gpx version="1.1" creator="CityLoop" xmlns="http://www.topografix.com/GPX/1/1">\n',
        f"<metadata><name>{title}</name><desc>{escape(of.path)}</desc></metadata>\n",
        *(_point("wpt", call) for call in calls),
        f"<rte><name>{title}</name>\n",
        *(_point("rtept", call) for call in calls),
        "</rte>\n",
    ]
    if len(of.line) > 1:
        vertices = "".join(f'<trkpt lat="{lat}" lon="{lon}"/>' for lon, lat in of.line)
        parts.append(f"<trk><name>{title}</name><trkseg>{vertices}</trkseg></trk>\n")
    return "".join([*parts, "</gpx>\n"]).encode()


def local(at: datetime) -> datetime:
    """An instant by the city's clock."""
    return at.astimezone(CITY_TZ)


def _calls(problem: Mapping[str, Any], route: Mapping[str, Any], places: routes.Places, midnight: datetime, names: Names) -> Iterator[Call]:
    stops = {stop["id"]: stop for stop in problem["stops"]}
    for number, visit in enumerate(route["visits"]):
        stop = stops.get(visit["id"], {}) if visit["kind"] == VisitKind.STOP else {}
        name, name_en = names.get(visit["id"], (visit["id"] or "", None))
        at = places.of(visit, route["truck"])
        arrives_at, starts_at, departs_at = (midnight + timedelta(seconds=visit[each]) for each in ("arrival_s", "start_s", "departure_s"))
        yield Call(
            number=number,
            kind=VisitKind(visit["kind"]),
            id=visit["id"],
            name=name,
            name_en=name_en,
            lon=at["lon"],
            lat=at["lat"],
            arrives_at=arrives_at,
            starts_at=starts_at,
            departs_at=departs_at,
            windows=tuple(f"{_clock(each['start_s'])}-{_clock(each['end_s'])}" for each in stop.get("windows", ())),
            containers=stop.get("containers", 0),
            kg=stop.get("demand_kg", 0),
            dm3=stop.get("demand_dm3", 0),
            load_kg=visit["load_kg"],
            load_dm3=visit["load_dm3"],
        )


def _point(tag: str, call: Call) -> str:
    what = f"{call.name or call.kind.value}"
    told = f"{call.kind.value}; {call.kg} kg, {call.containers} containers; {call.load_kg} kg on board"
    return (
        f'<{tag} lat="{call.lat}" lon="{call.lon}"><time>{rfc3339(call.arrives_at)}</time><name>{escape(f"{call.number} {what}")}</name>'
        f"<desc>{escape(told)}</desc><type>{call.kind.value}</type></{tag}>\n"
    )


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"
