"""Reads what a truck's manifest is made of."""

from __future__ import annotations

from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.planning import manifest as papers
from cityloop_waste.planning import store
from cityloop_waste.planning.manifest import Manifest
from cityloop_waste.planning.plans import UnknownPlan
from cityloop_waste.points import store as points


async def manifest(ctx: WasteCtx, plan_id: str, truck: str) -> Manifest:
    """A truck's day, places by the names that the registry has for them now. Raises UnknownPlan, NoRoutes, UnknownRoute."""
    async with ctx.db.read() as tx:
        plan = await store.get(tx, plan_id)
        if plan is None:
            raise UnknownPlan
        sites = {str(site.id): (site.name, site.name_en) for site in await fleet.sites(tx)}
        names = sites | await points.names(tx, papers.ids(plan, truck))
        return papers.manifest(plan, await store.lines(tx, plan_id), truck, names)
