"""Kim's waste collection files: read with all their oddities, judged from the raw file rule by rule, planned within the rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cityloop_waste.planning import file_tasks, kim2006_problem
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.instances import FilePlan, UnreadableInstance
from cityloop_waste.planning.kim2006 import Kim2006, read
from tests.unit.waste.refusals import is_refused_at_its_line

HEAD = """20.0 \t\t\t// vehicle capacity (yards), real number\r
50\t//\ttotal\tyardage\tallowed\t"(day),"\treal number\r
9\t// stops a day\r
3600\t// lunch time duration in second, lunch time should start between 11:00am and 12:00 pm\r
40\t// speed: MPH\r
Stop_ID\tX(feet)\tY(feet)\tEarly (HHMM)\tLate\tSvice_Time(Sec)\tLoad (Yards)\t"Stop_Type(0: Depot, 1: regular stop, 2: Landfill)"\r
"""
ROWS = """0 0.0 0 0800 1700 0 9999.00 0\r
1 5280.00 0 0 2400 600 9999 2\r
2\t0\t5280\t0000\t2400\t120\t10.0\t1\t\t\t\r
3 0 10560 0 1200 120 9.5 1\r
4 0 10560 730 2400 60 0.0 1\r
5 52800 0 1300 1675 60 12 1\r
"""
SMALL = HEAD + ROWS
FULL = [[2, 3, 4, 1, 5, 1]]
NAMES = {"102": (3, 2, 99), "277": (2, 1, 275), "444": (10, 1, 442), "1051": (16, 2, 1048)}


def plan(routes: Sequence[Sequence[int]], cost: float | None = None) -> FilePlan:
    """A plan from elsewhere."""
    return FilePlan(tuple(tuple(route) for route in routes), cost)


def instance(data_dir: Path, name: str) -> Kim2006:
    """A published file."""
    return read((data_dir / "waste" / "kim2006" / f"{name}_stop.txt").read_text())


def test_the_oddities_of_the_files_are_read() -> None:
    """Zeros missing from HHMM, 2400, minutes beyond 59, tabs and quotes in the header, carriage returns, stops without a load."""
    day = read(SMALL)
    assert (day.truck_volume, day.day_volume, day.day_stops, day.lunch_s, day.speed_mph) == (200, 500, 9, 3600, 40.0)
    assert [stop.volume for stop in day.stops] == [100, 95, 0, 120]
    assert (day.stops[2].earliest_s, day.stops[0].latest_s, day.stops[3].latest_s) == (7 * 3600 + 1800, 86_400, 16 * 3600 + 59 * 60)
    assert (day.sites[0].service_s, day.sites[0].volume) == (600, 0)


def test_volumes_finer_than_a_tenth_stay_exact() -> None:
    """A load of 9.25 yd3 is neither 9.2 nor 9.3."""
    day = read(SMALL.replace(" 9.5 1", " 9.250 1"))
    assert (day.parts, day.truck_volume, [stop.volume for stop in day.stops]) == (100, 2000, [1000, 925, 0, 1200])


def test_the_way_of_the_authors_page_is_counted(data_dir: Path) -> None:
    """Stops 0 and 1 of the file of 102: 15,387 ft, 2.914 miles, 262.3 s."""
    day = instance(data_dir, "102")
    feet = day.feet(day.by_id[0], day.by_id[1])
    assert feet == 15_387
    assert day.seconds(feet) == pytest.approx(262.3, abs=0.05)
    assert round(feet / 5280, 3) == 2.914


@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_is_what_is_known_of_it(data_dir: Path, name: str) -> None:
    """Sites, stops, stops that share a point or have no load, and the trucks that no plan can do without."""
    day = instance(data_dir, name)
    fewest, sites, stops = NAMES[name]
    assert (len(day.sites), len(day.stops)) == (sites, stops)
    assert kim2006_problem.fewest_trucks(day, kim2006_problem.travel(day)) == fewest
    assert sum(1 for stop in day.stops if stop.volume == 0) == (4 if name == "444" else 0)
    if name in {"102", "1051"}:
        assert len({(stop.x_ft, stop.y_ft) for stop in day.stops}) < len(day.stops)


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("20.0 \t", "twenty \t", "line 1: the truck's volume is 'twenty'"),
        ("20.0 \t", "nan \t", "line 1: the truck's volume is 'nan'"),
        ("20.0 \t", "0 \t", "line 1: the truck's volume is nothing"),
        ("50\t", "-50\t", "line 2: the volume of a truck and day is -50"),
        ("9\t// stops", "9.5\t// stops", "line 3: the stops of a truck and day is '9.5', not a whole number"),
        ("3600\t//", "90000\t//", "line 4: the lunch is 90000 s"),
        ("40\t// speed", "0\t// speed", "line 5: the speed is 0 mph"),
        ("40\t// speed: MPH\r\n", "", "line 5: the speed is 'Stop_ID'"),
        ("Stop_ID", "0", "line 6: a row where the line that names the columns is expected"),
        ("3 0 10560 0 1200 120 9.5 1", "3 0 10560 0 1200 120 9.5", "line 10: 7 fields, a row has 8"),
        ("3 0 10560 0 1200 120 9.5 1", "3 0 10560 0 1200 120 9.5 1 x", "line 10: 9 fields, a row has 8"),
        ("3 0 10560 0 1200", "3 0 inf 0 1200", "line 10: y is 'inf'"),
        ("3 0 10560 0 1200", "3 0 1e300 0 1200", "line 10: y is '1e300'"),
        ("3 0 10560 0 1200", "three 0 10560 0 1200", "line 10: the id is 'three'"),
        ("3 0 10560 0 1200", "2 0 10560 0 1200", "line 10: the id 2 comes twice, first in line 9"),
        ("3 0 10560 0 1200", "3 0 10560 0 2401", "line 10: the window's end is '2401', not HHMM"),
        ("3 0 10560 0 1200", "3 0 10560 12:00 1200", "line 10: the window's begin is '12:00'"),
        ("3 0 10560 0 1200", "3 0 10560 1300 1200", "line 10: the window ends at 1200, before it begins at 1300"),
        ("1200 120 9.5", "1200 -1 9.5", "line 10: the service is -1 s"),
        ("1200 120 9.5", "1200 120 9.5555", "line 10: the load is '9.5555'"),
        ("1200 120 9.5", "1200 120 -9.5", "line 10: the load is '-9.5'"),
        ("1200 120 9.5 1", "1200 120 9.5 3", "line 10: the type is '3'"),
        ("1200 120 9.5 1", "1200 0 9.5 0", "line 10: a second depot"),
        ("0800 1700 0 9999", "0800 1700 60 9999", "line 7: a service of 60 s at the depot"),
        ("600 9999 2", "600 12 1", "line 12: the file ends before the row of an unload site"),
        ("9999.00 0\r", "12 1\r", "line 12: the file ends before the row of a depot"),
    ],
)
def test_another_file_is_refused_with_its_line(old: str, new: str, told: str) -> None:
    """One clear sentence that begins with the line."""
    is_refused_at_its_line(read, SMALL, old, new, told)


@pytest.mark.parametrize("text", ["", "\n", "NAME : X-n101\nTYPE : CVRP\n", '{"a": 1}', "id,lon,lat\n1,2,3\n", "280\n400\n", "<html>"])
def test_a_foreign_file_is_refused_with_a_line(text: str) -> None:
    """Empty, another format's, cut in its header."""
    with pytest.raises(UnreadableInstance, match=r"^line \d+: "):
        read(text)


