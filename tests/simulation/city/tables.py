"""The databases of all services as one: questions go over every table, in one instant of virtual time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.simulation.world import Broken


class Tables:
    """One connection with every file attached under its service's name."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for name, path in paths.items():
            self._connection.execute(f"ATTACH '{path}' AS {name}")

    def rows(self, sql: str) -> list[Any]:
        return self._connection.execute(sql).fetchall()

    def none(self, checks: Mapping[str, str]) -> None:
        """Raises Broken with the first rows of a question that must have none; all in one snapshot."""
        self._connection.execute("BEGIN")
        try:
            for name, sql in checks.items():
                if rows := self._connection.execute(sql).fetchmany(3):
                    raise Broken(f"{name}: {rows}")
        finally:
            self._connection.execute("ROLLBACK")
