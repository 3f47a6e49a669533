"""Parking's figures, put together for the service."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from cityloop_common.indicator import Better, Figures, Indicator, Scheme
from cityloop_parking.indicators.domain import ALL_ACCESS, PUBLIC, live_places
from cityloop_parking.indicators.store import read_places

OWN = "CityLoop's own service level; the three-year plan names no figure for it"
LIVE_PLACES = Indicator(
    name="live-places",
    title="Car parks with a live count",
    title_zh="有实时车位数的停车场占比",
    unit="places",
    source=OWN,
    target=Fraction(90, 100),
    deadline=date(2026, 12, 31),
    better=Better.HIGHER,
    schemes=(
        Scheme(PUBLIC, "Car parks open to everybody", "公共停车场", OWN),
        Scheme(ALL_ACCESS, "Car parks of every access", "全部停车场", OWN),
    ),
    formula_text=(
        "open car parks of which the newest count of at least one category is not older than twice its source's interval / open car parks"
    ),
    read=read_places,
    formulas={1: live_places},
)
FIGURES = Figures("parking", (LIVE_PLACES,))
