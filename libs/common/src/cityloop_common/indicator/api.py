"""Figures over HTTP: what they say, by district, the rows behind them, and how they went."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from cityloop_common import auth, http
from cityloop_common.auth import Role
from cityloop_common.clock import city_day, instant
from cityloop_common.context import Ctx
from cityloop_common.errors import Invalid
from cityloop_common.indicator import store
from cityloop_common.indicator.domain import DAYS, Evaluation, Figure, Indicator, Row, Scheme, UnknownIndicator
from cityloop_common.indicator.evaluating import Evaluator, When
from cityloop_common.indicator.store import Published
from cityloop_common.ratelimit import By, limit

SHOWN_DIGITS = Decimal("0.000001")
MOST_ROWS = 1_000
MOST_DAYS = 800
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
Context = Annotated[Ctx[Any], Depends(http.current_ctx)]
Name = Annotated[str, Path(max_length=60)]


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("an RFC 3339 text with a time zone")
    try:
        return instant(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("an RFC 3339 instant with a time zone") from error


Day = Annotated[date, Field(ge=DAYS[0], le=DAYS[1])]
OnDay = Annotated[Day | None, Query(description="Local day; today when left out.")]
KnownAt = Annotated[
    Annotated[datetime, BeforeValidator(_instant)] | None,
    Query(
        description="As known at this instant; within the last minute the answer is provisional. The latest closed instant when left out."
    ),
]
FormulaVersion = Annotated[int | None, Query(ge=1, le=1000, description="An earlier version of the formula.")]
SchemeId = Annotated[str | None, Query(max_length=40)]


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


class SchemeView(FigureView):
    """One way to count; `published` is the newest published figure of that day."""

    id: str
    title: str
    title_zh: str
    source: str
    missing: str | None
    published: PublishedView | None
    districts: list[DistrictView] | None = None


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


class RowView(BaseModel):
    """What one counted thing gives to the figure."""

    key: str
    district: str | None
    numerator: int
    denominator: int
    why: str
    evidence: dict[str, Any]


class RowPage(BaseModel):
    """Rows by key; numerator and denominator of the whole figure beside them."""

    name: str
    scheme: str
    on: date
    known_at: datetime
    provisional: bool
    total: FigureView | None
    rows: list[RowView]
    row_count: int
    next_cursor: str | None = None


class HistoryView(BaseModel):
    """The newest published figure of each day."""

    name: str
    scheme: str
    unit: str
    target: TargetView
    days: list[PublishedView]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a figure: of all or of one district, behind a key, how many at most."""

    district: str | None
    cursor: str
    limit: int


async def kept_evaluations(request: Request) -> Evaluator:
    """The replica's evaluations (`app.state.evaluator`), made at the first question."""
    state = request.app.state
    if not hasattr(state, "evaluator"):
        state.evaluator = Evaluator()
    found: Evaluator = state.evaluator
    return found


Kept = Annotated[Evaluator, Depends(kept_evaluations)]


class Named:
    """The figures of a service by name."""

    def __init__(self, indicators: Sequence[Indicator]) -> None:
        self.all = tuple(indicators)
        self._by_name = {each.name: each for each in indicators}

    def get(self, name: str) -> Indicator:
        """Raises UnknownIndicator."""
        if name not in self._by_name:
            raise UnknownIndicator(f"Known are {', '.join(sorted(self._by_name))}.")
        return self._by_name[name]


def router(indicators: Sequence[Indicator]) -> APIRouter:
    """The routes of a service's figures."""
    routes, named = APIRouter(tags=["indicators"]), Named(indicators)
    _add_figures(routes, named)
    _add_rows(routes, named)
    _add_history(routes, named)
    return routes


_ANYONE = [Depends(auth.public), Depends(limit("indicators", per_minute=120, by=By.NETWORK))]


def _add_figures(routes: APIRouter, named: Named) -> None:
    @routes.get("/indicators", response_model=IndicatorList, dependencies=_ANYONE, summary="Every figure")
    async def all_of(ctx: Context, evaluator: Kept, on: OnDay = None, known_at: KnownAt = None) -> Response:
        """What each figure says, scheme by scheme, with target, gap and what was published."""
        shown = [await _shown(ctx, evaluator, each, When(on, known_at)) for each in named.all]
        return http.json_response({"indicators": shown}, headers=_CACHED if known_at is None else None)

    @routes.get("/indicators/{name}", response_model=IndicatorView, dependencies=_ANYONE, summary="One figure")
    async def one_of(
        ctx: Context, evaluator: Kept, name: Name, on: OnDay = None, known_at: KnownAt = None, formula_version: FormulaVersion = None
    ) -> Response:
        """One figure with its districts, of a day and as known at an instant."""
        shown = await _shown(ctx, evaluator, named.get(name), When(on, known_at, formula_version), districts=True)
        return http.json_response(shown)


