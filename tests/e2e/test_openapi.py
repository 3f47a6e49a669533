"""The services keep to their own descriptions under generated requests: no 500, no undocumented status, type or shape."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import SAMPLE, Town
from tests.e2e.wrong_bodies import ON_SERVERS_TOO, small_problem
from tests.support import PATIENCE_S, scaled, wait_until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-openapi"), pytest.mark.stress, pytest.mark.timeout(1600),
]  # fmt: skip
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
WITHIN_S = 1500
CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"
# Streams have no end. Envelopes of T/CEC are signed and refused in the standard's words: tests/contract/test_charging_tcec.py.
LEFT_OUT = ("/stream", "/charging/tcec/")
# The boundaries of this one body are half of all there are in waste; in CI test_bad_input alone makes its values wrong.
LONGEST = """
[[operations]]
include-method = "POST"
include-path = "/waste/v1/plans"
phases.coverage.enabled = false
"""
IN_FULL = bool(scaled(ci=0, full=1))
BESIDE = ON_SERVERS_TOO
SETTINGS = {"CITYLOOP_WASTE_PLAN_SECONDS": "1", "CITYLOOP_WASTE_REPLAN_SECONDS": "1"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks a service. `after`: in CI whoever may is asked for an operation once, so these roles leave over what is asked for here."""

    service: str
    role: str
    operator: str = ""
    after: tuple[str, ...] | None = None


CALLERS = (
    Caller("parking", "citizen"),
    Caller("parking", "lot_operator", "sample"),
    Caller("parking", "city_admin"),
    Caller("charging", "charging_operator", "999000001", after=()),
    Caller("charging", "city_admin", after=("charging_operator",)),
    Caller("waste", "dispatcher", after=()),
    Caller("waste", "site_operator", "sample-operator", after=("dispatcher",)),
    Caller("waste", "city_admin", after=("dispatcher", "site_operator")),
)


@pytest.mark.parametrize("service, caller", [pytest.param(each.service, each, id=f"{each.service}-{each.role}") for each in CALLERS])
async def test_generated_requests_find_nothing(service: str, caller: Caller, town: Town, tmp_path: Path) -> None:
    """Examples, boundaries of every parameter and random bodies, as each kind of caller; the same requests in every run."""
    address = f"{town.url_of(service)}/{service}/v1/openapi.json"
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        operations = list(_operations((await http.get(address)).json(), caller))
    (tmp_path / "schemathesis.toml").write_text(_configuration(await _known(town, service)))
    bearer = town.bearer(caller.role, operator=caller.operator)["authorization"]
    arguments: list[str | Path] = [
        SCHEMATHESIS, "run", address, "--header", f"Authorization: {bearer}", "--checks", CHECKS,
        "--phases", "examples,coverage,fuzzing", *(f"--include-operation-id={each}" for each in operations),
        "--max-examples", str(scaled(ci=10 if caller.after is None else 4, full=500)),
        "--request-timeout", str(PATIENCE_S), "--seed", "20260601", "--generation-deterministic", "--workers", "1", "--no-color",
    ]  # fmt: skip
    done = await asyncio.to_thread(_run, arguments, tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def _run(arguments: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def _operations(document: Mapping[str, Any], caller: Caller) -> Iterator[str]:
    """The ids of the operations that a caller asks for."""
    for path, operations in document["paths"].items():
        if path.endswith(LEFT_OUT[0]) or path.startswith(LEFT_OUT[1]):
            continue
        for operation in operations.values():
            may = operation.get("x-roles")  # none: everybody
            once = caller.after is not None and not IN_FULL
            asked_already = caller.after and (may is None or not set(may).isdisjoint(caller.after))
            if not once or not (asked_already or (may is not None and caller.role not in may)):
                yield operation["operationId"]


async def _known(town: Town, service: str) -> Mapping[str, Sequence[str]]:
    """Ids that there are, by parameter: with invented ones alone nearly every answer would be that there is no such thing."""
    if service == "parking":
        return {"path.place_id": [SAMPLE]}
    if service == "charging":
        return {"path.location_id": ["999000001*S001", "999000001*S007"], "path.uid": ["999000001*S001*S00101"], "body.place_id": [SAMPLE]}
    async with httpx.AsyncClient(base_url=town.url_of(service), headers=town.bearer("city_admin"), timeout=PATIENCE_S) as http:
        loads = [each["id"] for each in (await http.get("/waste/v1/loads", params={"limit": "3"})).json()["loads"]]
        plan = await _published(town, http)
    return {"path.load_id": loads, "path.plan_id": [plan], "query.with": [plan], "path.truck": ["t"], "query.truck": ["t"]}


async def _published(town: Town, http: httpx.AsyncClient) -> str:
    """A plan of one stop, with all that a plan shows; where there is no worker, it waits for one."""
    wanted = {**small_problem(), "publish": "when-ready"}
    asked = await http.post("/waste/v1/plans", json=wanted, headers=town.bearer("dispatcher"))
    assert asked.status_code == 202, asked.text
    plan: str = asked.json()["plan_id"]

    async def published() -> bool:
        told = (await http.get(f"/waste/v1/plans/{plan}")).json()
        assert told["state"] == "published", told
        return True

    if "waste" not in town.others:
        await wait_until(published, 180, every=0.2, what="the plan is published")
    return plan


def _configuration(known: Mapping[str, Sequence[str]]) -> str:
    """What makes Schemathesis take an id that there is, or one of its own, as often."""
    lists = [f"[dictionaries.known{number}]\nvalues = {json.dumps(ids)}" for number, ids in enumerate(known.values())]
    uses = [f'"{name}" = {{ dictionary = "known{number}", probability = 0.5 }}' for number, name in enumerate(known)]
    return "\n".join([*lists, "[parameters]", *uses, "" if IN_FULL else LONGEST])
