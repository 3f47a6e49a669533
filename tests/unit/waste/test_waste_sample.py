"""The invented sample of waste: the same in every run, marked as invented, and true by the service's own rules."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from cityloop_common.clock import city_day
from cityloop_waste import sample
from cityloop_waste.ledger.domain import admit, check
from cityloop_waste.planning.domain import MOST_STOPS
from cityloop_waste.streams import Stream

DAY = date(2026, 11, 26)
DISTRICTS = ["d01", "d02"]


def test_the_registry_is_whole_and_marked() -> None:
    """300 points with something of each stream, twelve trucks, five sites; each truck's stream has a site that takes it."""
    points, trucks, sites = sample.invented_points(), sample.invented_trucks(), sample.invented_sites()
    assert (len(points), len(trucks), len(sites)) == (300, 12, 5)
    assert all(each.invented for group in (points, trucks, sites) for each in group)
    stands = Counter(demand.stream for point in points for demand in point.demands)
    assert stands[Stream.KITCHEN] == stands[Stream.OTHER] == 300 <= MOST_STOPS
    assert {truck.stream for truck in trucks} == set(stands) == set(sample.PLANNED)
    for truck in trucks:
        assert any(truck.stream in site.streams and site.admits(truck) for site in sites)
        assert truck.max_mass_kg is not None


def test_every_stop_fits_a_truck() -> None:
    """Nothing is left standing because no truck could take it at all."""
    for truck in sample.invented_trucks():
        for point in sample.invented_points():
            for demand in point.demands:
                if demand.stream is truck.stream:
                    assert demand.mass_kg <= truck.capacity_kg
                    assert demand.volume_dm3 <= truck.capacity_dm3


def test_tickets_are_the_same_in_every_run_and_could_be_true() -> None:
    """Forty days of them: admitted without a flag, one number each, in the order of the weighings, on their day."""
    trucks = {truck.id: truck for truck in sample.invented_trucks()}
    sites = {site.id: site for site in sample.invented_sites()}
    seen: set[tuple[str, str]] = set()
    for back in range(40):
        day = DAY - timedelta(days=back)
        made = list(sample.tickets(day, DISTRICTS))
        assert made == list(sample.tickets(day, DISTRICTS))
        assert made == sorted(made, key=lambda each: (each.weighed_at, each.ticket_no))
        for each in made:
            check(each, each.weighed_at)
            assert admit(each, sites[each.site_id], trucks[each.truck_id]) == ()  # type: ignore[index]
            assert city_day(each.weighed_at) == day
            assert each.net_kg <= trucks[each.truck_id].capacity_kg * 1.2  # type: ignore[index]
            assert (each.site_id, each.ticket_no) not in seen
            seen.add((each.site_id, each.ticket_no))
    assert len(seen) == 40 * (3 + 4 + 1 + 8)


def test_a_city_without_districts_has_loads_all_the_same() -> None:
    """They lie in none."""
    assert {each.district for each in sample.tickets(DAY, [])} == {None}
