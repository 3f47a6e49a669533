"""How commands speak: tables or JSON, progress with an ETA, errors in one line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cityloop_common.context import Ctx
from cityloop_common.errors import CityLoopError
from cityloop_common.parts import Ports, build_ctx, close_ports, open_ports
from cityloop_common.service import Service, installed_services
from cityloop_common.settings import SettingsError, SharedSettings, load, refuse_unknown

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def fail(text: str, code: int = 1) -> NoReturn:
    """Ends the command with one clear message."""
    err.print(f"[red]error:[/red] {text}", markup=True, soft_wrap=True)
    raise typer.Exit(code)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine; what the user can understand becomes one line, Ctrl-C ends with 130."""
    try:
        return asyncio.run(work)
    except SettingsError as error:
        fail(str(error), 2)
    except CityLoopError as error:
        fail(f"{error.title}: {error.detail}" if error.detail else error.title)
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(130) from None


def shared_settings() -> SharedSettings:
    """The shared settings, after refusing misspelt ones."""
    refuse_unknown([SharedSettings, *(service.settings for service in installed_services())])
    return load(SharedSettings)


def service_named(name: str) -> Service:
    """An installed service. Ends the command when there is none of that name."""
    services = {service.name: service for service in installed_services()}
    if name not in services:
        fail(f"no service {name!r}; installed: {', '.join(services) or 'none'}")
    return services[name]


def services_at_hand() -> list[Service]:
    """The services whose databases the settings name.

    Where one has its PostgreSQL and another no address, as in the container of one service, the other is left out and named: the
    SQLite file that it would have by default is nobody's.
    """
    services = installed_services()
    shared = shared_settings()
    addresses = [load(service.settings, shared=shared).database_url for service in services]
    if not any(address.startswith("postgres") for address in addresses):
        return list(services)
    for service, address in zip(services, addresses, strict=True):
        if not address:
            err.print(f"CITYLOOP_{service.name.upper()}_DATABASE_URL is not set: {service.name} is left out", soft_wrap=True)
    return [service for service, address in zip(services, addresses, strict=True) if address]


@asynccontextmanager
async def opened_ports() -> AsyncIterator[tuple[SharedSettings, Ports]]:
    """The process's ports by the settings, closed afterwards."""
    shared = shared_settings()
    ports = open_ports(shared)
    try:
        yield shared, ports
    finally:
        await close_ports(ports)


@asynccontextmanager
async def opened(service: Service) -> AsyncIterator[Ctx[Any]]:
    """The context of one service by the settings, closed afterwards."""
    async with opened_ports() as (shared, ports):
        ctx = build_ctx(service, shared, ports)
        try:
            yield ctx
        finally:
            await ctx.db.close()


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE, default=str))
    sys.stdout.flush()


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, title: str = "") -> None:
    """A table; an empty one says so."""
    if not rows:
        out.print(f"{title}: nothing" if title else "nothing")
        return
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    out.print(table)


def show(columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, as_json: bool, title: str = "") -> None:
    """A table for people, or the same rows as JSON."""
    if as_json:
        print_json(list(rows))
    else:
        print_rows(columns, rows, title=title)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar on standard error with count, elapsed time and ETA; call it with (done, total, note)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=err, transient=not err.is_terminal) as bar:
        task = bar.add_task(label, total=None, note="")

        def advance(done: int, total: int | None, note: str) -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield advance
