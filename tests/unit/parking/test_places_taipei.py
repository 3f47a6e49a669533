"""Taipei's file: every trap of it, and every way to be another file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from cityloop_common.geo import Datum, distance_m
from cityloop_parking.places import taipei
from cityloop_parking.places.domain import (
    Accepted,
    Category,
    DatumContradicts,
    FileTooLarge,
    PlaceFacts,
    PositionFrom,
    Rejected,
    UnreadableFile,
    Verdict,
)


@pytest.fixture(scope="module")
def verdicts(data_dir: Path) -> list[Verdict]:
    """The real file, read."""
    return taipei.read((data_dir / "parking" / "taipei_carparks_20230128.json").read_bytes())


def accepted(verdicts: list[Verdict]) -> dict[str, PlaceFacts]:
    return {each.facts.source_id: each.facts for each in verdicts if isinstance(each, Accepted)}


def one(**changes: Any) -> Verdict:
    """The verdict of a row that is right but for `changes`."""
    row = {"id": "x1", "name": "停車場", "tw97x": "306812.928", "tw97y": 2769892.95, "totalcar": "7", "totalmotor": 0, **changes}
    return taipei.read(orjson.dumps({"data": {"park": [row]}}))[0]


def facts(verdict: Verdict) -> PlaceFacts:
    assert isinstance(verdict, Accepted), verdict
    return verdict.facts


def test_1892_of_1894_can_be_imported_and_the_others_say_why(verdicts: list[Verdict]) -> None:
    """Two have no usable point at all."""
    rejected = [each for each in verdicts if isinstance(each, Rejected)]
    assert len(verdicts) == 1894
    assert [(each.row, each.id) for each in rejected] == [(755, "353"), (1547, "F00124")]
    assert all("twd97 is not within" in each.reason for each in rejected)


def test_car_parks_without_car_spaces_are_kept(verdicts: list[Verdict]) -> None:
    """53 of them, for motorcycles or not."""
    none = [each for each in accepted(verdicts).values() if each.pools[0].capacity == 0]
    assert len(none) == 53
    assert all(each.pools[0].category is Category.STANDARD for each in none)


def test_numbers_come_as_texts_integers_and_blanks(verdicts: list[Verdict]) -> None:
    """189,606 spaces in the file, 147 of them in the two that cannot be placed."""
    found = accepted(verdicts)
    assert sum(each.pools[0].capacity for each in found.values()) == 189_459
    assert found["407"].charging_stations is None
    assert found["002"].charging_stations == 4
    assert all(pool.category is not Category.EV for each in found.values() for pool in each.pools)


def test_positions_rest_on_the_entrance_only_where_it_is_right(verdicts: list[Verdict]) -> None:
    """116 entrances agree with the survey, 26 do not or are zero, one stands alone."""
    found = accepted(verdicts)
    kinds = Counter(each.position_from for each in found.values())
    assert kinds == {PositionFrom.SURVEY: 1775, PositionFrom.ENTRANCE: 116, PositionFrom.ENTRANCE_ALONE: 1}
    assert found["141"].position_from is PositionFrom.ENTRANCE_ALONE
    assert found["006"].position_from is PositionFrom.SURVEY  # its entrance is 12 km away
    assert found["002"].position == (121.565523, 25.036966)


def test_every_position_is_in_taipei(verdicts: list[Verdict]) -> None:
    """And none is half a city from where TWD97 puts it."""
    for each in accepted(verdicts).values():
        assert taipei.BOUNDS.contains(each.position)


def test_tariffs_are_kept(verdicts: list[Verdict]) -> None:
    """101 with a table, nearly all with a text."""
    found = accepted(verdicts).values()
    assert sum(each.fares is not None for each in found) == 101
    assert sum(each.tariff_text is not None for each in found) > 1800


def test_a_content_hash_is_of_the_content(verdicts: list[Verdict]) -> None:
    """Equal for equal rows, other for any change."""
    base = facts(one())
    assert base.content_hash() == facts(one()).content_hash()
    assert base.content_hash() != facts(one(totalcar=8)).content_hash()
    assert len({each.content_hash() for each in accepted(verdicts).values()}) == 1892


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"totalcar": -1}, "totalcar is negative"),
        ({"totalcar": 2147483647}, "not a number of standard spaces"),
        ({"totalcar": "many"}, "totalcar is not a whole number"),
        ({"totalcar": 1.5}, "totalcar is not a whole number"),
        ({"totalmotor": True}, "totalmotor is not a whole number"),
        ({"tw97x": None}, "tw97x is not a number"),
        ({"tw97x": "nan"}, "tw97x is not a number"),
        ({"tw97x": 121.5, "tw97y": 25.0}, "inside as wgs84"),
        ({"id": ""}, "an id has"),
        ({"id": "../etc"}, "an id has"),
        ({"name": " "}, "it has no name"),
        ({"name": "x" * 201}, "more than 200"),
        ({"name": {"zh": 1}}, "name is not a text"),
        ({"payex": "a\x00b"}, "NUL"),
    ],
)
def test_a_row_that_cannot_be_true_is_rejected_with_the_reason(changes: dict[str, object], reason: str) -> None:
    """One verdict a row, no exception."""
    verdict = one(**changes)
    assert isinstance(verdict, Rejected)
    assert reason in verdict.reason


def test_a_second_row_with_the_same_id_is_rejected() -> None:
    """The first one counts."""
    row = {"id": "a", "name": "n", "tw97x": 306812.9, "tw97y": 2769892.9, "totalcar": 1}
    verdicts = taipei.read(orjson.dumps({"data": {"park": [row, 3, row]}}))
    assert [type(each) for each in verdicts] == [Accepted, Rejected, Rejected]
    assert verdicts[2] == Rejected(3, "a", "row 1 has the same id")


def test_xcod_is_the_latitude() -> None:
    """As the file has it."""
    entrance = {"EntrancecoordInfo": [{"Xcod": "25.03648987", "Ycod": "121.5621068", "Address": ""}]}
    found = facts(one(EntranceCoord=entrance))
    assert found.position == (121.5621068, 25.03648987)
    assert distance_m(found.position, facts(one()).position) < 150


@pytest.mark.parametrize(
    "file", [b"", b"PK\x03\x04", b"\xff\xfe", b"[]", b"{}", b'{"data": []}', b'{"data": {"park": {}}}', b'{"data": {"park": [{"a": 1}]}}']
)
def test_another_file_is_refused(file: bytes) -> None:
    """Not JSON, or JSON of somebody else."""
    with pytest.raises(UnreadableFile):
        taipei.read(file)


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and rows have limits."""
    monkeypatch.setattr(taipei, "MOST_ROWS", 1)
    with pytest.raises(FileTooLarge):
        taipei.read(b'{"data": {"park": [{}, {}]}}')
    monkeypatch.setattr(taipei, "MOST_BYTES", 10)
    with pytest.raises(FileTooLarge):
        taipei.read(b'{"data": {"park": []}}')


def test_another_datum_contradicts_the_file() -> None:
    """Its points are TWD97 by definition."""
    with pytest.raises(DatumContradicts):
        taipei.read(b'{"data": {"park": []}}', datum=Datum.GCJ02)
