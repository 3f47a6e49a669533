"""One embedded city for the tests of a module that only read or make their own objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.e2e.processes import Process, embedded, token

SAMPLE = "sample-001"
SAMPLE_OPERATOR = "sample-operator"


@dataclass(slots=True)
class Town:
    """An address, and tokens for whoever a test wants to be."""

    process: Process
    kept: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.process.url

    def bearer(self, role: str, *more: str) -> dict[str, str]:
        """The Authorization header of a role."""
        if (role, *more) not in self.kept:
            self.kept[role, *more] = token(self.process.settings, role, *more)
        return {"authorization": f"Bearer {self.kept[role, *more]}"}


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """`cityloop dev` with the static sample, for one module."""
    async with embedded(tmp_path_factory.mktemp("town")) as process:
        yield Town(process)


@pytest.fixture
async def client(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that city."""
    async with httpx.AsyncClient(base_url=town.url, timeout=10) as http:
        yield http
