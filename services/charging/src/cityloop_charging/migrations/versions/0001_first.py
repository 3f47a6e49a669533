"""Charging's tables."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables as they were at the first release."""