def test_a_file_cut_within_a_row_is_refused(data_dir: Path) -> None:
    """Whole rows that are missing cannot be seen; half a row can."""
    text = (data_dir / "waste" / "kim2006" / "277_stop.txt").read_text()
    with pytest.raises(UnreadableInstance, match=r"^line 1\d\d: \d fields"):
        read(text[: len(text) // 2].rstrip("0123456789.").rstrip())


@pytest.mark.parametrize(
    "routes, told",
    [
        (FULL, []),
        ([[2, 3, 4, 1], [5, 1]], []),
        ([[2, 3, 4, 1, 5]], ["route 1 returns without an unload after stop 5"]),
        ([[2, 3, 4, 5, 1]], ["route 1 carries 31.5 yd3 after stop 5, 20 allowed"]),
        ([[2, 3, 1, 5, 1]], ["stop 4 is served 0 times"]),
        ([[2, 3, 4, 4, 1, 5, 1]], ["stop 4 is served 2 times"]),
        ([[2, 3, 4, 1, 5, 1, 99]], ["99 is not in the file"]),
        ([[0, 2, 3, 4, 1, 5, 1, 0]], ["0 is the depot: routes name what lies between"]),
        ([[5, 1, 2, 3, 4, 1]], ["route 1 cannot begin at 3 before 13:31:00, its window ends at 12:00:00"]),
    ],
)
def test_each_broken_rule_is_named(routes: list[list[int]], told: list[str]) -> None:
    """Unload at the end, volume of a trip, missing and double stops, strange places, windows; and nothing that holds."""
    assert read(SMALL).faults(plan(routes)) == told


def test_the_day_and_the_trip_are_judged_apart() -> None:
    """The trip's volume broken and the day's kept, and the reverse; stops of a day."""
    day = read(SMALL)
    assert [fault for fault in day.faults(plan([[2, 3, 4, 5, 1]])) if "day" in fault] == []
    small_day = replace(day, day_volume=300)
    assert small_day.faults(plan(FULL)) == ["route 1 takes 31.5 yd3 in the day, 30 allowed"]
    assert small_day.faults(plan([[2, 3, 4, 1], [5, 1]])) == []
    assert replace(day, day_stops=3).faults(plan(FULL)) == ["route 1 has 4 stops in the day, 3 allowed"]


def test_a_cost_that_is_told_must_be_the_routes() -> None:
    """Within what two decimals of a mile leave open."""
    day = read(SMALL)
    cost = day.cost(FULL)
    assert cost == 2 + 2 + 1 + 9 + 9 + 1
    assert day.faults(plan(FULL, cost=24.004)) == []
    assert day.faults(plan(FULL, cost=24.01)) == ["the cost is told as 24.01, it is 24.00"]


# Lunch. At 40 mph a mile takes 90 s. The truck is at stop 2 (a mile away) from its window's begin on, and its service can be long.
def lunch_day(*, early: str, service_s: int, depot: str = "0800 1700", late: str = "2400", site_late: str = "2400") -> Kim2006:
    """A depot, a site one mile away and one stop one mile away in the other direction."""
    rows = f"0 0 0 {depot} 0 9999 0\n1 5280 0 0 {site_late} 0 9999 2\n2 0 5280 {early} {late} {service_s} 1 1\n"
    return read(HEAD + rows)


def test_who_is_back_by_twelve_needs_no_lunch() -> None:
    """Back at 11:40 it has none; a depot that closes at 11:45 is no fault."""
    morning = lunch_day(early="1100", service_s=2400 - 270 - 90, depot="0800 1145")
    assert morning.faults(plan([[2, 1]])) == []


def test_who_is_back_after_twelve_has_eaten() -> None:
    """A service from 10:00 to 11:58, then lunch on the way: back at 13:02; a depot that closes at 12:45 leaves no time for it."""
    day = lunch_day(early="1000", service_s=118 * 60, depot="0800 1303")
    assert day.faults(plan([[2, 1]])) == []
    closes = lunch_day(early="1000", service_s=118 * 60, depot="0800 1245")
    assert closes.faults(plan([[2, 1]])) == [
        "route 1 has no time for lunch: with it the truck is back at 13:02:30, the depot closes at 12:45:00"
    ]


def test_lunch_never_starts_after_twelve() -> None:
    """A service from 10:59 to 12:01: before it lunch may not start, after it no more. With one from 12:00 on there is time before."""
    day = lunch_day(early="1059", service_s=62 * 60, late="1059")
    assert day.faults(plan([[2, 1]])) == ["route 1 has no lunch: none can start between 11:00 and 12:00, and it is back at 12:05:30"]
    assert lunch_day(early="1200", service_s=62 * 60, late="1200").faults(plan([[2, 1]])) == []


def test_lunch_is_taken_where_it_costs_least() -> None:
    """While the truck waits for a window that opens at 12:00; and not before a stop that closes at 11:05."""
    assert lunch_day(early="1200", service_s=60, late="1201").faults(plan([[2, 1]])) == []
    assert lunch_day(early="1104", service_s=60, late="1105").faults(plan([[2, 1]])) == []


def test_lunch_that_makes_a_window_impossible_is_named() -> None:
    """Two stops: the first until 12:00, so lunch comes after it; the second closes at 12:30."""
    rows = "0 0 0 0800 1700 0 9999 0\n1 5280 0 0 2400 0 9999 2\n2 0 5280 1000 1000 7200 1 1\n3 0 5280 0 1230 0 1 1\n"
    day = read(HEAD + rows)
    assert day.faults(plan([[2, 3, 1]])) == []  # at 12:00 it is there, and eats after it: on the road the lunch has begun by 12:00
    assert read(HEAD + rows.replace("7200", "7202")).faults(plan([[2, 3, 1]])) == [
        "route 1 has no lunch: none can start between 11:00 and 12:00, and it is back at 12:04:32"
    ]


def test_a_second_is_forgiven_and_no_more() -> None:
    """Plans are made in whole seconds: a window that is missed by 1 s is kept, by 2 s it is broken."""
    assert lunch_day(early="0000", service_s=60, late="0801", depot="0800 1700").faults(plan([[2, 1]])) != []  # 08:01:30
    day = lunch_day(early="0000", service_s=60)
    stop = replace(day.stops[0], latest_s=8 * 3600 + 89)
    kept = replace(day, stops=(stop,), by_id={**day.by_id, 2: stop})
    assert kept.faults(plan([[2, 1]])) == []
    stop = replace(stop, latest_s=8 * 3600 + 88)
    assert replace(day, stops=(stop,), by_id={**day.by_id, 2: stop}).faults(plan([[2, 1]])) == [
        "route 1 cannot begin at 2 before 08:01:30, its window ends at 08:01:28"
    ]


def test_a_site_has_hours_of_its_own() -> None:
    """An unload begins within them."""
    assert lunch_day(early="0800", service_s=3600, site_late="0900").faults(plan([[2, 1]])) == [
        "route 1 cannot begin at 1 before 09:04:30, its window ends at 09:00:00"
    ]


def first_plan(day_text: str) -> tuple[Kim2006, list[list[int]]]:
    """The plan by hand that a search begins with."""
    task = file_tasks.task(day_text, Format.KIM2006, None)
    assert isinstance(task.instance, Kim2006)
    return task.instance, task.finished(task.model.rows(task.begin))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_plan_keeps_every_rule_of_the_file(data_dir: Path, name: str) -> None:
    """Whole seconds rounded up, the lunch cut out of the day, the last unload folded: what comes back is legal in the raw file."""
    day, routes = first_plan((data_dir / "waste" / "kim2006" / f"{name}_stop.txt").read_text())
    assert day.faults(plan(routes)) == []
    assert len(routes) >= NAMES[name][0]


def test_each_planted_fault_is_named(data_dir: Path) -> None:
    """The last unload dropped, a stop dropped, doubled, two routes merged, the reloads removed: what is broken is told."""
    day, routes = first_plan((data_dir / "waste" / "kim2006" / "444_stop.txt").read_text())
    first, second, *others = routes
    sites = {site.id for site in day.sites}
    stop = next(place for place in first if place not in sites)
    without_unload = day.faults(plan([first[:-1], second, *others]))
    assert without_unload == [f"route 1 returns without an unload after stop {first[-2]}"]
    dropped = [place for place in first if place != stop]
    assert day.faults(plan([dropped, second, *others])) == [f"stop {stop} is served 0 times"]
    doubled = day.faults(plan([[stop, *first], second, *others]))
    assert f"stop {stop} is served 2 times" in doubled
    merged = day.faults(plan([[*first, *second], *others]))
    assert any("yd3 in the day, 400 allowed" in fault for fault in merged)
    assert all(fault.startswith("route 1 ") for fault in merged)
    no_reloads = day.faults(plan([[*(place for place in first if place not in sites), first[-1]], second, *others]))
    assert any("carries" in fault and "200 allowed" in fault for fault in no_reloads)
    assert all(fault.startswith("route 1 carries") for fault in no_reloads)


def test_the_planners_rules_are_none_looser_than_the_files(data_dir: Path) -> None:
    """Seconds are rounded up and feet down, both by less than one."""
    day = instance(data_dir, "444")
    travel = kim2006_problem.travel(day)
    places = (day.depot, *day.stops, *day.sites)
    for row, column in ((0, 5), (7, 300), (443, 12), (3, 3), (100, 99)):
        feet = day.feet(places[row], places[column])
        assert travel.distance_m[row][column] == math.floor(feet)
        assert 0 <= (travel.duration_s[row][column] or 0) - day.seconds(feet) < 1


def test_a_stop_that_no_truck_can_take_is_left_out_with_its_reason() -> None:
    """More than a truck's volume: named, and the rest is planned."""
    task = file_tasks.task(SMALL.replace(" 9.5 1", " 20.5 1"), Format.KIM2006, None)
    assert {stop: reason.value for stop, reason in task.lost.items()} == {3: "exceeds-capacity-of-all-vehicles"}
    assert task.unserved(task.model.rows(task.begin)) == dict(task.lost)


def test_with_a_limit_of_trucks_the_way_is_what_counts() -> None:
    """Without one a truck costs as much as the whole first way; with one nothing."""
    assert file_tasks.task(SMALL, Format.KIM2006, None).model.vehicle_cost > 0
    limited = file_tasks.task(SMALL, Format.KIM2006, 2)
    assert (limited.model.vehicles, limited.model.vehicle_cost) == (2, 0)
