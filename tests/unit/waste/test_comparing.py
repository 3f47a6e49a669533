"""Two plans beside each other: who serves what, how much farther, how alike."""

from __future__ import annotations

from typing import Any

from cityloop_waste.planning.comparing import Moved, compare


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
