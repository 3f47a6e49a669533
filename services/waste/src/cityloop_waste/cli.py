"""`cityloop waste ...`: the service's own commands."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cityloop_common import geo
from cityloop_common.errors import Unavailable
from cityloop_common.migrating import behind
from cityloop_common.terminal import AsJson, opened, out, print_json, print_rows, progress_bar, run_async, service_named
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import files as fleet_files
from cityloop_waste.fleet import use_cases as fleet
from cityloop_waste.planning.cli import solve, verify
from cityloop_waste.points import files as point_files
from cityloop_waste.points import use_cases as points
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.rows import MOST_BYTES, FileTooLarge, ImportReport, UnreadableFile

app = typer.Typer()
app.command("solve")(solve)
app.command("verify")(verify)
Progress = Callable[[int, int | None, str], None]


class Format(StrEnum):
    """Files that can be imported: CSV; for roads an OSM extract (.osm.pbf) or GeoJSON."""

    POINTS = "points"
    DEPOTS = "depots"
    TRUCKS = "trucks"
    SITES = "sites"
    ROADS = "roads"


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="What is in it.")],
    datum: Annotated[str | None, typer.Option(help="Datum of its coordinates: wgs84, gcj02, bd09 or twd97. Extracts are in wgs84.")] = None,
    as_json: AsJson = False,
) -> None:
    """Imports the registry or the base map into the service's database, whether a server runs or not; twice is the same as once."""
    report = run_async(_import(file, format, datum))
    if as_json:
        print_json(report)
        return
    out.print(f"read {report.read}, accepted {report.accepted}, unchanged {report.unchanged}, rejected {len(report.rejected)}")
    if report.rejected:
        rows = [{"row": each.row, "id": each.id, "reason": each.reason} for each in report.rejected]
        print_rows(("row", "id", "reason"), rows, title="rejected")


async def _import(file: Path, format: Format, datum: str | None) -> ImportReport:
    extract = format is Format.ROADS and roads.is_extract(file)
    data = b"" if extract else _bytes(file, roads.MOST_BYTES if format is Format.ROADS else MOST_BYTES)
    service = service_named("waste")
    async with opened(service) as ctx:
        if await behind(ctx.db, service.migrations):
            raise Unavailable("The database lacks its schema; run: cityloop waste migrate")
        with progress_bar(f"import {file.name}") as advance:
            if extract:
                return await import_extract(ctx, file, datum=datum, advance=advance)
            return await import_data(ctx, data, format, datum=datum, advance=advance)


async def import_data(ctx: WasteCtx, data: bytes, format: Format, *, datum: str | None, advance: Progress) -> ImportReport:
    """Reads and stores one file. Raises UnreadableFile, FileTooLarge, InvalidRoads, and BadPosition without the datum it needs."""
    within = geo.Bounds(*ctx.settings.shared.city_bounds)
    if format is Format.TRUCKS:
        trucks = fleet_files.read_trucks(data)
        return await fleet.import_trucks(ctx, trucks, progress=_told(advance, len(trucks)))
    source = geo.datum(datum)
    if format is Format.ROADS:
        return await _keep(ctx, roads.read(data, datum=source, within=within))
    if format is Format.POINTS:
        found = point_files.read(data, datum=source, within=within)
        return await points.import_points(ctx, found, progress=_told(advance, len(found)))
    if format is Format.DEPOTS:
        depots = fleet_files.read_depots(data, datum=source, within=within)
        return await fleet.import_depots(ctx, depots, progress=_told(advance, len(depots)))
    sites = fleet_files.read_sites(data, datum=source, within=within)
    return await fleet.import_sites(ctx, sites, progress=_told(advance, len(sites)))


async def import_extract(ctx: WasteCtx, file: Path, *, datum: str | None, advance: Progress) -> ImportReport:
    """Reads and stores the roads of an OSM extract. Raises InvalidRoads, FileTooLarge."""
    within = geo.Bounds(*ctx.settings.shared.city_bounds)
    return await _keep(ctx, roads.read_extract(file, datum=datum, within=within, advance=advance))


async def _keep(ctx: WasteCtx, base_map: roads.BaseMap) -> ImportReport:
    changed = await roads.import_map(ctx, base_map)
    return ImportReport(base_map.roads, base_map.roads if changed else 0, 0 if changed else base_map.roads, ())


def _told(advance: Progress, total: int) -> Callable[[int], Any]:
    return lambda done: advance(done, total, "")


def _bytes(file: Path, most: int) -> bytes:
    try:
        if file.stat().st_size > most:
            raise FileTooLarge(f"A file has at most {most // 1_000_000} MB.")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror or error}.") from error
