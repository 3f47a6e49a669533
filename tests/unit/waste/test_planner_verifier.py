"""The verifier's reasons: one of them is true of a stop that nobody serves, judged as if each truck were alone that day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cityloop_waste.planning import verifier
from cityloop_waste.planning.domain import Caps, Lunch, Plan, Problem, Reason, Site, Stop, Truck, Unserved, Window
from tests.unit.waste.towns import SIX, TWO_PM, problem, site, stop, travel, truck, underway

HOUR = 3600
LUNCH = Lunch(11 * HOUR, 12 * HOUR, HOUR)
SLOW = 8 * HOUR
HERE = (400, 0)


@dataclass(frozen=True)
class Case:
    """A day of one stop, a road that is closed (from one row to the other), and why nobody serves the stop."""

    what: str
    asked: Problem
    true: Reason
    closed: tuple[int, int] | None = None


def _case(
    what: str,
    true: Reason,
    of: Stop | None = None,
    *,
    trucks: Sequence[Truck] = (),
    sites: Sequence[Site] = (),
    lunch: Lunch | None = None,
    closed: tuple[int, int] | None = None,
) -> Case:
    return Case(what, problem([of or stop("P1", HERE)], trucks, sites, lunch=lunch), true, closed)


def _full(at_s: int = SIX, shift: Window | None = None) -> Truck:
    """A truck under way beside the stop, with no room left for it."""
    return truck(underway=underway(HERE, at_s, kg=950), shift=shift or Window(SIX, TWO_PM))


def _short(seconds: int) -> list[Truck]:
    return [truck(shift=Window(SIX, SIX + seconds))]


WHO = [
    _case("nothing forbids it", Reason.NOT_REACHED),
    _case("nothing forbids it, and it has a prize", Reason.NOT_WORTH_IT, stop("P1", HERE, prize_m=5)),
    _case("no truck of the stream", Reason.NO_VEHICLE, trucks=[truck(streams=["kitchen"])]),
    _case(
        "the truck that may come is of another stream",
        Reason.NO_VEHICLE,
        stop("P1", HERE, trucks=["K"]),
        trucks=[truck(), truck("K", streams=["kitchen"])],
    ),
    _case("the truck that may come is too small", Reason.TOO_MUCH, stop("P1", HERE, trucks=["S"]), trucks=[truck(), truck("S", 99)]),
    _case(
        "the truck that may come is there too late",
        Reason.WINDOW,
        stop("P1", HERE, trucks=["L"], windows=[Window(SIX, SIX + 100)]),
        trucks=[truck(), truck("L", shift=Window(SIX + 100, TWO_PM))],
    ),
    _case("no site takes the stream", Reason.NO_SITE, sites=[site("K", (500, 0), streams=["kitchen"])]),
    _case("too heavy", Reason.TOO_MUCH, stop("P1", HERE, 1001)),
    _case("too large", Reason.TOO_MUCH, stop("P1", HERE, dm3=100_001)),
    _case("too heavy for a day", Reason.TOO_MUCH, trucks=[truck(day=Caps(kg=99))]),
    _case("as heavy as a day", Reason.NOT_REACHED, trucks=[truck(day=Caps(kg=100))]),
    _case("too large for a day", Reason.TOO_MUCH, stop("P1", HERE, dm3=7), trucks=[truck(day=Caps(dm3=6))]),
    _case("too many containers for a day", Reason.TOO_MUCH, stop("P1", HERE, containers=3), trucks=[truck(day=Caps(containers=2))]),
    _case(
        "no stop is left of the day", Reason.TOO_MUCH, trucks=[truck(day=Caps(stops=9), underway=underway(HERE, SIX, taken=Caps(stops=9)))]
    ),
    _case(
        "no weight is left of the day", Reason.TOO_MUCH, trucks=[truck(day=Caps(kg=500), underway=underway(HERE, SIX, taken=Caps(kg=401)))]
    ),
    _case(
        "a stop that weighs nothing, when no weight is left",
        Reason.NOT_REACHED,
        stop("P1", HERE, 0),
        trucks=[truck(day=Caps(kg=5), underway=underway(HERE, SIX, taken=Caps(kg=9)))],
    ),
]
WHERE = [
    _case("the second site is quick", Reason.NOT_REACHED, sites=[site("S1", (500, 0), service_s=SLOW), site("S2", (3000, 0))]),
    _case("no site is quick", Reason.NOT_ENOUGH_TIME, sites=[site("S1", (500, 0), service_s=SLOW), site("S2", (3000, 0), service_s=SLOW)]),
    _case(
        "the quick site has no road",
        Reason.NOT_ENOUGH_TIME,
        sites=[site("S1", (500, 0), service_s=SLOW), site("S2", (3000, 0))],
        closed=(1, 3),
    ),
    _case("no site has a road", Reason.UNREACHABLE, closed=(1, 2)),
    _case("no road leads home", Reason.UNREACHABLE, closed=(2, 0)),
    _case("no road leads from the depot", Reason.UNREACHABLE, closed=(0, 1)),
    _case("no road leads from where the truck is", Reason.UNREACHABLE, trucks=[truck(underway=underway((700, 0), SIX))], closed=(3, 1)),
    _case(
        "a truck under way needs no road from the depot",
        Reason.NOT_REACHED,
        trucks=[truck(underway=underway((700, 0), SIX))],
        closed=(0, 1),
    ),
    _case("a full truck needs a road to a site", Reason.UNREACHABLE, trucks=[_full()], closed=(3, 2)),
    _case(
        "a truck with room needs no road to a site first",
        Reason.NOT_REACHED,
        trucks=[truck(underway=underway(HERE, SIX, kg=900))],
        closed=(3, 2),
    ),
]
WHEN = [
    # out 40 s, service 60 s, site 60 s and 300 s, home 100 s
    _case("the shift just suffices", Reason.NOT_REACHED, trucks=_short(560)),
    _case("the shift is too short by a second", Reason.NOT_ENOUGH_TIME, trucks=_short(559)),
    _case("overtime suffices", Reason.NOT_REACHED, trucks=[truck(shift=Window(SIX, SIX + 500), overtime_s=60)]),
    _case("overtime is too short", Reason.NOT_ENOUGH_TIME, trucks=[truck(shift=Window(SIX, SIX + 500), overtime_s=59)]),
    _case("it closes when the truck is there", Reason.NOT_REACHED, stop("P1", HERE, windows=[Window(SIX, SIX + 40)])),
    _case("it closes before the truck is there", Reason.WINDOW, stop("P1", HERE, windows=[Window(SIX, SIX + 39)])),
    _case("the second window is in time", Reason.NOT_REACHED, stop("P1", HERE, windows=[Window(SIX, SIX + 9), Window(7 * HOUR, 8 * HOUR)])),
    _case("it opens after the shift", Reason.WINDOW, stop("P1", HERE, windows=[Window(TWO_PM, TWO_PM + 60)])),
    _case("the site shuts before", Reason.WINDOW, sites=[site("S1", (1000, 0), opening=[Window(0, SIX + 159)])]),
    _case(
        "the site shuts when the truck is there: the start counts",
        Reason.NOT_REACHED,
        sites=[site("S1", (1000, 0), opening=[Window(0, SIX + 160)])],
    ),
    _case("the site opens after the shift", Reason.WINDOW, sites=[site("S1", (1000, 0), opening=[Window(TWO_PM, TWO_PM)])]),
    _case("a site of few kilos a day is asked all the same", Reason.NOT_REACHED, sites=[site("S1", (1000, 0), day_kg=99)]),
    _case("a truck under way is free too late", Reason.NOT_ENOUGH_TIME, trucks=[truck(underway=underway(HERE, TWO_PM - 519))]),
    _case("a truck under way is free in time", Reason.NOT_REACHED, trucks=[truck(underway=underway(HERE, TWO_PM - 520))]),
    # a full truck: site 60 s and 300 s, back 60 s, service 60 s, site 60 s and 300 s, home 100 s
    _case("a full truck tips first", Reason.NOT_REACHED, trucks=[_full(TWO_PM - 940)]),
    _case("a full truck has no time to tip first", Reason.NOT_ENOUGH_TIME, trucks=[_full(TWO_PM - 939)]),
    _case(
        "a full truck waits for the site", Reason.WINDOW, trucks=[_full()], sites=[site("S1", (1000, 0), opening=[Window(SIX, SIX + 59)])]
    ),
]
EATING = [
    _case(
        "back when lunch must begin", Reason.NOT_REACHED, stop("P1", HERE, service_s=6 * HOUR - 500), lunch=LUNCH, trucks=_short(6 * HOUR)
    ),
    _case(
        "lunch does not fit in",
        Reason.NOT_ENOUGH_TIME,
        stop("P1", HERE, service_s=6 * HOUR - 499),
        lunch=LUNCH,
        trucks=_short(6 * HOUR + HOUR),
    ),
    _case(
        "lunch just fits in", Reason.NOT_REACHED, stop("P1", HERE, service_s=5 * HOUR + 3200), lunch=LUNCH, trucks=_short(6 * HOUR + 3700)
    ),
    _case(
        "lunch is too long by a second",
        Reason.NOT_ENOUGH_TIME,
        stop("P1", HERE, service_s=5 * HOUR + 3200),
        lunch=LUNCH,
        trucks=_short(6 * HOUR + 3699),
    ),
    _case(
        "a service begins at the very beginning of lunch",
        Reason.NOT_REACHED,
        stop("P1", HERE, windows=[Window(LUNCH.earliest_s, LUNCH.earliest_s)]),
        lunch=LUNCH,
        trucks=[truck(underway=underway((700, 0), SIX))],
    ),
    _case(
        "lunch is over the window",
        Reason.WINDOW,
        stop("P1", (9000, 0), windows=[Window(LUNCH.earliest_s + 1, LUNCH.latest_s - 1)]),
        lunch=LUNCH,
        sites=[site("S1", (18_000, 0), service_s=1200)],
        trucks=[truck(underway=underway(HERE, SIX))],
    ),
    _case(
        "who leaves after its beginning takes none",
        Reason.NOT_REACHED,
        stop("P1", (9000, 0), windows=[Window(LUNCH.latest_s - 60, LUNCH.latest_s)]),
        lunch=LUNCH,
        sites=[site("S1", (18_000, 0), service_s=1200)],
    ),
    _case(
        "who is under way takes it though it waits",
        Reason.WINDOW,
        stop("P1", (9000, 0), windows=[Window(LUNCH.latest_s - 60, LUNCH.latest_s - 1)]),
        lunch=LUNCH,
        sites=[site("S1", (18_000, 0), service_s=1200)],
        trucks=[truck(underway=underway(HERE, SIX))],
    ),
    _case(
        "who is free after its beginning takes none",
        Reason.NOT_REACHED,
        stop("P1", HERE, service_s=HOUR),
        lunch=LUNCH,
        trucks=[truck(shift=Window(SIX, LUNCH.latest_s + 600), underway=underway(HERE, LUNCH.earliest_s))],
    ),
]


@pytest.mark.parametrize("case", [*WHO, *WHERE, *WHEN, *EATING], ids=lambda case: case.what)
def test_one_reason_only_is_true_of_a_stop(case: Case) -> None:
    """Judged with every truck and every site of the stream: whatever else is told of it is a fault."""
    by = travel(case.asked, closed=lambda origin, target: (origin, target) == case.closed)

    def refused(reason: Reason) -> bool:
        broken = verifier.faults(case.asked, by, Plan((), (Unserved("P1", reason),)))
        return any(each.rule is verifier.Rule.REASON for each in broken)

    assert [reason for reason in Reason if not refused(reason)] == [case.true]
