"""Importing the registry and the base map: a verdict a row, twice is once, districts, trucks that never change their stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from cityloop_common import invented
from cityloop_common.districts import read
from cityloop_common.geo import DatumMissing, DatumUnknown, Position
from cityloop_waste.cli import Format, import_data
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.tables import depot, truck
from cityloop_waste.planning import registered
from cityloop_waste.planning.absent import ABSENT
from cityloop_waste.planning.domain import Caps, Lunch, Options, Window
from cityloop_waste.points import store as points
from cityloop_waste.points.domain import CollectionPoint, Demand, PointId
from cityloop_waste.points.tables import collection_point
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.domain import InvalidRoads
from cityloop_waste.roads.tables import road_graph
from cityloop_waste.rows import ImportReport
from cityloop_waste.streams import Stream
from tests.contract.waste_support import Town, town

DEPOTS = "id,name,lon,lat\ndepot-1,车场,109.78,39.56\n"
TRUCKS = "id,operator_id,stream,depot,capacity_kg,capacity_dm3,shift\n"
POINTS = "id,name,lon,lat,district,windows,kitchen_kg,kitchen_dm3,other_kg\n"
FAR = read(orjson.dumps(invented.districts())).of(Position(109.787, 39.565))  # what lies outside may say its own
SITES = "id,kind,name,operator_id,lon,lat,streams\n"


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """An empty town with the invented districts, on each dialect."""
    async with town(url, tmp_path, districts=read(orjson.dumps(invented.districts()))) as opened:
        yield opened


async def load(city: Town, format: Format, text: str, datum: str | None = "wgs84") -> ImportReport:
    """Imports a file."""
    return await import_data(city.ctx, text.encode(), format, datum=datum, advance=lambda *_: None)


def reasons(report: ImportReport) -> dict[int, str]:
    """Why rows were rejected."""
    return {each.row: each.reason for each in report.rejected}


async def test_points_are_stored_with_their_district_and_once(city: Town) -> None:
    """The polygons' word before the file's; a repetition is unchanged, a changed row counts."""
    file = POINTS + f"P1,一号点,109.787,39.565,nowhere,06:00-09:00;20:00-26:00,120,400,\nP2,二号点,109.60,39.40,{FAR},,,,80\n"
    report = await load(city, Format.POINTS, file)
    assert (report.read, report.accepted, report.unchanged, report.rejected) == (2, 2, 0, ())
    assert (await load(city, Format.POINTS, file)).unchanged == 2
    async with city.db.read() as tx:
        one, two = await points.page(tx, after="", most=9)
    assert (one.district, two.district) == (city.ctx.districts.of(one.position), FAR)
    assert [str(each) for each in one.windows] == ["06:00-09:00", "20:00-26:00"]
    assert [(each.stream, each.mass_kg, each.volume_dm3, each.service_s) for each in one.demands] == [(Stream.KITCHEN, 120, 400, 180)]
    changed = await load(city, Format.POINTS, file.replace(",80", ",90"))
    assert (changed.accepted, changed.unchanged) == (1, 1)
    async with city.db.read() as tx:
        assert [each.id for each in await points.due(tx, Stream.OTHER, most=9)] == ["P2"]


async def test_what_a_plan_needs_is_imported_and_planned(city: Town) -> None:
    """Containers, who may come and a prize; caps and overtime; queue, hours and what a site takes. A repetition is unchanged."""
    await load(city, Format.DEPOTS, DEPOTS)
    head = TRUCKS.replace("shift", "shift,day_kg,day_dm3,day_stops,day_containers,overtime_s")
    trucks = head + "T1,op,kitchen,depot-1,5000,9000,20:00-28:00,9000,,40,90,1800\nT2,op,kitchen,depot-1,5000,9000,05:00-13:00,,,,,\n"
    more = POINTS.replace("other_kg", "other_kg,kitchen_containers,kitchen_trucks,kitchen_prize_m")
    rows = "P1,点,109.787,39.565,,,120,400,,4,T1;T2,5000\nP2,点,109.788,39.565,,,120,400,,,T9,\nP3,点,109.789,39.565,,,1,,,,,\n"
    sites = (
        SITES.replace("streams", "streams,service_s,queue_s,opening,day_kg")
        + "S1,biogas,厂,op,109.79,39.56,kitchen,600,300,06:00-25:00,70000\n"
    )
    for _ in range(2):
        reports = [
            await load(city, each, text) for each, text in ((Format.TRUCKS, trucks), (Format.POINTS, more + rows), (Format.SITES, sites))
        ]
        assert [report.rejected for report in reports] == [(), (), ()]
    assert [report.unchanged for report in reports] == [2, 3, 1]
    async with city.db.read() as tx:
        problem = await registered.problem(tx, Stream.KITCHEN, depot_id=None, options=Options(1), lunch=Lunch(39_600, 43_200, 3_600))
    one, two, three = problem.stops
    assert (one.containers, one.trucks, one.prize_m) == (4, ("T1", "T2"), 5000)
    assert (two.trucks, three.trucks, three.prize_m) == ((ABSENT.id,), (), None), "T9 is not on duty"
    assert [(each.id, each.day, each.overtime_s) for each in problem.trucks] == [
        ("T1", Caps(9000, None, 40, 90), 1800),
        ("T2", Caps(), 0),
        (ABSENT.id, Caps(), 0),
    ]
    (site,) = problem.sites
    night = Window(0, 3600), Window(6 * 3600, 25 * 3600)  # what was open past midnight is open in the first hour, too
    assert (site.service_s, site.day_kg, site.opening) == (900, 70_000, night)


@pytest.mark.parametrize(
    "columns, row, reason",
    [
        ("kitchen_containers", "201", "kitchen_containers is a whole number"),
        ("kitchen_trucks", "a b", "kitchen_trucks names at most"),
        ("kitchen_prize_m", "-1", "kitchen_prize_m is a whole number"),
    ],
)
async def test_what_a_plan_cannot_use_is_a_rows_verdict(city: Town, columns: str, row: str, reason: str) -> None:
    """With the column's name."""
    text = POINTS.replace("other_kg", f"other_kg,{columns}") + f"P1,点,109.787,39.565,,,1,,,{row}\n"
    assert reason in reasons(await load(city, Format.POINTS, text))[1]


