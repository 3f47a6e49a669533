"""The published plans of a day as one replica of the API answers them: made once for all who ask, never older than the question."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import orjson

from cityloop_common.compression import Body, Packer
from cityloop_common.shared import Shared
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import routes, store
from cityloop_waste.planning.plans import CityPlan

MOST_DAYS = 8
"""Days that are kept made; the one that nobody has asked for longest is forgotten."""
PIECE_BYTES = 32 * 1024


@dataclass(slots=True)
class _Day:
    """What is kept of a day: its answer, the packed pieces of it, and each plan's part, by id and version of the row."""

    shared: Shared[Body]
    packer: Packer = field(default_factory=Packer)
    plans: dict[tuple[str, int], bytes] = field(default_factory=dict)


class PublishedRoutes:
    """Answers for `GET /routes`. What holds is asked of the database each time; only plans that are new are read and made whole."""

    def __init__(self, ctx: WasteCtx) -> None:
        self._ctx = ctx
        self._days: dict[date, _Day] = {}

    async def tag(self, on: date) -> str:
        """The entity tag of a day's plans: another one when another plan holds, or one of them has changed."""
        async with self._ctx.db.read() as tx:
            return _tag(on, await store.held(tx, on))

    async def of(self, on: date, tag: str) -> Body:
        """The day's answer, no older than `tag`."""
        day = self._days.pop(on, None) or _Day(Shared(self._ctx.clock))
        self._days[on] = day
        if len(self._days) > MOST_DAYS:
            del self._days[next(iter(self._days))]
        return await day.shared.get(lambda: self._made(on, day), lambda: tag)

    async def _made(self, on: date, day: _Day) -> Body:
        as_of = self._ctx.clock.now()
        async with self._ctx.db.read() as tx:
            plans = await store.held(tx, on)
        day.plans = {(each.id, each.version): await self._part(day, each) for each in plans}
        head = orjson.dumps({"on": on, "as_of": as_of, "datum": "wgs84"}, option=orjson.OPT_UTC_Z)
        pieces = [head[:-1] + b',"plans":[']
        for number, part in enumerate(day.plans.values()):
            pieces += _pieces((b"," if number else b"") + part)
        return await day.packer.pack([*pieces, b"]}"])

    async def _part(self, day: _Day, plan: CityPlan) -> bytes:
        """A plan's part of the answer; its documents never change while its version is the same."""
        kept = day.plans.get((plan.id, plan.version))
        if kept is not None:
            return kept
        async with self._ctx.db.read() as tx:
            whole, lines = await store.get(tx, plan.id), await store.lines(tx, plan.id)
        assert whole is not None
        await asyncio.sleep(0)
        return orjson.dumps(routes.for_everybody(whole, lines), option=orjson.OPT_UTC_Z)


def _tag(on: date, plans: Sequence[CityPlan]) -> str:
    known = f"{on} " + " ".join(f"{each.id}/{each.version}" for each in plans)
    return f'W/"{hashlib.blake2s(known.encode(), digest_size=10).hexdigest()}"'


def _pieces(part: bytes) -> list[bytes]:
    """In pieces that are packed each in a millisecond or two."""
    return [part[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES)]
