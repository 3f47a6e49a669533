"""Figures over HTTP: what they say, by district, the rows behind them, and how they went."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from cityloop_common import auth, compression, http
from cityloop_common.auth import Role
from cityloop_common.clock import city_day, instant
from cityloop_common.context import Ctx
from cityloop_common.errors import Invalid
from cityloop_common.indicator import store, views
from cityloop_common.indicator.domain import DAYS, Evaluation, Indicator, Row, UnknownIndicator
from cityloop_common.indicator.evaluating import When
from cityloop_common.indicator.present import Known, Present
from cityloop_common.indicator.views import (
    FigureView,
    IndicatorList,
    IndicatorView,
    PublishedView,
    TargetView,
    View,
    figure_view,
    published_view,
    target_view,
)
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit

MOST_ROWS = 1_000
MOST_DAYS = 800
MOST_TREND_DAYS = 366
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
Provisional = Annotated[
    bool,
    Query(
        description="As known now: rows may still appear under it. Not with `known_at`. Of today it is shared by all who ask within "
        "a second, or 5 times what it costs; of another day it is as known at the present whole second."
    ),
]
Beside = Annotated[
    bool, Query(description="With `provisional`: in front of each figure also the one of the latest closed instant, which says so.")
]
Trend = Annotated[int, Query(ge=0, le=MOST_TREND_DAYS, description="Adds to each scheme the newest published figure of so many last days.")]
SchemeId = Annotated[str | None, Query(max_length=40)]


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


async def present_figures(request: Request) -> Present:
    """The replica's present figures (`app.state.figures`), made at the first question where nobody made them before."""
    state = request.app.state
    if not hasattr(state, "figures"):
        state.figures = Present(state.ctx)
    found: Present = state.figures
    return found


Figures = Annotated[Present, Depends(present_figures)]


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


_ANYONE = [Depends(auth.public), Depends(limit("indicators", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))]
_own_question = limit("indicators-asked", per_minute=120, by=By.NETWORK)
"""For an answer that is computed for one who asks: of a day, an instant, a version of the formula."""


def _add_figures(routes: APIRouter, named: Named) -> None:
    @routes.get("/indicators", response_model=IndicatorList, dependencies=_ANYONE, summary="Every figure")
    async def all_of(
        ctx: Context,
        figures: Figures,
        request: Request,
        *,
        on: OnDay = None,
        known_at: KnownAt = None,
        provisional: Provisional = False,
        closed: Beside = False,
        trend: Trend = 0,
    ) -> Response:
        """What each figure says, scheme by scheme, with target, gap and what was published."""
        asked = _asked(ctx, on, known_at, provisional=provisional)
        headers = _PROVISIONAL if provisional else _CACHED if known_at is None else None
        if isinstance(asked, Known):
            known = (Known.CLOSED, asked) if closed and asked is Known.PROVISIONAL else (asked,)
            return await compression.respond(request, await figures.list(named.all, *known, trend_days=trend), headers=headers)
        await _own_question(request)
        shown = [views.in_list(await _one(figures, each, asked)) for each in named.all]
        listed = await figures.with_trends(shown, trend)
        return await compression.respond(request, views.as_json({"indicators": listed}), headers=headers)

    @routes.get("/indicators/{name}", response_model=IndicatorView, dependencies=_ANYONE, summary="One figure")
    async def one_of(
        ctx: Context,
        figures: Figures,
        request: Request,
        name: Name,
        *,
        on: OnDay = None,
        known_at: KnownAt = None,
        formula_version: FormulaVersion = None,
        provisional: Provisional = False,
        trend: Trend = 0,
    ) -> Response:
        """One figure with its districts, of a day and as known at an instant."""
        asked = _asked(ctx, on, known_at, formula_version, provisional=provisional)
        if not isinstance(asked, Known):
            await _own_question(request)
        (shown,) = await figures.with_trends([await _one(figures, named.get(name), asked)], trend)
        return await compression.respond(request, views.as_json(shown))


def _asked(
    ctx: Ctx[Any], on: date | None, known_at: datetime | None, formula_version: int | None = None, *, provisional: bool
) -> Known | When:
    """The present as everybody asks for it, or a question of one's own. Raises Invalid."""
    if provisional and known_at is not None:
        detail = "Leave it out, or `known_at`: provisional is what is known now."
        raise Invalid("One instant at a time.", errors=[{"pointer": "/query/provisional", "detail": detail}])
    now = ctx.clock.now().replace(microsecond=0)
    if known_at is None and formula_version is None and (on is None or (provisional and on == city_day(now))):
        return Known.PROVISIONAL if provisional else Known.CLOSED
    return When(on, now if provisional else known_at, formula_version)


async def _one(figures: Present, indicator: Indicator, asked: Known | When) -> View:
    if isinstance(asked, Known):
        return await figures.view(indicator, asked)
    return await views.shown(figures.ctx, indicator, await figures.evaluator.evaluate(figures.ctx, indicator, asked))


def _add_rows(routes: APIRouter, named: Named) -> None:
    @routes.get(
        "/indicators/{name}/rows",
        response_model=RowPage,
        dependencies=[Depends(auth.allow(Role.OFFICER, Role.CITY_ADMIN))],
        summary="The rows behind a figure",
    )
    async def rows_of(
        ctx: Context,
        figures: Figures,
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
        found = (await figures.evaluator.evaluate(ctx, indicator, When(on, known_at, formula_version)))[indicator.scheme(scheme).id]
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
        body = {"name": indicator.name, "scheme": chosen.id, "unit": indicator.unit, "target": target_view(indicator)}
        return http.json_response({**body, "days": [published_view(each) for each in days]})


_CACHED = {"cache-control": "public, max-age=1"}
_PROVISIONAL = {"cache-control": "no-cache"}


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
