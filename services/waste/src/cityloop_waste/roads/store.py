"""SQL of the room `roads`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import Tx, WriteTx
from cityloop_waste.roads.tables import road_graph

_R = road_graph.c


async def put(tx: WriteTx, version: str, geojson: str, roads: int) -> None:
    """Stores a base map, or makes one that is there already the present one again."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {"version": version, "geojson": geojson, "roads": roads, "imported_at": tx.recorded_at}
    later = make(road_graph).values(row)
    await tx.run(later.on_conflict_do_update(index_elements=[_R.version], set_={"imported_at": later.excluded.imported_at}))


async def present_version(tx: Tx) -> str | None:
    """The version of the base map that was imported last."""
    version = await tx.scalar(select(_R.version).order_by(_R.imported_at.desc(), _R.version.desc()).limit(1))
    return None if version is None else str(version)


async def geojson(tx: Tx, version: str) -> str | None:
    """A base map's text."""
    found = await tx.scalar(select(_R.geojson).where(_R.version == version))
    return None if found is None else str(found)
