"""Every error leaves as problem+json, without what the caller sent and without the inside."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import httpx
import pytest
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, field_validator

from cityloop_common import auth, errors, problems
from tests.unit.common.edge import Edge, client_of, names

PLATE = "蒙KA1234"


class Cash(BaseModel):
    kind: Literal["cash"]


class Card(BaseModel):
    kind: Literal["card"]


class Want(BaseModel):
    model_config = ConfigDict(extra="forbid")
    plate: str
    spaces: Annotated[int, Field(ge=1, le=9)]
    pay: Annotated[Cash | Card, Field(discriminator="kind")] = Cash(kind="cash")

    @field_validator("plate")
    @classmethod
    def known(cls, plate: str) -> str:
        raise ValueError(f"{plate!r} is not registered")


routes = APIRouter()
Anyone = Annotated[auth.Principal, Depends(auth.public)]


@routes.post("/wants")
async def want(wanted: Want, _: Anyone) -> None: ...


@routes.get("/wants/{number}")
async def show(number: int, _: Anyone) -> None: ...


@routes.get("/fails/{kind}")
async def fail(kind: str, _: Anyone) -> None:
    known = {
        "full": errors.Conflict("No space is free.", place_id="p1"),
        "busy": errors.TooManyRequests(retry_after_s=7),
        "away": errors.Unavailable(),
        "key": KeyError("secret-of-the-inside"),
    }
    raise known[kind]


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(at_edge.app(routes)) as made:
        yield made


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert (document["status"], document["type"]) == (status, f"urn:cityloop:problem:{slug}")
    assert document["request_id"] == answer.headers["x-request-id"]
    problems.Problem.model_validate(document)
    return document


async def test_an_invalid_body_is_422_with_a_pointer_for_each_fault(client: httpx.AsyncClient) -> None:
    """Each fault says where it is."""
    answer = await client.post("/tiny/v1/wants", json={"plate": 7, "spaces": 0, "more": 1})
    found = problem(answer, 422, "invalid")["errors"]
    assert isinstance(found, list)
    assert names(found, "pointer") == ["/body/plate", "/body/spaces", "/body/more"]


@pytest.mark.parametrize(
    "body",
    [
        {"plate": PLATE, "spaces": 1},
        {"plate": "1", "spaces": PLATE},
        {"plate": [PLATE], "spaces": 1, PLATE: 1},
        {"plate": "1", "spaces": 1, "pay": {"kind": PLATE}},
    ],
)
async def test_what_the_caller_sent_is_never_sent_back(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    """A plate in any value, key or tag stays with the caller."""
    answer = await client.post("/tiny/v1/wants", json=body)
    problem(answer, 422, "invalid")
    assert PLATE not in answer.text
    assert "KA1234" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b'{"a":' * 60_000, b'{"plate": ' + b"9" * 5000 + b"}"])
async def test_an_unreadable_body_is_the_callers_fault(client: httpx.AsyncClient, body: bytes) -> None:
    """No bytes make a 500."""
    answer = await client.post("/tiny/v1/wants", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    problem(answer, answer.status_code, "bad-request" if answer.status_code == 400 else "invalid")


async def test_bad_json_is_400(client: httpx.AsyncClient) -> None:
    """Unreadable is not the same as wrong."""
    problem(await client.post("/tiny/v1/wants", content=b"{", headers={"content-type": "application/json"}), 400, "bad-request")


async def test_unknown_addresses_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    """404 and 405 speak the same language; 405 says what is allowed."""
    problem(await client.get("/tiny/v1/nothing"), 404, "not-found")
    answer = await client.delete("/tiny/v1/wants")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_path_of_the_wrong_type_is_422(client: httpx.AsyncClient) -> None:
    """The pointer names the part of the address."""
    found = problem(await client.get("/tiny/v1/wants/x"), 422, "invalid")["errors"]
    assert isinstance(found, list)
    assert names(found, "pointer") == ["/path/number"]


async def test_a_domain_error_carries_its_members(client: httpx.AsyncClient) -> None:
    """Slug, status, title and members come from the error's class and instance."""
    document = problem(await client.get("/tiny/v1/fails/full"), 409, "conflict")
    assert (document["place_id"], document["detail"]) == ("p1", "No space is free.")


@pytest.mark.parametrize("kind, status, slug, seconds", [("busy", 429, "too-many-requests", "7"), ("away", 503, "unavailable", "2")])
async def test_come_again_says_when(client: httpx.AsyncClient, kind: str, status: int, slug: str, seconds: str) -> None:
    """429 and 503 always have Retry-After."""
    answer = await client.get(f"/tiny/v1/fails/{kind}")
    problem(answer, status, slug)
    assert answer.headers["retry-after"] == seconds


async def test_the_unforeseen_is_500_with_an_id_and_nothing_of_the_inside(client: httpx.AsyncClient) -> None:
    """Neither the text nor the type of the exception leaves the process."""
    answer = await client.get("/tiny/v1/fails/key")
    problem(answer, 500, "internal")
    assert "secret-of-the-inside" not in answer.text
    assert "KeyError" not in answer.text


async def test_the_description_shows_problems_and_no_other_error(client: httpx.AsyncClient) -> None:
    """OpenAPI promises what is sent."""
    document = (await client.get("/tiny/v1/openapi.json")).json()
    responses = document["paths"]["/tiny/v1/wants"]["post"]["responses"]
    assert set(responses) == {"200", "4XX", "5XX"}
    assert responses["4XX"]["content"]["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/Problem"
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert {"Problem", "FieldProblem"} <= set(document["components"]["schemas"])
