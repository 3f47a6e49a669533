"""The HTTP application every service is built as."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request


async def current_ctx(request: Request) -> Any:  # the route's own annotation (`ParkingCtx`) says which
    """The context of the service that answers: `ctx: Annotated[ParkingCtx, Depends(http.current_ctx)]`."""
    return request.app.state.ctx