async def test_a_site_is_not_busy_for_longer_than_a_shift(city: Town) -> None:
    """Queue and service together."""
    text = SITES.replace("streams", "streams,service_s,queue_s") + "S1,biogas,厂,op,109.79,39.56,kitchen,20000,20000\n"
    assert "together" in reasons(await load(city, Format.SITES, text))[1]


async def test_a_file_of_the_first_release_says_the_same_as_before(city: Town) -> None:
    """The hash of facts that name nothing new is what it was: an import after the upgrade changes no row."""
    old = Demand(Stream.KITCHEN, 120, 400, 180)
    point = CollectionPoint(PointId("P1"), "点", None, Position(109.787, 39.565), None, (old,))
    assert point.content_hash() == "2797cd82fa7141ec68f1b8139a45f2e207b4df91144f8dfa73af6760469ac0c8"
    assert replace(point, demands=(replace(old, containers=2),)).content_hash() != point.content_hash()


async def test_gcj02_is_converted(city: Town) -> None:
    """A map of the country lies half a kilometre beside."""
    await load(city, Format.POINTS, POINTS + "P1,点,109.79275,39.56698,,,1,,\n", "gcj02")
    async with city.db.read() as tx:
        (point,) = await points.page(tx, after="", most=9)
    assert abs(point.position.lon - 109.787) < 0.001


async def test_a_row_that_cannot_be_used_stops_no_other(city: Town) -> None:
    """Its verdict says why; the others are stored."""
    report = await load(city, Format.POINTS, POINTS + "P1,点,39.565,109.787,,,1,,\nP9,点,109.787,39.565,,,1,,\n")
    assert "swapped" in reasons(report)[1]
    assert (report.accepted, await city.count(collection_point)) == (1, 1)


async def test_positions_need_their_datum(city: Town) -> None:
    """None, or one that nobody knows."""
    for format in (Format.POINTS, Format.SITES, Format.DEPOTS, Format.ROADS):
        with pytest.raises(DatumMissing):
            await load(city, format, POINTS, None)
        with pytest.raises(DatumUnknown):
            await load(city, format, POINTS, "nad27")


