"""Files that a forecast is judged on: a verdict a row, and the file's own order and clock."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cityloop_parking.availability import files
from cityloop_parking.availability.files import LAYOUTS, Format, Refused, Table
from cityloop_parking.places.domain import FileTooLarge, UnreadableFile
from tests.unit.parking.availability_files import HEADER, broken, csv_bytes, town

AT = "2026-03-02T08:00:00+08:00"


def read(raw: bytes, format: Format = Format.CSV) -> Table:
    return files.read(io.BytesIO(raw), LAYOUTS[format])


def test_the_real_file_is_read_whole(data_dir: Path) -> None:
    """35,717 rows of 30 car parks; the 12 below zero become empty and the 373 above capacity full, none is dropped."""
    with (data_dir / "parking" / "birmingham_occupancy_2016.csv").open("rb") as raw:
        table = files.read(raw, LAYOUTS[Format.BIRMINGHAM])
    assert (table.rows, len(table.place), len(table.places), table.refused) == (35_717, 35_717, 30, 0)
    assert (int((table.occupied < 0).sum()), int((table.occupied > table.capacity).sum())) == (12, 373)
    assert set(table.rate[table.occupied < 0]) == {0.0}
    assert set(table.rate[table.occupied > table.capacity]) == {1.0}
    assert (np.diff(table.at) >= 0).all()


@pytest.mark.parametrize(
    "row, reason",
    [
        (f"P,100,,{AT}", "occupied is empty"),
        (f"P,,5,{AT}", "capacity is empty"),
        (f"P,100,NaN,{AT}", "occupied is no number"),
        (f"P,100,-inf,{AT}", "occupied is no number"),
        (f"P,many,5,{AT}", "capacity is no number"),
        (f"P,0,5,{AT}", "capacity is not above zero"),
        (f"P,-4,5,{AT}", "capacity is not above zero"),
        (f"P,100,2147483647,{AT}", "occupied is larger than any car park"),
        (f"P,100,-2147483648,{AT}", "occupied is larger than any car park"),
        (f"P,1e300,5,{AT}", "capacity is larger than any car park"),
        (f" ,100,5,{AT}", "no place is named"),
        (f"{'P' * 201},100,5,{AT}", "no place is named"),
        (f"P\0,100,5,{AT}", "no place is named"),
        ("P,100,5,", "the stamp cannot be read"),
        ("P,100,5,2026-02-30T08:00:00Z", "the stamp cannot be read"),
        ("P,100,5,2026-03-02T08:00:00", "the stamp has no offset from UTC"),
        ("P,100,5,1970-01-01T00:00:05Z", "the stamp lies outside the years 2000 to 2099"),
        ("P,100", "the row is no row of this table"),
        (f'"P,100,5,{AT}', "the row is no row of this table"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_number_and_reason(row: str, reason: str) -> None:
    """The rows around it are used, also the one after a quotation mark that never closes."""
    table = read(csv_bytes([f"P,100,5,{AT}", row, f"P,100,6,{AT}"]))
    assert (table.rows, table.refused, table.listed) == (3, 1, (Refused(2, reason),))
    assert table.occupied.tolist() == [5, 6]


def test_what_can_be_read_is_not_corrected() -> None:
    """Below zero, above the capacity, fractions, another capacity than before: it is for the rate, and for the model, to cope."""
    table = read(csv_bytes([f"P,100,-3,{AT}", f"P,100,130,{AT}", f"P,50.0,12.5,{AT}", f"P,10,99,{AT}"]))
    assert table.refused == 0
    assert table.occupied.tolist() == [-3, 130, 12.5, 99]
    assert table.rate.tolist() == [0, 1, 0.25, 1]


def test_only_the_first_twenty_are_listed_and_all_are_counted() -> None:
    """By reason, the most frequent first."""
    table = read(csv_bytes([f"P,0,1,{AT}"] * 5 + [f"P,9,,{AT}"] * 30 + [f"P,9,1,{AT}"]))
    assert (table.rows, table.refused, len(table.listed), table.listed[-1].row) == (36, 35, 20, 20)
    assert list(table.reasons.items()) == [("occupied is empty", 30), ("capacity is not above zero", 5)]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\n\n"),
        lambda raw: raw.replace(b"place,capacity,occupied,at", b' Place ,"CAPACITY",occupied,at,note'),
        lambda raw: raw.rstrip(b"\n"),
    ],
    ids=["bom", "crlf", "blank lines", "headline in other letters", "no last line end"],
)
def test_a_file_may_be_written_in_other_ways(change: Callable[[bytes], bytes]) -> None:
    """The same readings come out."""
    raw = csv_bytes([f"P,100,5,{AT}", f'"Q, north",100,7,{AT}'])
    table, same = read(raw), read(change(raw))
    assert same.places == table.places == ("P", "Q, north")
    assert (same.occupied.tolist(), same.at.tolist(), same.refused) == (table.occupied.tolist(), table.at.tolist(), 0)


def test_columns_may_stand_in_another_order() -> None:
    """Their names count."""
    table = read(f"at,note,occupied,place,capacity\n{AT},x,5,P,100\n".encode())
    assert (table.places, table.occupied.tolist(), table.capacity.tolist()) == (("P",), [5], [100])


def test_the_order_is_that_of_instants_and_the_clock_that_of_the_wall() -> None:
    """An hour that a clock goes back does not mix: 02:50 before the change lies before 02:10 after it."""
    late, early = "P,9,2,2026-10-25T02:10:00+01:00", "P,9,1,2026-10-25T02:50:00+02:00"
    table = read(csv_bytes([late, early]))
    assert table.occupied.tolist() == [1, 2]
    assert (table.at % 86_400).tolist() == [2 * 3600 + 50 * 60, 2 * 3600 + 10 * 60]


def test_rows_of_one_instant_keep_the_order_of_the_file() -> None:
    """Of a row that comes twice with another count, the later one is the later one."""
    table = read(csv_bytes([f"P,9,{count},{AT}" for count in (3, 1, 2)]))
    assert table.occupied.tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    "raw, word",
    [
        (b"", "missing: place, capacity, occupied, at"),
        (b"place,capacity,at\nP,1,x\n", "missing: occupied"),
        (HEADER.encode() + b"\n", "None of its 0 rows"),
        (csv_bytes(["P,1,,2026-03-02T08:00:00Z"]), "occupied is empty"),
        (b"\xff\xfep\x00l\x00", "not UTF-8"),
        (csv_bytes([f"P,9,1,{AT}"]) + b"\xe9t\xe9,9,1," + AT.encode(), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(raw: bytes, word: str) -> None:
    """And not with a traceback."""
    with pytest.raises(UnreadableFile, match=word):
        read(raw)


def test_a_file_beyond_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, and places: what would not fit in memory is told before it is tried."""
    monkeypatch.setattr(files, "MOST_PLACES", 2)
    with pytest.raises(FileTooLarge, match="2 places"):
        read(csv_bytes([f"P{number},9,1,{AT}" for number in range(3)]))
    monkeypatch.setattr(files, "MOST_ROWS", 2)
    with pytest.raises(FileTooLarge, match="2 rows"):
        read(csv_bytes([f"P,9,1,{AT}"] * 3))


def test_a_town_with_broken_sensors_is_read_but_for_its_unreadable_rows() -> None:
    """Each of them is counted; unsorted rows come in the order of time."""
    rows, bad = broken(town(places=3, days=2))
    table = read(csv_bytes(rows))
    assert bad > 3
    assert (table.rows, table.refused, len(table.at)) == (len(rows), bad, len(rows) - bad)
    assert (np.diff(table.at) >= 0).all()
