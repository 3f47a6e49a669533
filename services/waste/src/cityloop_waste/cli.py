"""`cityloop waste ...`: the service's own commands."""

from __future__ import annotations

import typer

from cityloop_waste.planning.cli import solve

app = typer.Typer()
app.command("solve")(solve)
