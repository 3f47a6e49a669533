"""The published plans of a day as one replica of the API answers them: made once for all who ask, never older than what it told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
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
GOOD_FOR_S = 0.5
PIECE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What holds on a day, with its entity tag: another one when another plan holds, or one of them has changed."""

    tag: str
    body: Body


@dataclass(slots=True)
class _Day:
    """What is kept of a day: its answer, the packed pieces of it, and each plan's part, by id and version of the row."""

    shared: Shared[Answer]
    packer: Packer = field(default_factory=Packer)
    plans: dict[tuple[str, int], bytes] = field(default_factory=dict)


class PublishedRoutes:
    """Answers for `GET /routes`. One look at what holds serves who asks in half a second; only plans that are new are read whole.

    `revision` counts what this replica knows to have changed: after that the database is looked at again.
    """

    def __init__(self, ctx: WasteCtx, revision: Callable[[], int]) -> None:
        self._ctx = ctx
        self._revision = revision
        self._days: dict[date, _Day] = {}

    async def of(self, on: date) -> Answer:
        """The day's answer, no older than half a second, nor than any change that the streams here told before."""
        day = self._days.pop(on, None) or _Day(Shared(self._ctx.clock, good_for_s=GOOD_FOR_S))
        self._days[on] = day
        if len(self._days) > MOST_DAYS:
            del self._days[next(iter(self._days))]
        return await day.shared.get(lambda: self._made(on, day), self._revision)

    async def _made(self, on: date, day: _Day) -> Answer:
        as_of = self._ctx.clock.now()
        read: dict[tuple[str, int], tuple[CityPlan | None, store.Lines | None]] = {}
        async with self._ctx.db.read() as tx:  # one snapshot: the tag is of the very plans that are shown
            plans = await store.held(tx, on)
            for each in plans:
                if (each.id, each.version) not in day.plans:
                    read[each.id, each.version] = await store.get(tx, each.id), await store.lines(tx, each.id)
        day.plans = {key: day.plans.get(key) or await _part(*read[key]) for key in ((each.id, each.version) for each in plans)}
        head = orjson.dumps({"on": on, "as_of": as_of, "datum": "wgs84"}, option=orjson.OPT_UTC_Z)
        pieces = [head[:-1] + b',"plans":[']
        for number, part in enumerate(day.plans.values()):
            pieces += _pieces((b"," if number else b"") + part)
        return Answer(_tag(on, plans), await day.packer.pack([*pieces, b"]}"]))


async def _part(plan: CityPlan | None, lines: store.Lines | None) -> bytes:
    """A plan's part of the answer; its documents never change while its version is the same."""
    assert plan is not None
    await asyncio.sleep(0)
    return orjson.dumps(routes.for_everybody(plan, lines), option=orjson.OPT_UTC_Z)


def _tag(on: date, plans: Sequence[CityPlan]) -> str:
    known = f"{on} " + " ".join(f"{each.id}/{each.version}" for each in plans)
    return f'W/"{hashlib.blake2s(known.encode(), digest_size=10).hexdigest()}"'


def _pieces(part: bytes) -> list[bytes]:
    """In pieces that are packed each in a millisecond or two."""
    return [part[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES)]
