"""RFC 9457: every error of every service as `application/problem+json`, translated in one place.

A problem never carries what the caller sent (it may be personal data) nor anything of the inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import errors
from cityloop_common.errors import CityLoopError
from cityloop_common.telemetry import redact

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:cityloop:problem:"
_MAX_ERRORS = 50
_RETRY_AFTER_S = {429: 60, 503: 2}

_BY_STATUS: Mapping[int, type[CityLoopError]] = {
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.Invalid,
    428: errors.PreconditionRequired,
    429: errors.TooManyRequests,
    503: errors.Unavailable,
}


class FieldProblem(BaseModel):
    """One thing that is wrong in what was sent; `pointer` starts with `/body`, `/query`, `/path` or `/header`."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem document; errors may add members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


def problem_response(request: Request, error: CityLoopError) -> Response:
    """The answer for one error. 429 and 503 say when to come again: member `retry_after_s`, or a default."""
    members = dict(error.members)
    headers: dict[str, str] = {}
    if error.status in _RETRY_AFTER_S:
        retry_after_s = members.setdefault("retry_after_s", _RETRY_AFTER_S[error.status])
        headers["retry-after"] = str(retry_after_s)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="cityloop"'
    return _response(
        request, slug=error.slug, status=error.status, title=error.title, detail=error.detail, members=members, headers=headers
    )


def internal_error(request: Request) -> Response:
    """The answer for what nobody foresaw: a correlation id, and nothing else."""
    return _response(
        request, slug="internal", status=500, title=CityLoopError.title, detail="Please report the request id.", members={}, headers={}
    )


def _response(
    request: Request,
    *,
    slug: str,
    status: int,
    title: str,
    detail: str,
    members: Mapping[str, object],
    headers: Mapping[str, str],
) -> Response:
    document: dict[str, object] = {"type": TYPE_PREFIX + slug, "title": title, "status": status}
    if detail and detail != title:
        document["detail"] = detail
    request_id = getattr(request.state, "request_id", None)
    if request_id:
        document["request_id"] = request_id
    document |= {name: value for name, value in members.items() if name not in document}
    body = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers))


def install(app: FastAPI) -> None:
    """Registers the one translation; what nobody foresaw is answered by the edge middleware in `http`."""

    async def on_cityloop_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, CityLoopError)
        return problem_response(request, error)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(request, translate_validation(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _http_problem(request, error)

    app.add_exception_handler(CityLoopError, on_cityloop_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def _http_problem(request: Request, error: HTTPException) -> Response:
    known = _BY_STATUS.get(error.status_code)
    if known is not None:
        response = problem_response(request, known())
    else:
        phrase = HTTPStatus(error.status_code).phrase
        slug = phrase.lower().replace(" ", "-")
        response = _response(request, slug=slug, status=error.status_code, title=phrase, detail="", members={}, headers={})
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def translate_validation(found: Sequence[Mapping[str, Any]]) -> CityLoopError:
    """Pydantic's findings as one error: unreadable JSON is 400, everything else 422 with a pointer each."""
    if any(error["type"] == "json_invalid" for error in found):
        return errors.BadRequest("The body is not valid JSON.")
    listed = [{"pointer": _pointer(error["loc"]), "detail": _detail(error)} for error in found[:_MAX_ERRORS]]
    return errors.Invalid(f"{len(found)} of the values are not valid." if len(found) > 1 else "One value is not valid.", errors=listed)


def _pointer(loc: Sequence[str | int]) -> str:
    parts = [redact(str(part))[:80].replace("~", "~0").replace("/", "~1") for part in loc]
    return "/" + "/".join(parts)


def _detail(error: Mapping[str, Any]) -> str:
    """The message without the value it is about: our validators and tagged unions like to quote it."""
    message = str(error["msg"])
    quoted = [error.get("input"), (error.get("ctx") or {}).get("tag")]
    for value in quoted:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = str(value)
            if (
                text
                and (text in message or repr(value) in message)
                and error["type"] in {"value_error", "assertion_error", "union_tag_invalid"}
            ):
                message = message.replace(repr(value), "the value").replace(text, "the value")
    return redact(message)[:300]


def schemas() -> dict[str, Any]:
    """The components that `RESPONSES` points to."""
    template = "#/components/schemas/{model}"
    problem = Problem.model_json_schema(ref_template=template)
    return {**problem.pop("$defs", {}), "Problem": problem}


PROBLEM_SCHEMA_REF = "#/components/schemas/Problem"
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_SCHEMA_REF}}}}
    for status, text in (("4XX", "The caller can do something about it"), ("5XX", "The caller may try again"))
}
"""For `include_router(responses=...)`: what every operation may answer besides its own."""
