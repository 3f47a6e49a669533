"""Base maps of OSM extracts: imported by the command, driven on, refused whole; the form of both is the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cityloop_common.geo import BadPosition, Datum, distance_m
from cityloop_waste.cli import Format, import_data, import_extract
from cityloop_waste.roads import graph
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.domain import InvalidRoads, read_roads
from cityloop_waste.roads.tables import road_graph
from tests.contract.waste_support import Town, town
from tests.unit.waste.streets import at
from tests.unit.waste.test_roads_osm import CITY, CROSS, EAST, NORTH, SOUTH, WEST, extract

CITYLOOP = str(Path(sys.executable).with_name("cityloop"))
NO_LEFT = {"restriction": "no_left_turn"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 13, "to")]


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A town without a base map, on each dialect."""
    async with town(url, tmp_path) as opened:
        yield opened


def crossroads(file: Path) -> Path:
    """Four streets that meet, without the left turn from the west."""
    streets = [
        (number, of, {"highway": "residential", "maxspeed": "36", "name": f"街{number}"}) for number, of in (WEST, EAST, NORTH, SOUTH)
    ]
    return extract(file, CROSS, streets, [NO_LEFT])


async def load(city: Town, file: Path, datum: str | None = None) -> tuple[int, int]:
    """Accepted and unchanged roads of one import."""
    report = await import_extract(city.ctx, file, datum=datum, advance=lambda *_: None)
    return report.accepted, report.unchanged


async def test_an_extract_becomes_the_base_map(city: Town, tmp_path: Path) -> None:
    """Twice is once; what is stored can be driven on, with its banned turn, and names where it is from."""
    file = crossroads(tmp_path / "a.osm.pbf")
    assert [await load(city, file), await load(city, file)] == [(4, 0), (0, 4)]
    _, text = await roads.present(city.ctx)
    document = json.loads(text)
    assert "OpenStreetMap" in document["attribution"]
    west, north = (at(*CROSS[number]) for number in (1, 4))
    seconds = graph.travel(read_roads(document), [west, north]).duration_s
    assert (seconds[0][1], seconds[1][0]) == pytest.approx((423, 203), abs=2)


async def test_an_extract_and_its_geojson_are_the_same_roads(city: Town, tmp_path: Path) -> None:
    """What is exported of a base map can be imported again: banned turns, classes and narrow streets stay."""
    await load(city, crossroads(tmp_path / "a.osm.pbf"))
    _, text = await roads.present(city.ctx)
    again = roads.read(text, datum=Datum.WGS84, within=CITY)
    assert read_roads(json.loads(again.geojson)) == read_roads(json.loads(text))


async def test_another_datum_is_converted_or_refused(city: Town, tmp_path: Path) -> None:
    """Failure story 12: roads declared as GCJ-02 are moved, their banned turns with them; an extract is never; undeclared is refused."""
    file = crossroads(tmp_path / "a.osm.pbf")
    await load(city, file)
    _, text = await roads.present(city.ctx)
    moved = roads.read(text, datum=Datum.GCJ02, within=CITY)
    found = read_roads(json.loads(moved.geojson))
    here, there = read_roads(json.loads(text))[0], found[0]
    assert 300 < distance_m(here.line[0], there.line[0]) < 700
    assert there.bans[0].via in there.line, "a sign stands at a vertex of its road, in whatever datum"
    places = [at(*CROSS[number]) for number in (1, 4)]
    assert graph.travel(found, places).distance_m[0][1] != graph.travel(read_roads(json.loads(text)), places).distance_m[0][1]
    with pytest.raises(InvalidRoads, match="an OSM extract is in WGS-84"):
        await load(city, file, "gcj02")
    with pytest.raises(BadPosition):
        await import_data(city.ctx, text, Format.ROADS, datum=None, advance=lambda *_: None)


async def test_a_stop_in_the_wrong_datum_is_off_the_graph(city: Town, tmp_path: Path) -> None:
    """Failure story 12: what is 500 m and more off every road is unreachable, not driven to across the fields."""
    await load(city, crossroads(tmp_path / "a.osm.pbf"))
    _, text = await roads.present(city.ctx)
    places = [at(*CROSS[1]), at(*CROSS[3]), at(10, 16)]
    found = graph.travel(read_roads(json.loads(text)), places)
    assert (found.duration_s[0][1] is None, found.duration_s[0][2]) == (False, None)


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "neither an OSM extract"),
        (b"<osm version='0.6'/>", r"neither an OSM extract \(\.osm\.pbf\) nor GeoJSON \(XML\)"),
        (b"\x1f\x8b\x08\x00", "packed"),
        (b"PK\x03\x04", "a zip"),
        (b'{"type":"FeatureCollection","features":[', "neither an OSM extract"),
        (b'{"type":"FeatureCollection","features":[]}', "FeatureCollection with features"),
    ],
)
async def test_a_foreign_file_is_refused_whole(city: Town, content: bytes, told: str) -> None:
    """It says what it looks like; nothing is stored."""
    with pytest.raises(InvalidRoads, match=told):
        await import_data(city.ctx, content, Format.ROADS, datum="wgs84", advance=lambda *_: None)
    assert await city.count(road_graph) == 0


async def test_a_truncated_extract_leaves_the_map_as_it_was(city: Town, tmp_path: Path) -> None:
    """The present map stays the present one."""
    whole = crossroads(tmp_path / "a.osm.pbf")
    await load(city, whole)
    before = await roads.present_version(city.ctx)
    whole.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(InvalidRoads, match="it was cut off"):
        await load(city, whole)
    assert (await roads.present_version(city.ctx), await city.count(road_graph)) == (before, 1)


async def test_the_command_knows_an_extract_by_its_content(tmp_path: Path) -> None:
    """Whatever its name, without a datum; what is neither ends with a sentence, not with a trace."""
    file = crossroads(tmp_path / "a.osm.pbf").rename(tmp_path / "town.geojson")
    env = {"CITYLOOP_VAR": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([CITYLOOP, "waste", *arguments], capture_output=True, text=True, env=env, cwd=tmp_path, check=False)

    assert (await asyncio.to_thread(run, "migrate")).returncode == 0
    done = await asyncio.to_thread(run, "import", str(file), "--format", "roads", "--json")
    assert json.loads(done.stdout) == {"read": 4, "accepted": 4, "unchanged": 0, "rejected": []}
    file.write_bytes(file.read_bytes()[:-10])
    refused = await asyncio.to_thread(run, "import", str(file), "--format", "roads")
    assert (refused.returncode != 0, "it was cut off" in refused.stderr, "Traceback" in refused.stderr) == (True, True, False)
