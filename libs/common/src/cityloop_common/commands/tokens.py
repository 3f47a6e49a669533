"""`cityloop token`: a development token for the terminal."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from cityloop_common.auth import Role
from cityloop_common.clock import SystemClock
from cityloop_common.issuer import DevIssuer, IssuerRefused
from cityloop_common.rng import Rng
from cityloop_common.settings import SettingsError
from cityloop_common.terminal import fail, shared_settings


def token(
    role: Annotated[Role, typer.Option(help="What the caller is.")],
    subject: Annotated[str, typer.Option(help="Who the caller is; invented from the role when left out.")] = "",
    operator: Annotated[
        str, typer.Option(help="Operator that the caller works for (lot_operator, charging_operator, site_operator).")
    ] = "",
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long the token holds.")] = 12,
) -> None:
    """Prints a token of the development issuer, signed with the key in ./var/keys."""
    try:
        shared = shared_settings()
        own = DevIssuer(
            shared.var / "keys",
            environment=shared.environment,
            issuer=shared.issuer,
            audience=shared.audience,
            clock=SystemClock(),
            rng=Rng(),
        )
    except (SettingsError, IssuerRefused) as error:
        fail(str(error), 2)
    sys.stdout.write(own.mint(role, subject=subject, operator_id=operator or None, ttl=timedelta(hours=hours)) + "\n")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(token)
