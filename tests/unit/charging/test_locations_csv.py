"""Stations as CSV: the real file, and every way to be another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityloop_charging.operators.domain import NOBODY
from cityloop_charging.registry import locations_csv
from cityloop_charging.registry.domain import (
    Accepted,
    Access,
    Current,
    FileElsewhere,
    FileTooLarge,
    LocationFacts,
    Rejected,
    UnreadableFile,
    Verdict,
)
from cityloop_charging.registry.locations_csv import SHENZHEN, STEVCDP
from cityloop_common.geo import Bounds, Datum, Position, distance_m

CITY = Bounds(109.0, 38.9, 110.6, 40.0)
FILE = "shenzhen_stations_stevcdp.csv"
HEADER = ",".join(STEVCDP)
WIDE = f"{HEADER},name,access,bay_count,bay_nos,district"


def read(text: str | bytes, datum: Datum = Datum.WGS84, bounds: Bounds | None = None) -> list[Verdict]:
    data = text if isinstance(text, bytes) else text.encode()
    return locations_csv.read(data, datum=datum, operator_id=NOBODY, city=CITY, bounds=bounds)


def one(row: str, *, header: str = HEADER, beside: str = "ok,39.565,109.787,1,0,1") -> Verdict:
    """The verdict of a row; another one, which is right, makes it a file of the city."""
    filler = beside + "," * (header.count(",") - beside.count(","))
    return read(f"{header}\n{filler}\n{row}\n")[1]


def facts(verdict: Verdict) -> LocationFacts:
    assert isinstance(verdict, Accepted), verdict
    return verdict.facts


@pytest.fixture(scope="module")
def shenzhen(data_dir: Path) -> list[LocationFacts]:
    """The real file, read as GCJ-02."""
    return [facts(each) for each in read((data_dir / "charging" / FILE).read_bytes(), Datum.GCJ02)]


def test_1706_stations_with_22872_points_are_read(shenzhen: list[LocationFacts]) -> None:
    """2,693 fast ones and 20,179 slow ones; a station without any is one too."""
    points = [each for station in shenzhen for each in station.evses]
    assert (len(shenzhen), len(points)) == (1706, 22_872)
    assert sum(each.current is Current.DC and each.power_w == 60_000 for each in points) == 2_693
    assert sum(each.current is Current.AC and each.power_w == 7_000 for each in points) == 20_179
    assert len({each.connector_id for each in points}) == 22_872, "a connector's id is unique among the operator's"
    assert max(len(station.evses) for station in shenzhen) == 508
    assert any(not station.evses for station in shenzhen)


def test_positions_are_converted_from_gcj02(shenzhen: list[LocationFacts], data_dir: Path) -> None:
    """Raw and converted lie 500 to 620 m apart, every one of them within the box of Shenzhen."""
    raw = {
        row.split(",")[0]: Position(float(row.split(",")[2]), float(row.split(",")[1]))
        for row in (data_dir / "charging" / FILE).read_text().splitlines()[1:]
    }
    offsets = [distance_m(raw[each.station_id], each.position) for each in shenzhen]
    assert 500 < min(offsets) < max(offsets) < 620
    assert all(SHENZHEN.contains(each.position) for each in shenzhen)


def test_the_real_file_may_be_given_its_box(shenzhen: list[LocationFacts], data_dir: Path) -> None:
    """Or a box that some of it lies outside of: those rows are rejected with the box."""
    data = (data_dir / "charging" / FILE).read_bytes()
    assert [facts(each) for each in read(data, Datum.GCJ02, SHENZHEN)] == shenzhen
    west = read(data, Datum.GCJ02, Bounds(113.70, 22.40, 114.0, 22.90))
    rejected = [each for each in west if isinstance(each, Rejected)]
    assert 0 < len(rejected) < 1706
    assert all("is not within 113.7..114 E" in each.reason for each in rejected)


def test_a_station_has_a_name_and_evses_by_number() -> None:
    """The layout has none: the name says so in both languages."""
    found = facts(one("7,39.566,109.788,1,2,3"))
    assert (found.id, found.name, found.name_en, found.access) == (f"{NOBODY}*7", "充电站 7", "Station 7", Access.PUBLIC)
    assert [(each.connector_id, each.power_w) for each in found.evses] == [("7DC01", 60_000), ("7AC01", 7_000), ("7AC02", 7_000)]


def test_a_richer_header_is_read() -> None:
    """Name, access, bays; bay numbers go to the points in their order."""
    found = facts(one("7,39.566,109.788,1,2,,母亲公园,Compound,40,A1;A2,d3", header=WIDE))
    assert (found.name, found.name_en, found.access, found.bay_count, found.district) == ("母亲公园", None, Access.COMPOUND, 40, "d3")
    assert [each.bay_no for each in found.evses] == ["A1", "A2", None]


@pytest.mark.parametrize(
    "row, reason",
    [
        ("a,39.566,109.788,1,2,4", "count is 4, but fast and slow are 1 and 2"),
        ("a,39.566,109.788,-1,2,1", "fast is not a whole number"),
        ("a,39.566,109.788,1.5,2,3", "fast is not a whole number"),
        ("a,39.566,109.788,,2,2", "fast and slow are numbers"),
        ("a,39.566,109.788,600,600,1200", "at most 1000 EVSEs"),
        ("a,39.566,109.788,1001,0,1001", "fast is not a whole number from 0 to 1000"),
        ("a,109.788,39.566,1,2,3", "longitude and latitude may be swapped"),
        ("a,22.7,113.8,1,2,3", "is not within 109..110.6 E, 38.9..40 N"),
        ("a,x,109.788,1,2,3", "latitude is not a number"),
        ("a,nan,109.788,1,2,3", "latitude is not a number"),
        ("a,,109.788,1,2,3", "latitude is not a number"),
        ("a,39.566,109.788,1,2", "another number of fields"),
        ("a,39.566,109.788,1,2,3,4", "another number of fields"),
        (",39.566,109.788,1,2,3", "a station's id is"),
        ("a*b,39.566,109.788,1,2,3", "a station's id is"),
        ("a" * 21 + ",39.566,109.788,1,2,3", "a station's id is"),
        ("ok,39.566,109.788,1,2,3", "row 1 has the same station_id"),
    ],
)
def test_a_row_that_cannot_be_true_is_rejected_with_the_reason(row: str, reason: str) -> None:
    """One verdict a row, no exception."""
    verdict = one(row)
    assert isinstance(verdict, Rejected)
    assert reason in verdict.reason
    assert verdict.row == 2


@pytest.mark.parametrize(
    "row, reason",
    [
        ("a,39.566,109.788,1,0,1,n,everybody,,,", "access is one of public, compound, private"),
        ("a,39.566,109.788,1,0,1,n,public,,1;2,", "more bays than there are charging points"),
        ("a,39.566,109.788,1,0,1,n,public,,12345678901,", "a bay number has 1 to 10"),
        ("a,39.566,109.788,1,0,1,n,public,-3,,", "bay_count is not a whole number"),
        (f"a,39.566,109.788,1,0,1,{'n' * 201},public,,,", "more than 200"),
        ("a,39.566,109.788,1,0,1,n\x00,public,,,", "NUL"),
    ],
)
def test_a_richer_row_that_cannot_be_true_says_why(row: str, reason: str) -> None:
    """As the plain ones."""
    verdict = one(row, header=WIDE)
    assert isinstance(verdict, Rejected)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "rows, datum, hint",
    [
        (["1,109.787,39.565,1,0,1", "2,109.788,39.566,1,0,1"], Datum.WGS84, "longitude and latitude may be swapped"),
        (["1,2769892.95,306812.928,1,0,1"], Datum.WGS84, "is not within 109..110.6 E, 38.9..40 N"),
        (["1,39.565,109.787,1,0,1"], Datum.TWD97, "it would be inside as wgs84 or gcj02 or bd09"),
        (["1,39.565,121.5,1,0,1", "2,25.03,121.5,1,0,1"], Datum.WGS84, "--bounds W,S,E,N"),
    ],
)
def test_a_file_of_another_place_is_refused_as_a_whole(rows: list[str], datum: Datum, hint: str) -> None:
    """With the box, the first row's numbers, and what would fit."""
    with pytest.raises(FileElsewhere) as refused:
        read("\n".join([HEADER, *rows]), datum)
    assert hint in refused.value.detail
    assert f"None of its {len(rows)} rows" in refused.value.detail


