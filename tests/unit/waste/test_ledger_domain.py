"""Tickets: what can be true, what is odd about it, when two tell of the same load."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.geo import Position
from cityloop_waste.fleet.domain import DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.ledger.domain import (
    Flag,
    ForeignTruck,
    InvalidLoad,
    LoadFromTheFuture,
    NetNotPositive,
    StreamNotAccepted,
    Ticket,
    admit,
    check,
)
from cityloop_waste.registry import Hours
from cityloop_waste.streams import COLOURS, HOUSEHOLD, Stream

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
TICKET = Ticket("biogas-1", "T01", Stream.KITCHEN, "A1", 9_000, 5_000, NOW)
TRUCK = Truck(TruckId("T01"), "op", Stream.KITCHEN, DepotId("d"), 5_000, 9_000, Hours(0, 3600), max_mass_kg=12_000)
SITE = Site(SiteId("biogas-1"), SiteKind.BIOGAS, "厂", None, "op", Position(109.787, 39.565), None, (Stream.KITCHEN, Stream.OTHER), 600)


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_net_is_gross_less_tare_and_above_zero(gross_kg: int, tare_kg: int) -> None:
    """Or the ticket is refused with all three weights."""
    ticket = replace(TICKET, gross_kg=gross_kg, tare_kg=tare_kg)
    assert ticket.net_kg == gross_kg - tare_kg
    if ticket.net_kg > 0:
        check(ticket, NOW)
        return
    with pytest.raises(NetNotPositive) as refused:
        check(ticket, NOW)
    assert refused.value.members == {"gross_kg": gross_kg, "tare_kg": tare_kg, "net_kg": gross_kg - tare_kg}


def test_five_minutes_of_future_are_allowed() -> None:
    """Clocks differ; a second more is refused."""
    check(replace(TICKET, weighed_at=NOW + timedelta(minutes=5)), NOW)
    with pytest.raises(LoadFromTheFuture):
        check(replace(TICKET, weighed_at=NOW + timedelta(minutes=5, seconds=1)), NOW)


@pytest.mark.parametrize("number", ["", " A1", "a b", "a\x00", "x" * 41, "-1", "票1"])
def test_a_ticket_number_is_what_a_weighbridge_prints(number: str) -> None:
    """Letters, digits and a few marks."""
    with pytest.raises(InvalidLoad):
        check(replace(TICKET, ticket_no=number), NOW)


@pytest.mark.parametrize(
    "ticket, truck, site, expected",
    [
        ({}, {}, {}, ()),
        ({"stream": Stream.OTHER}, {}, {}, (Flag.STREAM_DIFFERS,)),
        ({"gross_kg": 12_000}, {}, {}, ()),
        ({"gross_kg": 12_001}, {}, {}, (Flag.OVER_MAX_MASS,)),
        ({"gross_kg": 99_000}, {"max_mass_kg": None}, {}, ()),
        ({}, {}, {"haulers": ("op", "x")}, ()),
        ({}, {}, {"haulers": ("x",)}, ForeignTruck),
        ({"stream": Stream.HAZARDOUS}, {}, {}, StreamNotAccepted),
        ({"stream": Stream.HAZARDOUS}, {"stream": Stream.HAZARDOUS}, {}, StreamNotAccepted),
    ],
)
def test_what_is_odd_and_what_is_refused(ticket: dict[str, Any], truck: dict[str, Any], site: dict[str, Any], expected: Any) -> None:
    """Flags count all the same; a site's own rules are hard."""
    given_to = (replace(TICKET, **ticket), replace(SITE, **site), replace(TRUCK, **truck))
    if isinstance(expected, tuple):
        assert admit(*given_to) == expected
        return
    with pytest.raises(expected):
        admit(*given_to)


@pytest.mark.parametrize(
    "changes, same",
    [
        ({"ticket_no": "B2"}, True),
        ({"weighed_at": NOW + timedelta(seconds=59)}, True),
        ({"weighed_at": NOW + timedelta(seconds=60)}, False),
        ({"weighed_at": NOW - timedelta(microseconds=1)}, False),
        ({"gross_kg": 9_001}, False),
        ({"tare_kg": 5_001}, False),
        ({"truck_id": "T02"}, False),
        ({"site_id": "x"}, False),
        ({"stream": Stream.OTHER}, False),
    ],
)
def test_the_same_weighing(changes: dict[str, Any], same: bool) -> None:
    """A truck stands on a weighbridge once in a minute."""
    assert TICKET.is_same_weighing(replace(TICKET, **changes)) is same


def test_every_stream_has_its_colour_or_none_by_rule() -> None:
    """The four of households are regulated, construction waste is not."""
    assert {stream for stream, colour in COLOURS.items() if colour} == HOUSEHOLD
    assert set(COLOURS) == set(Stream)
