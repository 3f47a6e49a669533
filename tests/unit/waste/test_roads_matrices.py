"""Kept matrices: never another one than would be counted, never more than their bound, never in the way."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cityloop_common.geo import Position
from cityloop_waste.roads import graph, matrices
from cityloop_waste.roads.domain import Ban, Road, Side, Travel
from cityloop_waste.roads.network import Network, network
from cityloop_waste.roads.turns import Turns
from tests.unit.waste.streets import at, road

ROADS = [road((0, 0), (10, 0), id="a"), road((10, 0), (10, 10), id="b"), road((10, 0), (20, 0), max_mass_kg=8000, id="c")]
PLACES = [at(0, 0), at(5, 0.1), at(10, 5), at(19, 0.2), at(90, 90)]


def on(roads: list[Road] = ROADS, places: list[Position] = PLACES, **more: Any) -> Network:
    """A network."""
    made = network(roads, places, **more)
    assert made is not None
    return made


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each matrix that was counted."""
    times: list[int] = []
    count: Callable[..., Travel] = graph.travel_on

    def counting(joined: Network | None, places: list[Position]) -> Travel:
        times.append(len(places))
        return count(joined, places)

    monkeypatch.setattr(graph, "travel_on", counting)
    return times


def test_the_same_network_is_counted_once(tmp_path: Path, counted: list[int]) -> None:
    """The second answer is the first one, to the cell; also the one in which nothing is reached."""
    first, second = (matrices.travel_on(on(), PLACES, tmp_path / "kept") for _ in range(2))
    assert (first, len(counted)) == (second, 1)
    assert first == graph.travel(ROADS, PLACES)
    assert first.duration_s[0][4] is None


def test_the_same_matrix_is_the_same_bytes(tmp_path: Path) -> None:
    """Two processes that count it at once write the same file."""
    for folder in ("one", "two"):
        matrices.travel_on(on(), PLACES, tmp_path / folder)
    files = [sorted((tmp_path / folder).iterdir()) for folder in ("one", "two")]
    assert [each.name for each in files[0]] == [each.name for each in files[1]]
    assert files[0][0].read_bytes() == files[1][0].read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        lambda: on([*ROADS, road((0, 0), (0, 9))]),
        lambda: on([road((0, 0), (10, 0), speed_kmh=35, id="a"), *ROADS[1:]]),
        lambda: on([road((0, 0), (10, 0), oneway=True, id="a"), *ROADS[1:]]),
        lambda: on([road((0, 0), (10, 0), id="a", bans=[Ban(at(10, 0), "b")]), *ROADS[1:]]),
        lambda: on(gross_mass_kg=9000),
        lambda: on(closed=["b"]),
        lambda: on(sides=[Side.KERB] * 5),
        lambda: on(turns=Turns(left_s=9)),
        lambda: on(places=[at(0, 0), at(5, 0.2), *PLACES[2:]]),
        lambda: on(places=[PLACES[1], PLACES[0], *PLACES[2:]]),
    ],
)
def test_what_changes_a_figure_is_counted_anew(tmp_path: Path, counted: list[int], other: Callable[[], Network]) -> None:
    """Another version of the roads, class, closure, side, turn or place; the first one stays."""
    matrices.travel_on(on(), PLACES, tmp_path)
    changed = other()
    found = matrices.travel_on(changed, changed.places, tmp_path)
    assert len(counted) == 2
    assert found == graph.travel_on(changed, changed.places)
    matrices.travel_on(on(), PLACES, tmp_path)
    assert len(counted) == 3, "two and the one of the line before last"


def test_other_rules_are_other_entries(tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that counts otherwise does not read what this one wrote."""
    matrices.travel_on(on(), PLACES, tmp_path)
    monkeypatch.setattr(matrices, "RULES", matrices.RULES + 1)
    matrices.travel_on(on(), PLACES, tmp_path)
    assert len(counted) == 2


def test_a_damaged_entry_is_counted_anew(tmp_path: Path, counted: list[int]) -> None:
    """Cut off at any length, changed at any byte, empty, of other places: never another figure, and whole again afterwards."""
    right = matrices.travel_on(on(), PLACES, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:number] + bytes([whole[number] ^ 1]) + whole[number + 1 :] for number in range(len(whole))]
    damaged.append(matrices.packed(Travel(((0,),), ((0,),), right.source)))
    for data in damaged:
        file.write_bytes(data)
        assert matrices.travel_on(on(), PLACES, tmp_path) == right
        assert file.read_bytes() == whole
    assert len(counted) == 1 + len(damaged)


def test_entries_stay_within_their_bound(tmp_path: Path, counted: list[int]) -> None:
    """The least used go first, and what a killed process left; one that is larger than all is not kept."""
    matrices.travel_on(on(), PLACES, tmp_path)
    (first,) = tmp_path.iterdir()
    size = first.stat().st_size
    (tmp_path / "dead.part").write_bytes(b"x" * size)
    os.utime(tmp_path / "dead.part", ns=(1, 1))
    for number in range(6):
        for age, each in enumerate(sorted(tmp_path.glob("*.travel"), key=lambda file: file.stat().st_mtime_ns)):
            os.utime(each, ns=(10 + age, 10 + age))  # clocks of file systems are coarse: the order is what counts
        matrices.travel_on(on(), PLACES, tmp_path, most_bytes=4 * size)
        places = [at(number, 0), *PLACES[1:]]
        matrices.travel_on(on(places=places), places, tmp_path, most_bytes=4 * size)
    assert first.exists(), "it was asked for each time"
    assert not (tmp_path / "dead.part").exists()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 4 * size
    assert len(counted) == 1 + 5, "the first of the six is the one that was there"
    matrices.travel_on(on(gross_mass_kg=9000), PLACES, tmp_path, most_bytes=10)
    assert len(list(tmp_path.iterdir())) >= 2


def test_a_folder_that_is_none_is_no_fault(tmp_path: Path, counted: list[int]) -> None:
    """No folder, a file in its place, no roads at all: counted each time."""
    (tmp_path / "file").write_text("mine")
    for folder in (None, tmp_path / "file", tmp_path / "file" / "deeper"):
        assert matrices.travel_on(on(), PLACES, folder) == graph.travel(ROADS, PLACES)
    assert matrices.travel_on(None, PLACES, tmp_path).duration_s[0][1] is None
    assert (tmp_path / "file").read_text() == "mine"
    assert len(counted) == 7


def test_a_large_matrix_is_read_as_it_was_written(tmp_path: Path) -> None:
    """300 places, unreachable ones among them, in the bytes that the bound is made for."""
    chance = random.Random(1)
    places = [at(chance.uniform(0, 25), chance.uniform(-6, 10)) for _ in range(300)]
    joined = on(places=places)
    assert matrices.travel_on(joined, places, tmp_path) == matrices.travel_on(joined, places, tmp_path) == graph.travel_on(joined, places)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 300 * 300 * 8
