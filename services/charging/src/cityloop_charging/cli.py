"""`cityloop charging ...`: the service's own commands."""

from __future__ import annotations

import typer

from cityloop_charging.bays import cli as bays_cli
from cityloop_charging.operators import cli as operators_cli
from cityloop_charging.protocols.tcec import cli as tcec_cli
from cityloop_charging.registry.cli import import_file

app = typer.Typer()
app.command("import")(import_file)
app.add_typer(operators_cli.app, name="operator")
app.add_typer(bays_cli.app, name="link")
app.add_typer(tcec_cli.app, name="tcec")
