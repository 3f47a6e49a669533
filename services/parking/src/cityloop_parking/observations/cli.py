"""`cityloop parking replay`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from cityloop_common.auth import peek
from cityloop_common.clock import Clock, SystemClock
from cityloop_common.errors import Unauthenticated
from cityloop_common.terminal import AsJson, fail, out, print_json, print_rows, progress_bar, run_async, shared_settings
from cityloop_parking.observations import birmingham
from cityloop_parking.observations.birmingham import BadRow, CountRow
from cityloop_parking.observations.replay import REQUEST_WITHIN_S, Replay, Report, Timetable, backfilled, compressed
from cityloop_parking.places.domain import FileTooLarge, UnreadableFile


class Format(StrEnum):
    """Files that can be replayed."""

    BIRMINGHAM = "birmingham"


_READERS: Mapping[Format, Callable[[bytes], tuple[list[CountRow], list[BadRow]]]] = {Format.BIRMINGHAM: birmingham.read}


def replay(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="What kind of file it is.")],
    token: Annotated[str, typer.Option(help="Token of a lot operator.")],
    speed: Annotated[float, typer.Option(min=0.001, max=1e9, help="How many times faster than it happened, from now on.")] = 1.0,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Keep the spacing with the last row = now, and send as fast as it goes.")
    ] = False,
    url: Annotated[str, typer.Option(help="Where the service is; this machine's own port when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Sends the counts of a file through the service's HTTP. Car parks that are missing are made at invented, marked positions."""
    if backfill and speed != 1.0:
        fail("--backfill keeps the spacing of the file: leave out --speed", 2)
    report = run_async(_replay(file, format, token.strip(), url, None if backfill else speed))
    if as_json:
        print_json(report.view())
        return
    out.print(
        f"{report.rows} rows in {report.seconds:.1f} s: {report.current} current, {report.superseded} superseded,"
        f" {report.rejected} rejected, {report.unreadable} unreadable; {report.places} car parks, {report.places_created} of them new"
    )
    if report.reasons:
        rows = [{"rows": count, "reason": reason} for reason, count in report.reasons.most_common()]
        print_rows(("rows", "reason"), rows, title="not taken")


async def _replay(file: Path, format: Format, token: str, url: str, speed: float | None) -> Report:
    shared = shared_settings()
    operator = peek(token)[1].get(shared.operator_claim)
    if not isinstance(operator, str) or not operator:
        raise Unauthenticated("The token names no operator: cityloop token --role lot_operator --operator ID")
    rows, bad = _READERS[format](_bytes(file))
    clock: Clock = SystemClock()
    try:
        client = httpx.AsyncClient(
            base_url=url or f"http://127.0.0.1:{shared.port}", headers={"authorization": f"Bearer {token}"}, timeout=REQUEST_WITHIN_S
        )
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        fail(f"--url or --token cannot be used: {error}", 2)
    async with client:
        with progress_bar(f"replay {file.name}") as advance:
            run = Replay(client, clock, operator_id=operator, progress=advance)
            return await run.run(rows, bad, partial(_timetable, rows, speed, clock))


def _timetable(rows: list[CountRow], speed: float | None, clock: Clock) -> Timetable:
    """Made when the sending begins; without a speed it looks back."""
    return backfilled(rows, now=clock.now()) if speed is None else compressed(rows, speed=speed, now=clock.now())


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > birmingham.MOST_BYTES:
            raise FileTooLarge(f"A file has at most {birmingham.MOST_BYTES // 1_000_000} MB.")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror or error}.") from error
