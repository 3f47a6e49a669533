"""SQL of the room `indicators`: car parks and their newest counts, as they were at a moment and as they were known then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import String, bindparam, text
from sqlalchemy.types import TypeEngine

from cityloop_common.db import HotStatement, Tx, UtcDateTime
from cityloop_common.indicator import Moment
from cityloop_parking.indicators.domain import CountFact, PlaceFact
from cityloop_parking.observations.tables import observation
from cityloop_parking.places.domain import Category, PlaceState
from cityloop_parking.places.tables import place_version

OLD_ROWS_INTERVAL_S = 900  # the default of the first release, whose journal did not say the interval
_V, _O = place_version.c, observation.c
_PLACES = """
SELECT v.id, v.place_id, v.name, v.access, v.state, v.kind, v.district, v.in_city FROM place_version v
JOIN (
    SELECT place_id, max(version) AS version FROM place_version
    WHERE happened_at <= :at AND recorded_at <= :known_at GROUP BY place_id
) newest ON newest.place_id = v.place_id AND newest.version = v.version
ORDER BY v.place_id"""
# One step down the index (place_id, category, happened_at) for each place and category; a join could make PostgreSQL read the
# whole journal, so the rows themselves are read by id afterwards.
_NEWEST = """
SELECT (
    SELECT o.id FROM observation o
    WHERE o.place_id = p.place_id AND o.category = c.category AND o.happened_at <= :at AND o.recorded_at <= :known_at
    ORDER BY o.happened_at DESC, o.recorded_at DESC, o.id DESC LIMIT 1
) AS id
FROM ({ids}) AS p CROSS JOIN ({categories}) AS c"""
_COUNTS = """
SELECT o.place_id, o.category, o.happened_at, o.source, o.interval_s, o.id FROM observation o
WHERE o.id IN (SELECT place_id FROM ({ids}) AS p) ORDER BY o.place_id, o.category"""
_IDS = {
    "postgresql": "SELECT json_array_elements_text(CAST(:ids AS json)) AS place_id",
    "sqlite": "SELECT value AS place_id FROM json_each(:ids)",
}
_CATEGORIES = " UNION ALL ".join(f"SELECT '{category}' AS category" for category in Category)
_BINDS: Mapping[str, TypeEngine[Any]] = {"at": UtcDateTime(), "known_at": UtcDateTime(), "ids": String()}


def _statement(sql: str, *columns: Any) -> dict[str, HotStatement]:
    made = {}
    for dialect, ids in _IDS.items():
        filled = sql.format(ids=ids, categories=_CATEGORIES)
        binds = [bindparam(name, type_=type_) for name, type_ in _BINDS.items() if f":{name}" in filled]
        made[dialect] = HotStatement(text(filled).bindparams(*binds).columns(*columns))
    return made


_READ_PLACES = _statement(_PLACES, _V.id, _V.place_id, _V.name, _V.access, _V.state, _V.kind, _V.district, _V.in_city)
_READ_NEWEST = _statement(_NEWEST, _O.id)
_READ_COUNTS = _statement(_COUNTS, _O.place_id, _O.category, _O.happened_at, _O.source, _O.interval_s, _O.id)


async def read_places(tx: Tx, moment: Moment) -> list[PlaceFact]:
    """Every car park that was known at the moment; those that were open with their newest count of each category."""
    instants: dict[str, datetime] = {"at": moment.at, "known_at": moment.known_at}
    places = [
        PlaceFact(place_id, name, access, state, kind, district, row, in_city=in_city)
        for row, place_id, name, access, state, kind, district, in_city in await tx.hot.all(_READ_PLACES[tx.dialect_name], instants)
    ]
    counts: dict[str, list[CountFact]] = {}
    looked_at = [each.place_id for each in places if each.state == PlaceState.OPEN]
    newest = await tx.hot.all(_READ_NEWEST[tx.dialect_name], {**instants, "ids": _json(looked_at)})
    rows = await tx.hot.all(_READ_COUNTS[tx.dialect_name], {"ids": _json([row[0] for row in newest if row[0] is not None])})
    for place_id, category, at, source, interval_s, row in rows:
        counts.setdefault(place_id, []).append(CountFact(category, at, source, interval_s or OLD_ROWS_INTERVAL_S, row))
    return [replace(each, counts=counts.get(each.place_id, ())) for each in places]


def _json(ids: list[str]) -> str:
    return orjson.dumps(ids).decode()
