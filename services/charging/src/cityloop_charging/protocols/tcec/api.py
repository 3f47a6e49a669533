"""HTTP of T/CEC 102, below `/charging/tcec/v1`: every answer is 200 with the standard's Ret."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from cityloop_charging.protocols.tcec.desk import Desk
from cityloop_charging.protocols.tcec.domain import Interface, Ret
from cityloop_charging.protocols.tcec.replies import reply
from cityloop_common import auth, http
from cityloop_common.errors import CityLoopError, Unavailable
from cityloop_common.routes import DirectRoute, SpokenProtocol

router = APIRouter(tags=["tcec"])


_ENVELOPE = {
    "type": "object",
    "required": ["OperatorID", "Data", "TimeStamp", "Seq", "Sig"],
    "properties": {
        "OperatorID": {"type": "string", "example": "999000001"},
        "Data": {"type": "string", "description": "JSON, encrypted with AES-128-CBC and PKCS#7, in Base64."},
        "TimeStamp": {"type": "string", "pattern": "^[0-9]{14}$", "description": "Local time, yyyyMMddHHmmss."},
        "Seq": {"type": "string", "pattern": "^[0-9]{4}$", "description": "Numbers the requests of a second."},
        "Sig": {"type": "string", "description": "Upper-case HMAC-MD5 of OperatorID, Data, TimeStamp and Seq."},
    },
}
_REPLY = {
    "type": "object",
    "required": ["Ret", "Msg", "Data", "Sig"],
    "properties": {
        "Ret": {
            "type": "integer",
            "enum": [int(ret) for ret in Ret],
            "description": "0 done, -1 busy, 4001 signature, 4002 token, 4003 envelope, 4004 parameter, 500 system error.",
        },
        "Msg": {"type": "string"},
        "Data": {"type": "string", "description": "As in the request; empty in a refusal."},
        "Sig": {"type": "string", "description": "Of Ret, Msg and Data; empty when the operator is not known."},
    },
}


def _json(schema: Mapping[str, object], description: str) -> dict[str, object]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


async def query_token(request: Request) -> Response:
    """Data `{OperatorID, OperatorSecret}`; answers `{OperatorID, SuccStat, AccessToken, TokenAvailableTime, FailReason}`."""
    return await _answered(request, Interface.QUERY_TOKEN)


async def notification_station_status(request: Request) -> Response:
    """Data `{ConnectorStatusInfo}`, one or a list; answers `{Status}`: 0 taken, 1 put aside because of its TimeStamp."""
    return await _answered(request, Interface.STATION_STATUS)


async def _answered(request: Request, interface: Interface) -> Response:
    desk: Desk = request.app.state.tcec
    network, authorization = auth.network_of(request), request.headers.get("authorization")
    return http.json_bytes_response(await desk.answer(interface, await request.body(), authorization, network=network))


def refusal(_request: Request, error: Exception) -> Response:
    """What the edge and the framework refuse, in the standard's words; nobody is known, so it is not signed."""
    return http.json_bytes_response(reply(None, *_number(error)))


def _number(error: Exception) -> tuple[Ret, str]:
    if isinstance(error, HTTPException) and error.status_code in {404, 405}:
        return Ret.BUSINESS, "no such interface"
    if isinstance(error, Unavailable):
        return Ret.BUSY, "try again later"
    status = error.status if isinstance(error, CityLoopError) else getattr(error, "status_code", 500)
    return (Ret.ENVELOPE, "the request cannot be read") if 400 <= status < 500 else (Ret.SYSTEM, "system error")


for _interface, _endpoint, _summary in (
    (Interface.QUERY_TOKEN, query_token, "A token for an operator"),
    (Interface.STATION_STATUS, notification_station_status, "An operator reports connectors' statuses"),
):
    router.add_api_route(
        f"/{_interface.value}",
        _endpoint,
        methods=["POST"],
        dependencies=[Depends(auth.public)],
        response_model=None,
        responses={200: _json(_REPLY, "Whatever became of it; `Ret` says what.")},
        openapi_extra={"requestBody": {"required": True, **_json(_ENVELOPE, "A signed envelope.")}},
        summary=_summary,
        route_class_override=DirectRoute,
    )

SPOKEN = SpokenProtocol("/tcec/v1", router, refusal)