async def test_trucks_need_their_depot_and_keep_their_stream(city: Town) -> None:
    """An unknown depot and a change of stream are rejected; anything else may change."""
    first = TRUCKS + "T1,op,kitchen,depot-1,5000,9000,05:00-13:00\n"
    assert "import depots first" in reasons(await load(city, Format.TRUCKS, first, None))[1]
    await load(city, Format.DEPOTS, DEPOTS)
    assert (await load(city, Format.TRUCKS, first, None)).accepted == 1
    other = TRUCKS + "T1,op,other,depot-1,5000,9000,05:00-13:00\nT2,op,other,depot-1,5000,9000,05:00-13:00\n"
    report = await load(city, Format.TRUCKS, other, None)
    assert (report.accepted, "dedicated to kitchen" in reasons(report)[1]) == (1, True)
    assert (await load(city, Format.TRUCKS, first.replace("5000", "6000"), None)).accepted == 1
    async with city.db.write() as tx:
        changed = await fleet.truck_by_id(tx, "T1")
        assert changed is not None
        assert (changed.capacity_kg, changed.stream, changed.colour) == (6000, Stream.KITCHEN, "PANTONE 2259C")
    assert (await city.count(truck), await city.count(depot)) == (2, 1)


async def test_a_district_that_nobody_knows_is_a_rows_verdict(city: Town) -> None:
    """Of a truck, and of a point or site that lies in none of the polygons; the other rows are stored."""
    await load(city, Format.DEPOTS, DEPOTS)
    trucks = TRUCKS.replace("shift", "shift,district")
    row, far, near = "op,kitchen,depot-1,5000,9000,05:00-13:00", "109.60,39.40", "109.787,39.565"
    points_ = f"P1,点,{far},nowhere,,1,,\nP2,点,{near},nowhere,,1,,\nP3,点,{far},,,1,,\n"
    site = "recycler,点,op"
    sites = f"S1,{site},{far},kitchen,nowhere\nS2,{site},{near},kitchen,nowhere\nS3,{site},{far},kitchen,\n"
    told = [
        await load(city, Format.TRUCKS, f"{trucks}T1,{row},nowhere\nT2,{row},{FAR}\nT3,{row},\n", None),
        await load(city, Format.POINTS, POINTS + points_),
        await load(city, Format.SITES, SITES.replace("streams", "streams,district") + sites),
    ]
    assert [reasons(report) for report in told] == [{1: "there is no district nowhere"}] * 3
    assert [(report.read, report.accepted, report.unchanged) for report in told] == [(3, 2, 0)] * 3


def roads_text(*coordinates: tuple[float, float], **properties: object) -> str:
    """A base map of one road."""
    geometry = {"type": "LineString", "coordinates": coordinates}
    feature = {"type": "Feature", "properties": {"name": "路", "speed_kmh": 40, **properties}, "geometry": geometry}
    return orjson.dumps({"type": "FeatureCollection", "features": [feature]}).decode()


async def test_a_base_map_is_kept_by_its_version(city: Town) -> None:
    """The last imported is the present one; an older one can come back; nothing changes by a repetition."""
    one, two = roads_text((109.78, 39.56), (109.79, 39.56)), roads_text((109.78, 39.56), (109.79, 39.57), oneway=True)
    assert (await load(city, Format.ROADS, one)).accepted == 1
    assert (await load(city, Format.ROADS, one)).unchanged == 1
    first = await roads.present_version(city.ctx)
    city.clock.move(seconds=1)
    await load(city, Format.ROADS, two)
    second = await roads.present_version(city.ctx)
    city.clock.move(seconds=1)
    await load(city, Format.ROADS, one)
    assert (await roads.present_version(city.ctx), first == second, await city.count(road_graph)) == (first, False, 2)


async def test_a_base_map_that_cannot_be_driven_on_leaves_nothing(city: Town) -> None:
    """It is refused whole."""
    with pytest.raises(InvalidRoads):
        await load(city, Format.ROADS, roads_text((39.56, 109.78), (39.56, 109.79)))
    assert await city.count(road_graph) == 0


async def test_the_invented_city_can_be_imported(city: Town) -> None:
    """Its streets are a base map as everybody else's."""
    assert (await load(city, Format.ROADS, orjson.dumps(invented.base_map()).decode())).accepted == len(invented.streets())
