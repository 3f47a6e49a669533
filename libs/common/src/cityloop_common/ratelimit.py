"""Limits per caller and per network, counted in the cache. A lost cache allows: it must never stop the city."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from fastapi import Request

from cityloop_common import auth, telemetry
from cityloop_common.cache import Cache, CacheUnavailable
from cityloop_common.clock import Clock
from cityloop_common.errors import TooManyRequests

WINDOW_S = 60
SHARED_PER_MINUTE = 1_200
"""Of a network, for an answer that is made once for all who ask: a whole city hall, or a carrier's customers, are one network."""
OUTCOMES = telemetry.counter(
    "rate_limit_checks_total", "Requests checked against a limit: allowed, refused, or lost with the cache", ("service", "limit", "outcome")
)


class By(StrEnum):
    """Whose requests are counted together."""

    SUBJECT = "subject"  # who the token names; without one, the network
    NETWORK = "network"  # the /24 or /64: guests are cheap to make, networks are not


class LimitCtx(Protocol):
    """What a limit uses of a service's context."""

    @property
    def service(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def cache(self) -> Cache: ...


Rate = int | Callable[[object], int]
"""Requests a minute, or where the context's settings say so: `lambda ctx: ctx.settings.holds_per_minute`."""


def limit(name: str, *, per_minute: Rate, by: By) -> Callable[[Request], Awaitable[None]]:
    """Dependency: `dependencies=[Depends(limit("hold", per_minute=30, by=By.NETWORK))]`. Raises TooManyRequests."""

    async def check(request: Request) -> None:
        ctx: LimitCtx = request.app.state.ctx
        rate = per_minute if isinstance(per_minute, int) else per_minute(ctx)
        await spend(ctx, name, await _who(request, by), per_minute=rate)

    return check


async def _who(request: Request, by: By) -> str:
    if by is By.SUBJECT:
        principal = await auth.caller(request)
        if principal.subject:
            return f"subject/{principal.subject}"
    return f"network/{auth.network_of(request)}"


async def spend(ctx: LimitCtx, name: str, who: str, *, per_minute: int) -> None:
    """Counts one try of `who`; raises TooManyRequests past the limit of the present minute."""
    try:
        spent = await ctx.cache.count(f"{ctx.service}:limit:{name}:{who}", window_s=WINDOW_S)
    except CacheUnavailable:
        OUTCOMES.add(ctx.service, name, "lost")
        return
    if spent > per_minute:
        OUTCOMES.add(ctx.service, name, "refused")
        left_s = WINDOW_S - int(ctx.clock.now().timestamp()) % WINDOW_S
        raise TooManyRequests(f"At most {per_minute} a minute.", retry_after_s=left_s, limit=name)
    OUTCOMES.add(ctx.service, name, "allowed")