def _add_rows(routes: APIRouter, named: Named) -> None:
    @routes.get(
        "/indicators/{name}/rows",
        response_model=RowPage,
        dependencies=[Depends(auth.allow(Role.OFFICER, Role.CITY_ADMIN))],
        summary="The rows behind a figure",
    )
    async def rows_of(
        ctx: Context,
        evaluator: Kept,
        request: Request,
        name: Name,
        on: OnDay = None,
        known_at: KnownAt = None,
        formula_version: FormulaVersion = None,
        scheme: SchemeId = None,
        district: Annotated[str | None, Query(max_length=80, description="Only what lies in this district; empty: in none.")] = None,
        cursor: Annotated[str, Query(max_length=400, description="`next_cursor` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 200,
    ) -> Response:
        """What each counted thing gives to it; the rows' sums are the figure. `Accept: text/csv` answers all of them as CSV."""
        indicator = named.get(name)
        found = (await evaluator.evaluate(ctx, indicator, When(on, known_at, formula_version)))[indicator.scheme(scheme).id]
        wanted = Wanted(district, cursor, limit)
        if "text/csv" in request.headers.get("accept", ""):
            return _csv(found, wanted)
        return http.json_response(_page(found, wanted))


def _add_history(routes: APIRouter, named: Named) -> None:
    @routes.get("/indicators/{name}/history", response_model=HistoryView, dependencies=_ANYONE, summary="How a figure went")
    async def history_of(
        ctx: Context,
        name: Name,
        scheme: SchemeId = None,
        first: Annotated[Day | None, Query(alias="from", description="First local day; 90 days back when left out.")] = None,
        last: Annotated[Day | None, Query(alias="to", description="Last local day; today when left out.")] = None,
    ) -> Response:
        """The newest published figure of each day."""
        indicator = named.get(name)
        until = last or city_day(ctx.clock.now())
        since = first or max(DAYS[0], until - timedelta(days=90))
        if not 0 <= (until - since).days <= MOST_DAYS:
            raise Invalid(f"`from` lies at most {MOST_DAYS} days before `to`.")
        chosen = indicator.scheme(scheme)
        async with ctx.db.read() as tx:
            days = await store.history(tx, indicator.name, chosen.id, since, until)
        body = {"name": indicator.name, "scheme": chosen.id, "unit": indicator.unit, "target": _target(indicator)}
        return http.json_response({**body, "days": [_published(each) for each in days]})


_CACHED = {"cache-control": "public, max-age=5"}


async def _shown(ctx: Ctx[Any], evaluator: Evaluator, indicator: Indicator, when: When, *, districts: bool = False) -> Mapping[str, object]:
    evaluations = await evaluator.evaluate(ctx, indicator, when)
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
        "target": _target(indicator),
        "deadline": indicator.deadline,
        "better": indicator.better,
        "on": head.moment.on,
        "at": head.moment.at,
        "known_at": head.moment.known_at,
        "provisional": head.provisional,
        "districts_version": head.districts_version,
        "schemes": [
            _scheme(ctx, each, evaluations[each.id], published[each.id]) | ({} if districts else {"districts": None})
            for each in indicator.schemes
        ],
    }


def _scheme(ctx: Ctx[Any], scheme: Scheme, of: Evaluation, published: Published | None) -> dict[str, object]:
    return {
        "id": scheme.id,
        "title": scheme.title,
        "title_zh": scheme.title_zh,
        "source": scheme.source,
        "missing": of.missing,
        **figure_view(of.total),
        "published": None if published is None else _published(published),
        "districts": [_district(ctx, name, figure) for name, figure in of.by_district.items()],
    }


def _district(ctx: Ctx[Any], district_id: str, figure: Figure) -> Mapping[str, object]:
    known = ctx.districts.get(district_id)
    names = {"name": known.name if known else None, "name_en": known.name_en if known else None}
    return {"id": district_id or None, **names, **figure_view(figure)}


def _published(of: Published) -> Mapping[str, object]:
    return {**figure_view(of.total), "on": of.on, "known_at": of.known_at, "formula_version": of.formula_version}


def _target(indicator: Indicator) -> Mapping[str, int]:
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


def _selected(of: Evaluation, wanted: Wanted) -> list[Row]:
    return [row for row in of.rows if wanted.district is None or (row.district or "") == wanted.district]


def _page(of: Evaluation, wanted: Wanted) -> Mapping[str, object]:
    selected = _selected(of, wanted)
    rest = [row for row in selected if row.key > wanted.cursor]
    shown = rest[: wanted.limit]
    total = of.total if wanted.district is None else of.by_district.get(wanted.district)
    return {
        "name": of.indicator,
        "scheme": of.scheme,
        "on": of.moment.on,
        "known_at": of.moment.known_at,
        "provisional": of.provisional,
        "total": None if total is None else figure_view(total),
        "rows": [_row(row) for row in shown],
        "row_count": len(selected),
        "next_cursor": shown[-1].key if len(rest) > len(shown) else None,
    }


def _row(row: Row) -> Mapping[str, object]:
    return {
        "key": row.key,
        "district": row.district,
        "numerator": row.numerator,
        "denominator": row.denominator,
        "why": row.why,
        "evidence": row.evidence,
    }


def _csv(of: Evaluation, wanted: Wanted) -> Response:
    selected = _selected(of, wanted)
    names = sorted({name for row in selected for name in row.evidence})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["key", "district", "numerator", "denominator", "why", *names])
    for row in selected:
        told = [_cell(row.evidence.get(name)) for name in names]
        writer.writerow([_cell(row.key), _cell(row.district), row.numerator, row.denominator, row.why, *told])
    name = f"{of.indicator}-{of.scheme}-{of.moment.on}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
