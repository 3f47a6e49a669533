"""`cityloop charging import`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cityloop_charging.opening import opened_charging
from cityloop_charging.operators.domain import NOBODY, is_operator_id
from cityloop_charging.registry import locations_csv
from cityloop_charging.registry.domain import FileTooLarge, ImportReport, UnreadableFile
from cityloop_charging.registry.use_cases import city_bounds, import_locations
from cityloop_common import geo
from cityloop_common.geo import Bounds
from cityloop_common.terminal import AsJson, fail, out, print_json, print_rows, progress_bar, run_async


class Format(StrEnum):
    """Files that can be imported."""

    LOCATIONS = "locations"


def import_file(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="What kind of file it is.")],
    datum: Annotated[str | None, typer.Option(help="Datum of its coordinates: wgs84, gcj02, bd09.")] = None,
    operator: Annotated[
        str | None, typer.Option(help="OperatorID that the stations belong to; nobody's (000000000) when left out.", metavar="ID")
    ] = None,
    bounds: Annotated[
        str | None, typer.Option(help="Box (WGS-84) that the file lies in; the city's when left out.", metavar="W,S,E,N")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Imports charging stations into the service's database, whether a server runs or not; twice is the same as once."""
    assert format is Format.LOCATIONS
    if operator is not None and not is_operator_id(operator):
        fail("--operator has 9 capital letters and digits", 2)
    report = run_async(_import(file, datum, operator or NOBODY, None if bounds is None else _box(bounds)))
    if as_json:
        print_json(report)
        return
    out.print(
        f"read {report.read}, accepted {report.accepted}, unchanged {report.unchanged}, rejected {len(report.rejected)};"
        f" {report.evses} charging points"
    )
    if report.rejected:
        rows = [{"row": each.row, "id": each.id, "reason": each.reason} for each in report.rejected]
        print_rows(("row", "id", "reason"), rows, title="rejected")


async def _import(file: Path, datum: str | None, operator_id: str, bounds: Bounds | None) -> ImportReport:
    source = geo.datum(datum)
    data = _bytes(file)
    async with opened_charging() as ctx:
        verdicts = locations_csv.read(data, datum=source, operator_id=operator_id, city=city_bounds(ctx), bounds=bounds)
        with progress_bar(f"import {file.name}") as advance:
            return await import_locations(ctx, verdicts, progress=lambda done: advance(done, len(verdicts), ""))


def _box(text: str) -> Bounds:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        fail("--bounds is four numbers: W,S,E,N", 2)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        fail("--bounds is west, south, east, north in degrees, west and south first", 2)
    return Bounds(west, south, east, north)


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > locations_csv.MOST_BYTES:
            raise FileTooLarge(f"A file has at most {locations_csv.MOST_BYTES // 1_000_000} MB.")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror or error}.") from error
