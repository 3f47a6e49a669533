"""Tables of the room `roads`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from cityloop_common.db import UtcDateTime
from cityloop_waste.schema import metadata

# Base maps as GeoJSON; the one that was imported last is used, older ones stay for the plans that were made on them.
road_graph = Table(
    "road_graph",
    metadata,
    Column("version", String(16), primary_key=True),
    Column("geojson", Text, nullable=False),
    Column("roads", Integer, nullable=False),
    Column("imported_at", UtcDateTime, nullable=False),
)
Index("ix_road_graph_imported_at", road_graph.c.imported_at)
