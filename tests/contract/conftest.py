"""A new database, and the kit's database and context over it, once for each dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cityloop_common.context import Ctx
from cityloop_common.db import Database
from tests.contract.kit_support import DIALECTS, close_ctx, opened_ctx, opened_db


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each dialect."""
    return f"sqlite:///{tmp_path / 'city.db'}" if request.param == "sqlite" else str(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def kit_db(url: str) -> AsyncIterator[Database]:
    """A database with the kit's tables."""
    db = await opened_db(url)
    yield db
    await db.close()


@pytest.fixture
async def kit_ctx(url: str, tmp_path: Path) -> AsyncIterator[Ctx[Any]]:
    """A context over such a database and a SQLite log."""
    ctx = await opened_ctx(url, tmp_path)
    yield ctx
    await close_ctx(ctx)
