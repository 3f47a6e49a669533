"""What a crew takes along: whole, escaped, and readable by what others wrote."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from xml.etree import ElementTree as ET

import gpxpy
import httpx
import pytest
import segno
from shapely.geometry import shape

from cityloop_waste.planning import problem_json
from cityloop_waste.planning.domain import Lunch, VisitKind, Window
from cityloop_waste.planning.manifest import COLUMNS, Manifest, manifest, to_csv, to_geojson, to_gpx
from cityloop_waste.planning.manifest_html import CSP, Language, to_html
from cityloop_waste.planning.plans import CityPlan, NoRoutes, PlanState, Publish, UnknownRoute
from cityloop_waste.roads.domain import TravelSource
from cityloop_waste.streams import Stream
from tests.unit.waste.towns import SIX, by_hand, problem, site, stop, travel, truck

AT = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
GPX = "{http://www.topografix.com/GPX/1/1}"
EVIL = '=1+1 <script>alert("x")</script> & 点'
NAMES = {"A1": (EVIL, "-first"), "A2": ("二号点", None), "S1": ("厂 & 站", "plant")}
LUNCH = Lunch(SIX + 600, SIX + 7200, 1800)


def plan(**changes: Any) -> CityPlan:
    """A published plan of two stops, a lunch between them, and an unload."""
    of = problem(
        [stop("A1", (1000, 0), 400, dm3=900, containers=3, windows=[Window(SIX, SIX + 3600)]), stop("A2", (6000, 0), 300, service_s=1200)],
        [truck("T1"), truck("T2")],
        [site("S1", (500, 500))],
        lunch=LUNCH,
    )
    found = by_hand(of, travel(of), {"T1": ["A1", "A2", "S1"]}, leaves={"T1": SIX}, eats={"T1": SIX + 600})
    result = problem_json.write_plan(found, stream="other", travel=TravelSource.GIVEN)
    made = CityPlan(
        "01a217ab-753f-7547-abba-97ab025aa1b1", Stream.OTHER, date(2026, 11, 26), PlanState.PUBLISHED, Publish.BY_HAND, "j", 5, None, 1, 1,
        AT, AT, publication=2, problem=problem_json.write(of), result=result,
    )  # fmt: skip
    return replace(made, **changes)


LINES = [{"travel": "graph", "line": [[0.0, 0.0], [0.001, 0.0], [0.006, 0.0], [0.0005, 0.0005], [0.0, 0.0]]}]


def made(**changes: Any) -> Manifest:
    return manifest(plan(**changes), LINES, "T1", NAMES)


def test_a_manifest_has_every_call_in_its_order() -> None:
    """What is taken, what is on board, when a stop may be served, where it unloads."""
    of = made()
    assert [(call.kind, call.id) for call in of.calls] == [
        (VisitKind.DEPOT_START, None),
        (VisitKind.STOP, "A1"),
        (VisitKind.STOP, "A2"),
        (VisitKind.UNLOAD, "S1"),
        (VisitKind.DEPOT_END, None),
    ]
    first = of.calls[1]
    assert (first.containers, first.kg, first.dm3, first.load_kg, first.windows) == (3, 400, 900, 400, ("06:00-07:00",))
    assert (of.stops, of.along_roads, of.stranded, of.lunch is not None) == (2, True, False, True)


def test_a_truck_without_a_route_has_no_manifest() -> None:
    """Nor has a plan without routes; where no line was drawn it is straight, and said to be."""
    with pytest.raises(UnknownRoute):
        manifest(plan(), LINES, "T2", NAMES)
    with pytest.raises(NoRoutes):
        manifest(plan(result=None), None, "T1", NAMES)
    straight = manifest(plan(), None, "T1", {})
    assert (straight.along_roads, straight.calls[1].name, len(straight.line)) == (False, "A1", 4)


def test_csv_is_read_back_and_holds_no_formula() -> None:
    """UTF-8 with its mark; times of the city; a text that begins like a formula is a text."""
    raw = to_csv(made())
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert (tuple(rows[0]), len(rows)) == (COLUMNS, 5)
    assert (rows[1]["name"], rows[1]["name_en"]) == (f"'{EVIL}", "'-first")
    assert (rows[1]["arrives_at"], rows[3]["load_kg"]) == ("2026-11-26T06:01:40+08:00", "0")
    for row in rows:
        assert not any(value.startswith(("=", "+", "@", "\t", "\r")) for value in row.values())


def test_gpx_keeps_its_schema_in_order_and_content() -> None:
    """GPX 1.1: metadata, waypoints, route, track; positions in degrees, instants in UTC."""
    of = made()
    root = ET.fromstring(to_gpx(of))
    assert (root.tag, root.get("version"), bool(root.get("creator"))) == (f"{GPX}gpx", "1.1", True)
    tags = [child.tag.removeprefix(GPX) for child in root]
    assert tags == ["metadata", *["wpt"] * 5, "rte", "trk"]
    for point in [*root.iter(f"{GPX}wpt"), *root.iter(f"{GPX}rtept")]:
        assert [child.tag.removeprefix(GPX) for child in point] == ["time", "name", "desc", "type"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", point.findtext(f"{GPX}time", ""))
    track = [(float(each.attrib["lon"]), float(each.attrib["lat"])) for each in root.iter(f"{GPX}trkpt")]
    assert track == [tuple(vertex) for vertex in of.line]
    assert EVIL in (root.findall(f"{GPX}wpt")[1].findtext(f"{GPX}name") or "")


def test_gpx_is_read_by_what_others_wrote() -> None:
    """gpxpy, as version 1.1: the same waypoints, route and track."""
    of = made()
    read = gpxpy.parse(to_gpx(of).decode(), version="1.1")
    assert (len(read.waypoints), [len(each.points) for each in read.routes]) == (5, [5])
    assert [(point.longitude, point.latitude) for point in read.waypoints] == [(call.lon, call.lat) for call in of.calls]
    assert [point.time for point in read.waypoints] == [call.arrives_at for call in of.calls]
    assert [(point.longitude, point.latitude) for point in read.tracks[0].segments[0].points] == [tuple(each) for each in of.line]


def test_geojson_is_a_line_and_its_calls() -> None:
    """RFC 7946: longitude first; shapely takes every geometry."""
    found = json.loads(to_geojson(made()))
    shapes = [shape(each["geometry"]) for each in found["features"]]
    assert [each.geom_type for each in shapes] == ["LineString", *["Point"] * 5]
    assert all(each.is_valid for each in shapes)
    assert shapes[2].coords[0] == (0.001, 0.0)
    assert found["features"][2]["properties"]["name"] == EVIL


@pytest.mark.parametrize("language", Language)
def test_the_paper_needs_nothing_else(language: Language) -> None:
    """One file for A4, escaped, with a QR code, its lunch in its place, and no address of anywhere else."""
    page = to_html(made(), language).decode()
    assert "size: A4" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page or language is Language.EN
    assert page.count("<svg") == 1
    assert not re.findall(r"(?:src|href)=", page)
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in CSP
    rows = re.findall(r'<tr class="([a-z-]+)"', page)
    assert rows == ["depot-start", "stop", "lunch", "stop", "unload", "depot-end"]
    assert f'lang="{language}"' in page
    assert ("收运单" in page) is (language is Language.ZH)


def test_a_paper_of_a_broken_truck_says_so_and_a_draft_too() -> None:
    """Its rest went to others; what nobody published is no order."""
    result = {**(plan().result or {}), "stranded": [{"truck": "T1", "load_kg": 700, "load_dm3": 900}]}
    assert "broke down" in to_html(made(result=result), Language.EN).decode()
    assert "not published" in to_html(made(publication=None), Language.EN).decode()


def test_the_qr_code_leads_to_the_manifest() -> None:
    """The address of the plan and the truck as a phone opens it, nothing of a person."""
    of = made()
    assert of.path == "/waste/v1/plans/01a217ab-753f-7547-abba-97ab025aa1b1/manifests/T1"
    page = to_html(of, Language.EN, base="https://city.example").decode()
    assert f"https://city.example{of.path}</footer>" in page
    code = segno.make(f"https://city.example{of.path}", error="m", micro=False).svg_inline(scale=3, border=2)
    assert code in page


@pytest.mark.parametrize("truck", ["a/b", "..", ".", "蒙K 12?#&", "%2e%2e", "t" * 79 + "é", "𠀀" * 80])
def test_a_truck_by_any_name_has_an_address_and_a_code(truck: str) -> None:
    """It survives what clients do to a path, and comes back as it was."""
    of = replace(made(), truck=truck)
    read = httpx.URL("https://city.example").join(of.path)
    assert (read.path, dict(read.params)) == (f"/waste/v1/plans/{of.plan_id}/manifests", {"truck": truck})
    assert "<svg" in to_html(of, Language.ZH, base="https://city.example").decode()
