"""Roads as the planner meets them."""

from __future__ import annotations

from dataclasses import replace

from cityloop_waste.roads import graph
from tests.unit.waste.streets import at, road
from tests.unit.waste.towns import planned, problem, site, stop


def test_a_street_that_only_leads_in_is_unreachable_as_a_stop() -> None:
    """Nobody comes back from it: the planner lists it with its reason and plans the rest."""
    roads = [road((0, 0), (10, 0)), road((10, 0), (10, 5), oneway=True)]
    asked = problem([stop("in", (0, 0)), stop("P1", (0, 0))], sites=[site("S1", (0, 0))])
    stops = (replace(asked.stops[0], position=at(10, 5)), replace(asked.stops[1], position=at(5, 0)))
    asked = replace(asked, depot=at(0, 0), stops=stops, sites=(replace(asked.sites[0], position=at(8, 0)),))
    plan, _ = planned(asked, graph.travel(roads, asked.positions()))
    assert [(each.stop, each.reason.value) for each in plan.unserved] == [("in", "unreachable")]
    assert len(plan.routes) == 1
