"""What one does with collection points: import a file, keep some, list them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cityloop_common.db import WriteTx
from cityloop_waste.context import WasteCtx
from cityloop_waste.keeping import import_rows, unknown_districts
from cityloop_waste.points import store
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.rows import Accepted, ImportReport, Rejected
from cityloop_waste.streams import Stream


async def import_points(
    ctx: WasteCtx, verdicts: Sequence[Accepted[CollectionPoint] | Rejected], *, progress: Callable[[int], None]
) -> ImportReport:
    """Stores the accepted rows of a file; a repetition changes nothing."""

    async def keep(tx: WriteTx, accepted: Sequence[Accepted[CollectionPoint]]) -> tuple[int, Sequence[Rejected]]:
        said = ((each.row, each.facts.id, ctx.districts.of(each.facts.position) or each.facts.district) for each in accepted)
        rejected = unknown_districts(ctx, said)
        refused = {each.row for each in rejected}
        return await keep_in(tx, ctx, [each.facts for each in accepted if each.row not in refused]), rejected

    return await import_rows(ctx, verdicts, keep, progress)


async def keep_in(tx: WriteTx, ctx: WasteCtx, points: Sequence[CollectionPoint]) -> int:
    """Stores points in an open unit, each with its district (the polygons' word, else the source's own); answers how many changed."""
    return len(await store.put(tx, [replace(each, district=ctx.districts.of(each.position) or each.district) for each in points]))


async def page(ctx: WasteCtx, *, after: str, most: int, stream: Stream | None) -> list[CollectionPoint]:
    """Points in the order of their ids."""
    async with ctx.db.read() as tx:
        return await store.page(tx, after=after, most=most, stream=stream)
