"""What the rooms' HTTP has in common: cursors, instants, positions, and requests of people that may come twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel, BeforeValidator

from cityloop_common import auth, http, idempotency
from cityloop_common.clock import instant
from cityloop_common.db import WriteTx
from cityloop_common.geo import Position
from cityloop_common.idempotency import Answer
from cityloop_waste.context import WasteCtx

OLDEST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
"""Local days that somebody may ask for: every instant of theirs is in every calendar."""
Context = Annotated[WasteCtx, Depends(http.current_ctx)]
Cursor = Annotated[str, Query(max_length=64, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
IdempotencyKey = Annotated[str | None, Header(description="Makes a repetition safe: the same key gets the first answer again.")]


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("an RFC 3339 text with a time zone")
    try:
        return instant(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("an RFC 3339 instant with a time zone") from error


Instant = Annotated[datetime, BeforeValidator(_instant)]


class PositionView(BaseModel):
    """WGS-84 degrees."""

    lon: float
    lat: float


def shown_position(at: Position) -> Mapping[str, float]:
    """A position as PositionView."""
    return {"lon": at.lon, "lat": at.lat}


@dataclass(frozen=True, slots=True)
class Asked:
    """What makes a repeated request the same one: who, the Idempotency-Key if there is one, and the fingerprint."""

    caller: str
    key: str | None
    fingerprint: str


async def asked_by(request: Request, idempotency_key: IdempotencyKey = None) -> Asked:
    """Dependency of a route that says itself who may call it."""
    caller = await auth.caller(request)
    fingerprint = idempotency.fingerprint(request.method, request.url.path, await request.body())
    return Asked(caller.subject, idempotency_key, fingerprint)


Repeatable = Annotated[Asked, Depends(asked_by)]


async def answer_once(ctx: WasteCtx, asked: Asked, effect: Callable[[WriteTx], Awaitable[Answer]]) -> Response:
    """Runs an effect and stores its answer in one unit; the same request again gets the stored answer."""
    async with ctx.db.write() as tx:
        answer = await idempotency.once(tx, caller=asked.caller, key=asked.key, fingerprint=asked.fingerprint, run=lambda: effect(tx))
    return http.json_bytes_response(answer.body, status=answer.status, headers=answer.headers)