def test_only_stevcdps_own_layout_may_be_of_its_city() -> None:
    """With another header, or with one row in our city, a station in Shenzhen is elsewhere."""
    row = "1,22.716,113.826,1,0,1"
    assert isinstance(read(f"{HEADER}\n{row}\n")[0], Accepted)
    with pytest.raises(FileElsewhere):
        read(f"{HEADER},name\n{row},n\n")
    assert isinstance(read(f"{HEADER}\n{row}\n2,39.565,109.787,1,0,1\n")[0], Rejected)


def test_a_file_whose_rows_have_other_faults_is_no_file_of_another_place() -> None:
    """Every row has its own verdict then."""
    verdicts = read(f"{HEADER}\n1,x,109.787,1,0,1\n2,22.7,113.8,1,0,9\n3,25.0,121.5,1,0,1\n")
    assert [isinstance(each, Rejected) for each in verdicts] == [True] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b"PK\x03\x04",
        b"a,b,c\n1,2,3\n",
        b"station_id,latitude,longitude\n1,2,3\n",
        b"station_id,latitude,longitude,fast,slow,colour\n",
        b"station_id,latitude,longitude,fast,slow,fast\n",
        b'station_id,latitude,longitude,fast,slow\n"1,2\n',
        b"station_id,latitude,longitude,fast,slow\n" + b"1" * 200_000 + b",1,1,1,1\n",
    ],
)
def test_another_file_is_refused(data: bytes) -> None:
    """Not UTF-8, not CSV, or CSV of somebody else."""
    with pytest.raises(UnreadableFile):
        read(data)


