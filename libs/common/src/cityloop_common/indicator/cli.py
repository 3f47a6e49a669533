"""`cityloop <service> recompute`: a figure again from the rows, beside what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityloop_common.clock import instant, rfc3339
from cityloop_common.context import Ctx
from cityloop_common.errors import Invalid, Unavailable
from cityloop_common.indicator import store
from cityloop_common.indicator.domain import Evaluation, Indicator, UnknownIndicator
from cityloop_common.indicator.evaluating import When, asked, evaluate
from cityloop_common.indicator.store import Published
from cityloop_common.indicator.views import figure_view
from cityloop_common.migrating import behind
from cityloop_common.terminal import AsJson, fail, opened, out, print_json, print_rows, run_async

if TYPE_CHECKING:
    from cityloop_common.service import Service


def register(app: typer.Typer, service: Service) -> None:
    """Adds `recompute` to a service that has figures."""
    known = ", ".join(each.name for each in service.indicators)

    @app.command("recompute", help=f"Computes a figure ({known}) again from its rows and compares it with what was published.")
    def recompute(
        name: Annotated[str, typer.Argument(help="Which figure.")],  # typer evaluates annotations: no variable of `register` in them
        on: Annotated[str, typer.Option("--on", help="Local day.", metavar="DATE")] = "",
        known_at: Annotated[
            str, typer.Option(help="As known at this instant; the latest closed one when left out.", metavar="INSTANT")
        ] = "",
        scheme: Annotated[str | None, typer.Option(help="Scheme; the headline when left out.")] = None,
        formula: Annotated[
            int | None, typer.Option(help="Version of the formula; that of the published figure, else the present one, when left out.")
        ] = None,
        rows: Annotated[bool, typer.Option("--rows", help="With the rows behind it.")] = False,
        as_json: AsJson = False,
    ) -> None:
        found = run_async(_recompute(service, name, _when(on, known_at, formula), scheme))
        body = _body(*found, rows=rows)
        if as_json:
            print_json(body)
        else:
            _tell(body)
        if body["equals_published"] is False:
            raise typer.Exit(1)


def _when(on: str, known_at: str, formula: int | None) -> When:
    try:
        return When(date.fromisoformat(on) if on else None, instant(known_at) if known_at else None, formula)
    except ValueError as error:
        fail(f"--on is a date, --known-at an RFC 3339 instant with a zone: {error}", 2)


async def _recompute(service: Service, name: str, when: When, scheme_id: str | None) -> tuple[Evaluation, Published | None, Indicator]:
    indicator = next((each for each in service.indicators if each.name == name), None)
    if indicator is None:
        raise UnknownIndicator(f"Known are {', '.join(each.name for each in service.indicators)}.")
    scheme = indicator.scheme(scheme_id)
    async with opened(service) as ctx:
        if await behind(ctx.db, service.migrations):
            raise Unavailable(f"The database lacks its schema; run: cityloop {service.name} migrate")
        return await _both(ctx, indicator, scheme.id, when)


async def _both(ctx: Ctx[Any], indicator: Indicator, scheme_id: str, when: When) -> tuple[Evaluation, Published | None, Indicator]:
    ask = asked(ctx, indicator, when)
    if ask.provisional and when.known_at is not None:
        raise Invalid("known_at is less than a minute ago: rows may still appear under it.")
    async with ctx.db.read() as tx:
        published = await store.at(tx, indicator.name, scheme_id, ask.moment.on, ask.moment.known_at)
    if published is not None and when.formula_version is None:  # what was published is computed again as it was
        ask = replace(ask, formula_version=published.formula_version)
    evaluation = (await evaluate(ctx, indicator, ask))[scheme_id]
    return evaluation, published, indicator


def _body(of: Evaluation, published: Published | None, indicator: Indicator, *, rows: bool) -> Mapping[str, Any]:
    equal = None
    if published is not None and published.formula_version == of.formula_version:
        parts = {each.id: each.figure for each in published.by_district}
        equal = (published.total, parts) == (of.total, dict(of.by_district))
    body: dict[str, Any] = {
        "name": of.indicator,
        "scheme": of.scheme,
        "on": of.moment.on.isoformat(),
        "known_at": rfc3339(of.moment.known_at),
        "formula_version": of.formula_version,
        "unit": indicator.unit,
        **figure_view(of.total),
        "missing": of.missing,
        "districts_version": of.districts_version if published is None else published.districts_version,
        "districts": [{"id": name or None, **figure_view(figure)} for name, figure in of.by_district.items()],
        "row_count": len(of.rows),
        "published": None if published is None else {**figure_view(published.total), "formula_version": published.formula_version},
        "equals_published": equal,
    }
    if rows:
        body["rows"] = list(of.rows)
    return body


def _tell(body: Mapping[str, Any]) -> None:
    said = "no data" if body["value"] is None else f"{body['numerator']} / {body['denominator']} = {body['value']}"
    out.print(
        f"{body['name']} ({body['scheme']}) on {body['on']}, known at {body['known_at']}: {said}, {body['status']}, gap {body['gap']}"
    )
    if body["published"] is not None:
        verdict = {True: "the same", False: "NOT the same", None: "by another version of the formula"}[body["equals_published"]]
        out.print(f"published then: {body['published']['numerator']} / {body['published']['denominator']}: {verdict}")
    if "rows" in body:
        rows = [
            {"key": row.key, "district": row.district, "n": row.numerator, "d": row.denominator, "why": row.why} for row in body["rows"]
        ]
        print_rows(("key", "district", "n", "d", "why"), rows, title="rows")
