"""Roads as the planner meets them."""

from __future__ import annotations

from dataclasses import replace

from cityloop_common import invented
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Side, read_roads
from cityloop_waste.roads.network import network
from tests.unit.waste.streets import at, road
from tests.unit.waste.towns import planned, problem, site, stop, truck


def test_a_street_that_only_leads_in_is_unreachable_as_a_stop() -> None:
    """Nobody comes back from it: the planner lists it with its reason and plans the rest."""
    roads = [road((0, 0), (10, 0)), road((10, 0), (10, 5), oneway=True)]
    asked = problem([stop("in", (0, 0)), stop("P1", (0, 0))], sites=[site("S1", (0, 0))])
    stops = (replace(asked.stops[0], position=at(10, 5)), replace(asked.stops[1], position=at(5, 0)))
    asked = replace(asked, depot=at(0, 0), stops=stops, sites=(replace(asked.sites[0], position=at(8, 0)),))
    plan, _ = planned(asked, graph.travel(roads, asked.positions()))
    assert [(each.stop, each.reason.value) for each in plan.unserved] == [("in", "unreachable")]
    assert len(plan.routes) == 1


def test_the_sample_city_is_planned_at_the_kerb() -> None:
    """Sixty of its points, turns and kerb sides counted: every one is served, and the plan is longer than from both sides."""
    spots = invented.collection_points()[:60]
    asked = problem([stop(f"P{spot.number}", (0, 0), 50) for spot in spots], [truck("T1", 4000)], [site("S1", (0, 0))])
    stops = tuple(replace(each, position=spot.position) for each, spot in zip(asked.stops, spots, strict=True))
    sites = (replace(asked.sites[0], position=invented.sites()[0].position),)
    asked = replace(asked, depot=invented.depot().position, stops=stops, sites=sites)
    roads, places = read_roads(invented.base_map()), asked.positions()
    kerb = [Side.KERB if 0 < row <= len(stops) else Side.ANY for row in range(len(places))]
    plans = [planned(asked, graph.travel_on(network(roads, places, sides=sides), places))[0] for sides in (None, kerb)]
    assert [len(each.unserved) for each in plans] == [0, 0]
    assert plans[0].duration_s < plans[1].duration_s < 1.5 * plans[0].duration_s
