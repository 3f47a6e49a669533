"""What the plan asks of charging, as data: definitions, targets, schemes. Sources: docs/concepts/charging.md."""

from __future__ import annotations

from datetime import date

from cityloop_charging.indicators import domain, store
from cityloop_common.indicator import Better, Figures, Indicator, Scheme

PLAN = "three-year plan of 伊金霍洛旗"
DEADLINE = date(2025, 12, 31)

EV_BAY_SHARE = Indicator(
    name="ev-bay-share",
    title="Public car-park bays with a charger",
    title_zh="公共停车场充电泊位占比",
    unit="bays",
    source=f"{PLAN}: at least 15 % of the bays of public car parks have chargers; in total and per car park (c >= ceil(0.15 b))",
    target=domain.SHARE_TARGET,
    deadline=DEADLINE,
    better=Better.HIGHER,
    schemes=(
        Scheme("all", "All public car parks, on-street included", "全部公共停车场（含路侧）", "the project's reading"),
        Scheme("off-street", "Without on-street places", "不含路侧泊位", "the other reading of car park"),
        Scheme("reporting", "Only chargers that report that they work", "仅计正常上报的充电桩", "strict reading of operational"),
    ),
    formula_text="distinct bays with a confirmed, operational EVSE / bays of public places in service",
    read=store.of_bays,
    formulas={1: domain.bay_share},
)
PILE_RATIO = Indicator(
    name="pile-ratio",
    title="Standard public charging points to standard new-energy vehicles",
    title_zh="公共标准桩与标准车之比",
    unit="charging points",
    source=f"{PLAN}: standard public piles to standard NEVs at least 1:3 (stock)",
    target=domain.RATIO_TARGET,
    deadline=DEADLINE,
    better=Better.HIGHER,
    schemes=(
        Scheme(
            "count",
            "Each operational point counts one",
            "按数量",
            "no official conversion of 标准桩 is published",
        ),
        Scheme("reporting", "Only points that report that they work", "仅计正常上报", "availability reading"),
    ),
    formula_text="P standard public charging points, operational / V registered standard NEVs; met when 3 P >= V",
    read=store.of_piles,
    formulas={1: domain.pile_ratio},
    judged_by_district=False,  # a stock may be stated for the whole city only: then no district has vehicles, and "" has no points
)
FACILITIES = Indicator(
    name="facilities",
    title="Charging facilities",
    title_zh="充电设施数量",
    unit="charging points",
    source=f"{PLAN}: 5,000 charging facilities",
    target=domain.FACILITIES_TARGET,
    deadline=DEADLINE,
    better=Better.HIGHER,
    schemes=(
        Scheme("public-and-compound", "Public places and compounds", "公共及小区", "the plan counts both"),
        Scheme("public", "Public places only", "仅公共", "narrow reading"),
    ),
    formula_text="charging points of public places and compounds that are neither planned nor removed",
    read=store.of_facilities,
    formulas={1: domain.facilities},
    fixed_denominator=1,
    judged_by_district=False,
)
FIGURES = Figures("charging", (EV_BAY_SHARE, PILE_RATIO, FACILITIES))
