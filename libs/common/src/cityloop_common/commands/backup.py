"""`cityloop backup` and `restore`: a whole city at one instant, while it runs, and such a city again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer
from sqlalchemy.engine import make_url

from cityloop_common.backup import BackupError, Manifest, embedded, postgres, restoring
from cityloop_common.backup.draft import Progress, megabytes, refuse_taken
from cityloop_common.clock import SystemClock, rfc3339
from cityloop_common.districts import from_settings
from cityloop_common.service import Service, installed_services
from cityloop_common.settings import SettingsError, SharedSettings, load
from cityloop_common.terminal import AsJson, err, fail, out, print_json, progress_bar, run_async, shared_settings

T = TypeVar("T")
RUNBOOK = "docs/operations.md#backup-and-restore"


def backup(
    dest: Annotated[Path, typer.Argument(help="Folder that the backup becomes; it must not be there yet.", metavar="DEST")],
    metrics_file: Annotated[
        Path | None, typer.Option(help="Also writes when the last backup was made, for Prometheus' textfile collector.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copies everything that this CityLoop knows, as it was at one instant, while it runs."""
    with _told():
        refuse_taken(dest)
        shared = shared_settings()
        services = {service.name: service for service in installed_services()}
        urls = {name: _database_url(service, shared) for name, service in services.items()}
        with progress_bar(f"backup to {dest}") as bar:
            manifest = _taken(shared, services, urls, dest, _in_megabytes(bar))
        if metrics_file is not None:
            _note_metrics(metrics_file, manifest)
    _tell(manifest, f"{dest}/ holds", as_json=as_json)


def restore(
    src: Annotated[Path, typer.Argument(help="Folder that `cityloop backup` made.", metavar="SRC")],
    check: Annotated[bool, typer.Option("--check", help="Only reads the backup and says whether it could be restored.")] = False,
    as_json: AsJson = False,
) -> None:
    """Makes the folder of a city (CITYLOOP_VAR) from a backup; it must not be there yet, or be empty."""
    with _told():
        shared = shared_settings()
        services = {service.name: service for service in installed_services()}
        if not check:
            _refuse_elsewhere(shared, services)
            restoring.refuse_running(shared.var)
            refuse_taken(shared.var)
        with progress_bar(f"read {src}") as bar:
            judged = restoring.judge(src, services, _in_megabytes(bar))
        if not check:
            if judged.manifest.engine != "sqlite":
                raise BackupError(f"{src}/ holds PostgreSQL databases: restore them with pg_restore as {RUNBOOK} says")
            with progress_bar(f"restore to {shared.var}") as bar:
                restoring.restore(src, judged, shared.var, _in_megabytes(bar))
    _warn(judged, shared)
    _tell(judged.manifest, f"{src}/ could be restored:" if check else f"{shared.var}/ is restored:", as_json=as_json)
    if not check and not as_json:
        out.print("Start it with the settings and secrets that it had: cityloop dev")


def _taken(shared: SharedSettings, services: Mapping[str, Service], urls: Mapping[str, str], dest: Path, progress: Progress) -> Manifest:
    """The backup by what the databases are."""
    districts = from_settings(shared).version
    kinds = {make_url(url).get_backend_name() for url in urls.values()}
    log = urlsplit(shared.log_url())
    if kinds == {"sqlite"} and log.scheme == "sqlite":
        files = {name: Path(str(make_url(url).database)) for name, url in urls.items()}
        city = embedded.City(services, files, Path(log.path[1:]), shared.var, districts)
        return run_async(embedded.take_instant(city, SystemClock())).copy(dest, progress)
    if kinds == {"postgresql"}:
        return run_async(postgres.back_up(services, urls, districts, SystemClock(), dest, progress))
    raise BackupError(f"databases of several kinds have no common instant: back up each by its own means ({RUNBOOK})")


def _database_url(service: Service, shared: SharedSettings) -> str:
    return load(service.settings, shared=shared).db_url(service.name)


def _refuse_elsewhere(shared: SharedSettings, services: Mapping[str, Service]) -> None:
    """A restored city lies in CITYLOOP_VAR; settings that look for it elsewhere would start an empty one."""
    for name, service in services.items():
        if load(service.settings, shared=shared).database_url:
            fail(f"CITYLOOP_{name.upper()}_DATABASE_URL is set: restore makes SQLite files in CITYLOOP_VAR; unset it", 2)
    if shared.event_log_url:
        fail("CITYLOOP_EVENT_LOG_URL is set: restore makes SQLite files in CITYLOOP_VAR; unset it", 2)


@contextmanager
def _told() -> Iterator[None]:
    """What the user can understand becomes one line; SIGTERM ends as Ctrl-C does: nothing half-made is left."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BackupError as error:
        fail(error.detail)
    except SettingsError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        err.print("stopped; nothing was left")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_megabytes(bar: Callable[[int, int | None, str], None]) -> Progress:
    def tell(done: int, total: int | None, note: str) -> None:
        bar(-(-done // 1_000_000), None if total is None else -(-total // 1_000_000), note)

    return tell


def _note_metrics(path: Path, manifest: Manifest) -> None:
    """The two figures that the alert on old backups reads; whole or not at all, as the collector may read at any time."""
    lines = [
        "# HELP backup_last_success_timestamp_seconds Instant that the last backup shows.",
        "# TYPE backup_last_success_timestamp_seconds gauge",
        f"backup_last_success_timestamp_seconds {manifest.taken_at.timestamp():.0f}",
        "# HELP backup_last_size_bytes Size of the last backup.",
        "# TYPE backup_last_size_bytes gauge",
        f"backup_last_size_bytes {manifest.size_bytes}",
    ]
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text("\n".join(lines) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BackupError(f"the backup is made, but {path} cannot be written: {error.strerror}") from error


def _warn(judged: restoring.Judged, shared: SharedSettings) -> None:
    if judged.older:
        err.print(f"[yellow]note:[/yellow] older schema of {', '.join(judged.older)}: the next start, or `cityloop migrate`, upgrades it")
    if judged.manifest.districts != from_settings(shared).version:
        err.print("[yellow]note:[/yellow] CITYLOOP_DISTRICTS names other polygons than at the backup: new figures are split otherwise")


def _tell(manifest: Manifest, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    out.print(f"{what} everything as of {rfc3339(manifest.taken_at)}, {megabytes(manifest.size_bytes)}", soft_wrap=True)
    for name, part in manifest.services.items():
        rows = ", ".join(f"{table} {count}" for table, count in part.journal_rows.items())
        out.print(f"  {name}: schema {part.schemas.get('service_version', 'none')}; rows of journals: {rows}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(backup)
    app.command()(restore)
