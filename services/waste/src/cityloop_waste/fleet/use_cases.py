"""What one does with trucks, depots and sites: import a file, keep some, list them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cityloop_common.db import WriteTx
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store
from cityloop_waste.fleet.domain import Depot, Site, Truck
from cityloop_waste.keeping import import_rows, unknown_districts
from cityloop_waste.rows import Accepted, ImportReport, Rejected
from cityloop_waste.streams import Stream

Progress = Callable[[int], None]


async def import_depots(ctx: WasteCtx, verdicts: Sequence[Accepted[Depot] | Rejected], *, progress: Progress) -> ImportReport:
    """Stores the accepted rows of a file; a repetition changes nothing."""

    async def keep(tx: WriteTx, accepted: Sequence[Accepted[Depot]]) -> tuple[int, Sequence[Rejected]]:
        return len(await store.put_depots(tx, [each.facts for each in accepted])), ()

    return await import_rows(ctx, verdicts, keep, progress)


async def import_trucks(ctx: WasteCtx, verdicts: Sequence[Accepted[Truck] | Rejected], *, progress: Progress) -> ImportReport:
    """Stores the accepted rows of a file. A truck of an unknown depot or district, or of another stream than before, is rejected."""

    async def keep(tx: WriteTx, accepted: Sequence[Accepted[Truck]]) -> tuple[int, Sequence[Rejected]]:
        depots = {each.id for each in await store.depots(tx)}
        streams = await store.streams_of(tx, [each.facts.id for each in accepted])
        rejected = unknown_districts(ctx, ((each.row, each.facts.id, each.facts.district) for each in accepted))
        for each in accepted:
            truck, before = each.facts, streams.get(each.facts.id)
            if truck.depot_id not in depots:
                rejected.append(Rejected(each.row, truck.id, f"there is no depot {truck.depot_id}: import depots first"))
            elif before not in (None, truck.stream):
                rejected.append(Rejected(each.row, truck.id, f"it is dedicated to {before}: a truck never changes its stream"))
        refused = {each.row for each in rejected}
        rejected = list({each.row: each for each in reversed(rejected)}.values())  # a row has one verdict, its first
        return len(await store.put_trucks(tx, [each.facts for each in accepted if each.row not in refused])), rejected

    return await import_rows(ctx, verdicts, keep, progress)


async def import_sites(ctx: WasteCtx, verdicts: Sequence[Accepted[Site] | Rejected], *, progress: Progress) -> ImportReport:
    """Stores the accepted rows of a file; a repetition changes nothing."""

    async def keep(tx: WriteTx, accepted: Sequence[Accepted[Site]]) -> tuple[int, Sequence[Rejected]]:
        said = ((each.row, each.facts.id, ctx.districts.of(each.facts.position) or each.facts.district) for each in accepted)
        rejected = unknown_districts(ctx, said)
        refused = {each.row for each in rejected}
        return await keep_sites_in(tx, ctx, [each.facts for each in accepted if each.row not in refused]), rejected

    return await import_rows(ctx, verdicts, keep, progress)


async def keep_sites_in(tx: WriteTx, ctx: WasteCtx, sites: Sequence[Site]) -> int:
    """Stores sites in an open unit, each with its district; answers how many changed."""
    return len(await store.put_sites(tx, [replace(each, district=ctx.districts.of(each.position) or each.district) for each in sites]))


async def trucks(ctx: WasteCtx, *, after: str, most: int, stream: Stream | None) -> list[Truck]:
    """Trucks in the order of their ids."""
    async with ctx.db.read() as tx:
        return await store.trucks(tx, after=after, most=most, stream=stream)


async def sites(ctx: WasteCtx) -> list[Site]:
    """Every site."""
    async with ctx.db.read() as tx:
        return await store.sites(tx)


async def depots(ctx: WasteCtx) -> list[Depot]:
    """Every depot."""
    async with ctx.db.read() as tx:
        return await store.depots(tx)
