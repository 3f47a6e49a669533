"""The `cityloop` command: what is common here, what a service can do below its name."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from cityloop_common import __version__
from cityloop_common.commands import backup, dev, events, operations, tokens
from cityloop_common.service import Service, installed_services
from cityloop_common.terminal import out


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callback form
    if asked:
        out.print(f"cityloop {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The whole command tree of this installation."""
    app = typer.Typer(name="cityloop", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

    @app.callback(help="CityLoop: parking, charging and waste of a city.")
    def common(_: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
        return

    dev.register(app)
    tokens.register(app)
    events.register(app)
    operations.register(app)
    backup.register(app)
    for service in installed_services():
        app.add_typer(operations.service_commands(service), name=service.name)
    return app


def main() -> None:
    """Entry point of `cityloop`."""
    gc.disable()  # imports leave next to no garbage: to look for it took a fifth of the start
    app = build()
    gc.freeze()
    gc.enable()
    app()


def service_main(service: Service) -> None:
    """Entry point of `python -m cityloop_<service>`."""
    sys.argv[0] = f"cityloop {service.name}"
    operations.service_commands(service)()
