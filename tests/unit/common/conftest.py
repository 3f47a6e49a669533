"""The edge of a small service, new for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.common.edge import Edge, edge


@pytest.fixture
def at_edge(tmp_path: Path) -> Edge:
    """An edge with its own clock, issuer, guests and cache."""
    return edge(tmp_path)
