"""Towns that hypothesis makes up: a few streets of stops, and any choice of the rules that a day can have."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from cityloop_waste.planning.domain import Caps, Lunch, Minimise, Options, Problem, Round, Site, Stop, Truck, Underway, Window
from cityloop_waste.roads.domain import Travel
from tests.unit.waste.towns import SIX, place, problem, site, stop, travel, truck

HOUR = 3600
RULES = (
    "bulk",
    "windows",
    "named trucks",
    "prizes",
    "containers",
    "caps",
    "lunch",
    "opening",
    "totals",
    "overtime",
    "under way",
    "closed roads",
    "time",
    "yesterday",
    "streams",
    "short shifts",
    "even hours",
)
SPOTS = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda at: (100 * at[0], 100 * at[1]))
NAMED = ["T1", "T2", "T3"]


def _window(least_s: int = HOUR // 2) -> st.SearchStrategy[Window]:
    """Part of the day from five to three, in quarters of an hour."""
    starts, lasts = st.integers(20, 52).map(lambda quarter: 900 * quarter), st.integers(least_s, 6 * HOUR)
    return st.builds(lambda start_s, for_s: Window(start_s, start_s + for_s), starts, lasts)


def _or(rule: bool, drawn: st.SearchStrategy[int], otherwise: int = 0) -> st.SearchStrategy[int]:
    return drawn if rule else st.just(otherwise)


@st.composite
def _stops(draw: st.DrawFn, on: frozenset[str], least: int, most: int) -> list[Stop]:
    windows = st.lists(_window(), max_size=2) if "windows" in on else st.just([])
    named = st.lists(st.sampled_from(NAMED), max_size=2) if "named trucks" in on else st.just([])
    prizes = st.none() | st.integers(0, 20_000) if "prizes" in on else st.none()
    kg, dm3 = st.integers(0, 500), _or("bulk" in on, st.integers(0, 500))
    service, containers = st.sampled_from([0, 60, 300, 1500]), _or("containers" in on, st.integers(0, 5))
    made = st.builds(
        lambda at, kg, dm3, service_s, windows, containers, trucks, prize_m: stop(
            "", at, kg, dm3=dm3, service_s=service_s, windows=windows, containers=containers, trucks=trucks, prize_m=prize_m
        ),
        SPOTS, kg, dm3, service, windows, containers, named, prizes,
    )  # fmt: skip
    return [replace(each, id=f"P{number}") for number, each in enumerate(draw(st.lists(made, min_size=least, max_size=most)), 1)]


@st.composite
def _trucks(draw: st.DrawFn, on: frozenset[str], most: int) -> list[Truck]:
    trucks = []
    for number in range(draw(st.integers(1, most))):
        shift = Window(SIX, draw(st.integers(7, 12)) * HOUR) if "short shifts" in on else Window(SIX, 14 * HOUR)
        day = draw(st.builds(Caps, *([st.none() | st.integers(300, 2500)] * 2), *([st.none() | st.integers(1, 12)] * 2)))
        capacity, bulk = draw(st.integers(400, 1000)), draw(st.integers(400, 1000))
        each = truck(NAMED[number], capacity, dm3=bulk, shift=shift, day=day if "caps" in on else None)
        if "overtime" in on:
            each = replace(each, overtime_s=draw(st.integers(0, HOUR)))
        if "under way" in on and draw(st.booleans()):
            at_s, kg, dm3 = draw(st.integers(5 * HOUR, 12 * HOUR)), draw(st.integers(0, capacity)), draw(st.integers(0, bulk))
            taken = draw(st.builds(Caps, *([st.none() | st.integers(0, 900)] * 2), *([st.none() | st.integers(0, 9)] * 2)))
            each = replace(each, underway=Underway(place(draw(SPOTS)), at_s, kg, dm3 if "bulk" in on else 0, taken))
        if "streams" in on and draw(st.booleans()):
            each = replace(each, streams=("kitchen",))
        trucks.append(each)
    return trucks


@st.composite
def _sites(draw: st.DrawFn, on: frozenset[str]) -> list[Site]:
    sites = []
    for number in range(draw(st.integers(1, 3))):
        opening = draw(st.lists(_window(HOUR), max_size=2)) if "opening" in on else []
        day_kg = draw(st.none() | st.integers(500, 4000)) if "totals" in on else None
        streams = draw(st.sampled_from([("other",), ("other", "kitchen"), ("kitchen",)])) if "streams" in on else ("other",)
        service_s = draw(st.sampled_from([0, 300, 900]))
        sites.append(site(f"S{number + 1}", draw(SPOTS), streams=streams, service_s=service_s, opening=opening, day_kg=day_kg))
    return sites


@st.composite
def towns(draw: st.DrawFn, stops: tuple[int, int], *, trucks: int = 3, without: frozenset[str] = frozenset()) -> tuple[Problem, Travel]:
    """A day and its matrices: from so many to so many stops, any choice of RULES but for those that it is to be `without`."""
    on = frozenset(draw(st.sets(st.sampled_from([rule for rule in RULES if rule not in without]))))
    places = draw(_stops(on, *stops))
    fleet = draw(_trucks(on, trucks))
    known = [each.id for each in fleet]
    places = [replace(each, trucks=tuple(name for name in each.trucks if name in known)) for each in places]
    lunch = Lunch(11 * HOUR, draw(st.sampled_from([11, 12])) * HOUR, draw(st.sampled_from([HOUR // 2, HOUR])))
    yesterday = [Round(name, tuple(draw(st.permutations([*(each.id for each in places), "gone"])))) for name in known[:1]]
    cost = draw(st.sampled_from([0, 3000, 20_000]))
    minimise, even_percent = Minimise.TIME if "time" in on else Minimise.DISTANCE, 10 if "even hours" in on else 0
    asked = problem(
        places,
        fleet,
        draw(_sites(on)),
        lunch=lunch if "lunch" in on else None,
        yesterday=yesterday if "yesterday" in on else [],
        options=Options(seconds=3, vehicle_cost_m=cost, minimise=minimise, even_percent=even_percent),
    )
    rows = st.sets(st.integers(0, len(asked.positions()) - 1), max_size=2)
    no_way_out, no_way_in = (draw(rows), draw(rows)) if "closed roads" in on else (set[int](), set[int]())
    return asked, travel(asked, closed=lambda origin, target: origin in no_way_out or target in no_way_in)
