"""`cityloop parking ...`: the service's own commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cityloop_common import geo
from cityloop_common.errors import Unavailable
from cityloop_common.migrating import behind
from cityloop_common.settings import Sample
from cityloop_common.terminal import (
    AsJson,
    err,
    fail,
    opened,
    out,
    print_json,
    print_rows,
    progress_bar,
    run_async,
    service_named,
    shared_settings,
)
from cityloop_parking import sample
from cityloop_parking.availability.cli import evaluate_forecast
from cityloop_parking.observations.cli import replay
from cityloop_parking.places import taipei
from cityloop_parking.places.domain import FileTooLarge, ImportReport, UnreadableFile, Verdict
from cityloop_parking.places.use_cases import import_places

app = typer.Typer()
app.command("replay")(replay)
app.command("evaluate-forecast")(evaluate_forecast)
_ID_MARKS = "-._"


class Format(StrEnum):
    """Files that can be imported."""

    TAIPEI = "taipei"


_READERS: Mapping[Format, tuple[Callable[..., list[Verdict]], geo.Datum]] = {Format.TAIPEI: (taipei.read, taipei.DATUM)}


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="What kind of file it is.")],
    datum: Annotated[str | None, typer.Option(help="Datum of its coordinates; the format's own when left out.")] = None,
    operator: Annotated[str | None, typer.Option(help="Operator that the car parks belong to.", metavar="ID")] = None,
    as_json: AsJson = False,
) -> None:
    """Imports car parks into the service's database, whether a server runs or not; twice is the same as once."""
    if operator is not None and not (0 < len(operator) <= 64 and all(char.isalnum() or char in _ID_MARKS for char in operator)):
        fail("--operator has 1 to 64 letters, digits, dots, dashes and underscores", 2)
    report = run_async(_import(file, format, datum, operator))
    if as_json:
        print_json(report)
        return
    out.print(f"read {report.read}, accepted {report.accepted}, unchanged {report.unchanged}, rejected {len(report.rejected)}")
    if report.rejected:
        rows = [{"row": each.row, "id": each.id, "reason": each.reason} for each in report.rejected]
        print_rows(("row", "id", "reason"), rows, title="rejected")


@app.command("silence")
def silence(
    names: Annotated[list[str] | None, typer.Argument(help="Sources or car parks; none: all count again.", metavar="[NAME]...")] = None,
) -> None:
    """Cuts off sources of the live sample city, as if they were dead: `sample-cameras`, `sample-001`. Without a name all count again."""
    given = frozenset(names or ())
    if unknown := given - sample.known_names():
        sources = ", ".join(sorted(sample.SOURCES.values()))
        fail(f"{', '.join(sorted(unknown))}: no source of the sample city ({sources}) and no car park of it that is counted", 2)
    shared = shared_settings()
    sample.silence(shared.var, given)
    if shared.sample is not Sample.LIVE or not (shared.var / "lock").exists():
        err.print(f"[yellow]warning:[/yellow] no live sample city runs on {shared.var}/ by these settings; only one would follow this")
    out.print(f"silent from the next count on: {', '.join(sorted(given))}" if given else "all count again")


async def _import(file: Path, format: Format, datum: str | None, operator: str | None) -> ImportReport:
    read, own_datum = _READERS[format]
    verdicts = read(_bytes(file), datum=own_datum if datum is None else geo.datum(datum))
    service = service_named("parking")
    async with opened(service) as ctx:
        if await behind(ctx.db, service.migrations):
            raise Unavailable("The database lacks its schema; run: cityloop parking migrate")
        with progress_bar(f"import {file.name}") as advance:
            return await import_places(ctx, verdicts, operator_id=operator, progress=lambda done: advance(done, len(verdicts), ""))


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > taipei.MOST_BYTES:
            raise FileTooLarge(f"A file has at most {taipei.MOST_BYTES // 1_000_000} MB.")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror or error}.") from error
