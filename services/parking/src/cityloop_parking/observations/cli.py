"""`cityloop parking replay`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from cityloop_common.auth import Role, peek
from cityloop_common.clock import Clock, SystemClock
from cityloop_common.errors import Unauthenticated
from cityloop_common.issuer import KEY_FILE, MAX_TTL, DevIssuer, IssuerRefused
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
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
    token: Annotated[
        str, typer.Option(help=f"Token of a lot operator; one of the development issuer for {birmingham.SOURCE} when left out.")
    ] = "",
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
        f" {len(report.rejected)} rejected; {report.places} car parks, {report.places_created} of them new"
    )
    if report.reasons:
        rows = [{"rows": count, "reason": reason} for reason, count in report.reasons]
        print_rows(("rows", "reason"), rows, title="not taken")


async def _replay(file: Path, format: Format, token: str, url: str, speed: float | None) -> Report:
    shared, clock = shared_settings(), SystemClock()
    token = token or _own_token(shared, clock)
    operator = peek(token)[1].get(shared.operator_claim)
    if not isinstance(operator, str) or not operator:
        raise Unauthenticated("The token names no operator: cityloop token --role lot_operator --operator ID")
    rows, bad = _READERS[format](_bytes(file))
    async with _client(url, shared, token) as client:
        with progress_bar(f"replay {file.name}") as advance:
            run = Replay(client, clock, operator_id=operator, progress=advance)
            return await run.run(rows, bad, partial(_timetable, rows, speed, clock))


def _own_token(shared: SharedSettings, clock: Clock) -> str:
    """A token of the development issuer whose key lies in CITYLOOP_VAR; a key is not made for it."""
    folder = shared.var / "keys"
    if not (folder / KEY_FILE).exists():
        fail(f"no development issuer has its key in {folder}: give --token", 2)
    try:
        own = DevIssuer(folder, environment=shared.environment, issuer=shared.issuer, audience=shared.audience, clock=clock, rng=Rng())
    except IssuerRefused as error:
        fail(str(error), 2)
    return own.mint(Role.LOT_OPERATOR, operator_id=birmingham.SOURCE, ttl=MAX_TTL)


def _client(url: str, shared: SharedSettings, token: str) -> httpx.AsyncClient:
    """A client of the service; a proxy is asked only for an address that was given."""
    address = url or f"http://127.0.0.1:{shared.port}"
    try:
        if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
            fail(f"--url {address!r} is not an address: http://host:port", 2)
        headers = {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=address, headers=headers, timeout=REQUEST_WITHIN_S, trust_env=bool(url))
    except (httpx.InvalidURL, ValueError) as error:
        fail(f"--url or --token cannot be used: {error}", 2)


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
