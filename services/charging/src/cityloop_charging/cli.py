"""`cityloop charging ...`: the service's own commands."""

from __future__ import annotations

import typer

app = typer.Typer()