def test_an_empty_file_with_a_header_has_no_rows() -> None:
    """Also with a mark of byte order and blank lines."""
    assert read(f"\ufeff{HEADER}\r\n\r\n") == []


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, rows and charging points have limits."""
    row = "1,39.565,109.787,1,0,1\n"
    monkeypatch.setattr(locations_csv, "MOST_ROWS", 1)
    with pytest.raises(FileTooLarge):
        read(f"{HEADER}\n{row}{row}")
    monkeypatch.setattr(locations_csv, "MOST_ROWS", 50_000)
    monkeypatch.setattr(locations_csv, "MOST_POINTS", 3)
    assert len(read(f"{HEADER}\n1,39.565,109.787,1,2,3\n")) == 1
    with pytest.raises(FileTooLarge, match="3 charging points"):
        read(f"{HEADER}\n1,39.565,109.787,1,2,3\n2,39.565,109.787,1,0,1\n")
    monkeypatch.setattr(locations_csv, "MOST_BYTES", 10)
    with pytest.raises(FileTooLarge):
        read(f"{HEADER}\n")


def test_a_content_hash_is_of_the_content() -> None:
    """Equal for equal rows, other for any change."""
    base = facts(one("7,39.566,109.788,1,2,3"))
    assert base.content_hash() == facts(one("7,39.566,109.788,1,2,3")).content_hash()
    others = ["7,39.567,109.788,1,2,3", "7,39.566,109.788,2,1,3", "7,39.566,109.788,1,1,2", "8,39.566,109.788,1,2,3"]
    assert len({base.content_hash(), *(facts(one(row)).content_hash() for row in others)}) == 5
