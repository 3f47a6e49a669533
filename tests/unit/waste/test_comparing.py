"""Two plans beside each other: who serves what, how much farther, how alike."""

from __future__ import annotations

from typing import Any

import pytest

from cityloop_waste.planning.comparing import Moved, Told, compare, outdated


def result(metres: int, **ways: str) -> dict[str, Any]:
    """A plan whose trucks serve the stops of a text, in its order, with an unload in the middle."""
    routes = []
    for truck, stops in ways.items():
        visits = [{"kind": "stop", "id": stop} for stop in stops]
        routes.append({"truck": truck, "visits": [*visits[:1], {"kind": "unload", "id": "S"}, *visits[1:]]})
    return {"routes": routes, "unserved": [], "cost": {"distance_m": metres, "duration_s": metres // 10}}


def test_a_plan_beside_itself_is_the_same() -> None:
    """Nothing moved, nothing longer, every pair kept: an unload between two stops parts them not."""
    one = result(1000, T1="abc", T2="de")
    found = compare(one, one)
    assert (found.moved, found.distance_m, found.duration_s, found.alike, found.pairs) == ((), 0, 0, 3, 3)


def test_what_moved_is_told_from_whom_to_whom() -> None:
    """Also what nobody serves any more, and what is new; signs are of the later plan."""
    found = compare(result(1000, T1="abc", T2="de"), result(900, T1="a", T2="dexc"))
    assert found.moved == (Moved("b", "T1", None), Moved("c", "T1", "T2"), Moved("x", None, "T2"))
    assert (found.distance_m, found.duration_s) == (-100, -10)


def test_an_order_that_another_truck_keeps_is_alike() -> None:
    """Of three pairs two are kept, whoever drives them; turned round a pair is another one."""
    found = compare(result(1000, T1="abc", T2="de"), result(1000, T3="abc", T2="ed"))
    assert (found.alike, found.pairs) == (2, 3)


def driven(**ways: str) -> dict[str, Any]:
    """Trucks that leave at 0 and the places of a text at 100, 200 and so on; a place in capitals is a site, "." is home."""
    kinds = {True: "unload", False: "stop"}
    routes = []
    for truck, places in ways.items():
        inner: list[dict[str, Any]] = [{"kind": "depot-end" if each == "." else kinds[each.isupper()], "id": each} for each in places]
        visits = [{"kind": "depot-start", "id": None}, *inner]
        routes.append({"truck": truck, "visits": [{**visit, "departure_s": 100 * number} for number, visit in enumerate(visits)]})
    return {"routes": routes}


@pytest.mark.parametrize(
    "now_s, new, late",
    [
        (99, {"T1": "abxcS.", "T2": "deS."}, []),
        (199, {"T1": "abxcS.", "T2": "deS."}, []),  # it drives to b, which stays
        (200, {"T1": "abxcS.", "T2": "deS."}, ["T1"]),  # it drives to c, and the new plan sends it to x first
        (99, {"T1": "abcS.", "T2": "edS."}, ["T2"]),
        (-1, {"T1": "", "T2": "edS."}, []),  # nobody has left
        (150, {"T1": "abS."}, ["T2"]),  # what it serves is nobody's
        (250, {"T1": "abScS.", "T2": "deS."}, ["T1"]),  # an unload is a place like others
        (599, {"T1": "abcS.fS.", "T2": "deS."}, []),  # home, and sent out again
        (600, {"T1": "abcS.fS.", "T2": "deS."}, ["T1"]),  # it should have served f by now, and nobody has told it
        (99, {"T1": "abcS.", "T2": "deS.", "T3": "g."}, []),
        (100, {"T1": "abcS.", "T2": "deS.", "T3": "g."}, ["T3"]),  # it stands at the depot, and was never told
    ],
)
def test_a_plan_is_late_for_trucks_that_do_something_else_by_now(now_s: int, new: dict[str, str], late: list[str]) -> None:
    """What a truck has served, and the place that it drives to, have to be the new plan's too; what that one has done is done."""
    assert outdated(driven(T1="abcS.", T2="deS."), driven(**new), Told(at_s=0), now_s) == late


def test_trucks_that_stand_are_late_when_they_should_go_on() -> None:
    """A broken one, or one that was seen elsewhere, waits where it was when that was told."""
    before, stand = driven(T1="abcS.", T2="deS."), driven(T1="ab", T2="dxe.")
    assert outdated(before, stand, Told(at_s=150), 200) == ["T1", "T2"]
    told = Told(at_s=150, standing=frozenset({"T1", "T2"}))
    assert [outdated(before, stand, told, now_s) for now_s in (199, 200, 10_000)] == [[], ["T2"], ["T2"]]


def test_a_stop_with_another_load_is_late_once_it_is_driven_to() -> None:
    """What was urgent there stays behind, though the order is the same."""
    before, told = driven(T1="abcS.", T2="deS."), Told(at_s=0, urgent=frozenset({"c"}))
    assert [outdated(before, before, told, now_s) for now_s in (199, 200)] == [[], ["T1"]]
