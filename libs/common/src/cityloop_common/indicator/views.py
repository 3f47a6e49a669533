"""What is shown of figures: the shapes of the answers, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import orjson
from pydantic import BaseModel

from cityloop_common.context import Ctx
from cityloop_common.db import Tx
from cityloop_common.indicator import store
from cityloop_common.indicator.domain import Evaluation, Figure, Indicator, Scheme
from cityloop_common.indicator.store import Published

SHOWN_DIGITS = Decimal("0.000001")
View = Mapping[str, Any]
Trends = Mapping[str, Sequence[Mapping[str, object]]]
"""An IndicatorView as plain data."""


class FigureView(BaseModel):
    """Exact integers and what they say; `value` is their quotient, `gap` how many units are missing to the target."""

    numerator: int
    denominator: int
    value: str | None
    status: str
    gap: int | None


class DistrictView(FigureView):
    """The part that lies in one district; without an id what lies in none."""

    id: str | None
    name: str | None
    name_en: str | None


class PublishedView(FigureView):
    """A figure as it was published."""

    on: date
    known_at: datetime
    formula_version: int


class TrendPoint(BaseModel):
    """The newest published figure of a day."""

    on: date
    numerator: int
    denominator: int
    value: str | None


class SchemeView(FigureView):
    """One way to count; `published` is the newest published figure of that day, `trend` is there when it is asked for."""

    id: str
    title: str
    title_zh: str
    source: str
    missing: str | None
    published: PublishedView | None
    districts: list[DistrictView] | None = None
    trend: list[TrendPoint] | None = None


class TargetView(BaseModel):
    """What the plan asks for, as an exact ratio."""

    numerator: int
    denominator: int


class IndicatorView(BaseModel):
    """A figure of the plan; the first scheme is the headline."""

    name: str
    title: str
    title_zh: str
    unit: str
    source: str
    formula: str
    formula_version: int
    target: TargetView
    deadline: date
    better: str
    on: date
    at: datetime
    known_at: datetime
    provisional: bool
    districts_version: str
    schemes: list[SchemeView]


class IndicatorList(BaseModel):
    """Every figure of one service."""

    indicators: list[IndicatorView]


def as_json(content: object) -> bytes:
    """Plain data and instants as JSON."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


async def shown(ctx: Ctx[Any], indicator: Indicator, evaluations: Mapping[str, Evaluation]) -> View:
    """A figure with its districts and what was published of its day by then."""
    head = evaluations[indicator.headline.id]
    async with ctx.db.read() as tx:
        published = {
            each.id: await store.newest(tx, indicator.name, each.id, head.moment.on, known_by=head.moment.known_at)
            for each in indicator.schemes
        }
    return {
        "name": indicator.name,
        "title": indicator.title,
        "title_zh": indicator.title_zh,
        "unit": indicator.unit,
        "source": indicator.source,
        "formula": indicator.formula_text,
        "formula_version": head.formula_version,
        "target": target_view(indicator),
        "deadline": indicator.deadline,
        "better": indicator.better,
        "on": head.moment.on,
        "at": head.moment.at,
        "known_at": head.moment.known_at,
        "provisional": head.provisional,
        "districts_version": head.districts_version,
        "schemes": [_scheme(ctx, each, evaluations[each.id], published[each.id]) for each in indicator.schemes],
    }


def in_list(view: View) -> View:
    """As a list of figures has it: without districts."""
    return {**view, "schemes": [{**each, "districts": None} for each in view["schemes"]]}


async def trends(tx: Tx, view: View, first: date, last: date) -> Trends:
    """The newest published figure of each day between two, by scheme."""
    schemes = [each["id"] for each in view["schemes"]]
    return {scheme: [_trend_point(day) for day in await store.history(tx, view["name"], scheme, first, last)] for scheme in schemes}


def with_trends(view: View, of: Trends) -> View:
    """A figure with how it went, scheme by scheme."""
    return {**view, "schemes": [{**each, "trend": of[each["id"]]} for each in view["schemes"]]}


def _trend_point(of: Published) -> Mapping[str, object]:
    figure = figure_view(of.total)
    return {"on": of.on, **{name: figure[name] for name in ("numerator", "denominator", "value")}}


def _scheme(ctx: Ctx[Any], scheme: Scheme, of: Evaluation, published: Published | None) -> dict[str, object]:
    return {
        "id": scheme.id,
        "title": scheme.title,
        "title_zh": scheme.title_zh,
        "source": scheme.source,
        "missing": of.missing,
        **figure_view(of.total),
        "published": None if published is None else published_view(published),
        "districts": [_district(ctx, name, figure) for name, figure in of.by_district.items()],
    }


def _district(ctx: Ctx[Any], district_id: str, figure: Figure) -> Mapping[str, object]:
    known = ctx.districts.get(district_id)
    names = {"name": known.name if known else None, "name_en": known.name_en if known else None}
    return {"id": district_id or None, **names, **figure_view(figure)}


def published_view(of: Published) -> Mapping[str, object]:
    return {**figure_view(of.total), "on": of.on, "known_at": of.known_at, "formula_version": of.formula_version}


def target_view(indicator: Indicator) -> Mapping[str, int]:
    return {"numerator": indicator.target.numerator, "denominator": indicator.target.denominator}


def figure_view(figure: Figure) -> dict[str, object]:
    """A figure as it is shown: the quotient with six decimals beside the exact integers."""
    value = figure.value
    shown = None if value is None else Decimal(value.numerator) / Decimal(value.denominator)
    return {
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "value": None if shown is None else str(shown.quantize(SHOWN_DIGITS, ROUND_HALF_EVEN)),
        "status": figure.status,
        "gap": figure.gap,
    }
