"""The API keeps to its own description under generated requests: no 500, no undocumented status, type or shape."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Town
from tests.support import scaled

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-openapi"), pytest.mark.stress, pytest.mark.timeout(1600),
]  # fmt: skip
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
WITHIN_S = 1500
CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"


def _run(arguments: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S, check=False)


@pytest.mark.parametrize("role, operator", [("citizen", ""), ("lot_operator", "sample"), ("city_admin", "")])
async def test_generated_requests_find_nothing(role: str, operator: str, town: Town, tmp_path: Path) -> None:
    """Examples, boundaries of every parameter and random bodies, as each kind of caller; the same requests in every run."""
    bearer = town.bearer(role, operator=operator)["authorization"]
    arguments: list[str | Path] = [
        SCHEMATHESIS, "run", f"{town.url}/parking/v1/openapi.json", "--header", f"Authorization: {bearer}", "--checks", CHECKS,
        "--phases", "examples,coverage,fuzzing", "--exclude-path-regex", "/stream$", "--max-examples", str(scaled(ci=10, full=500)),
        "--seed", "20260601", "--generation-deterministic", "--workers", "1", "--no-color",
    ]  # fmt: skip
    done = await asyncio.to_thread(_run, arguments, tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
