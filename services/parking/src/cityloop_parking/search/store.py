"""SQL of the room `search`; reads places and counts, writes only its own entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, exists, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.clock import instant, rfc3339
from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_parking.observations.tables import live_count, occupancy
from cityloop_parking.places.tables import place
from cityloop_parking.search.domain import LiveCount, Shown, shown
from cityloop_parking.search.tables import search_entry
from cityloop_parking.search.views import CountsView, CountView, PlaceView

_E = search_entry.c


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the projection."""

    place_id: str
    version: int
    place: Mapping[str, object] | None
    counts: Sequence[Mapping[str, object]]
    updated_at: datetime

    def shown(self) -> Shown | None:
        """What search shows of it; None as long as only counts are known."""
        if self.place is None:
            return None
        return shown(self.place, [_live_count(count) for count in self.counts], version=self.version)

    def body(self) -> Mapping[str, object]:
        """What a replica needs of it."""
        return {"place": self.place, "counts": self.counts}


def _upsert(dialect: str, part: str, part_version: str, *, again: str) -> HotStatement:
    """Writes one half of an entry unless a newer one is there. `again`: `refuse` or `accept` the same version once more."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(search_entry).values({column.name: bindparam(column.name) for column in search_entry.columns})
    new = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {
        part: new[part],
        part_version: new[part_version],
        "version": case((_E.version >= new.version, _E.version + 1), else_=new.version),
        "updated_at": new.updated_at,
    }
    known, given = _E[part_version], new[part_version]
    newer = known < given if again == "refuse" else known <= given
    upsert = statement.on_conflict_do_update(index_elements=[_E.place_id], set_=changes, where=newer)
    return HotStatement(upsert.returning(_E.place_id, _E.version, _E.place, _E.counts, _E.updated_at))


_DIALECTS = ("sqlite", "postgresql")
_PUT_PLACE = {(d, again): _upsert(d, "place", "place_version", again=again) for d in _DIALECTS for again in ("refuse", "accept")}
_PUT_COUNTS = {(d, again): _upsert(d, "counts", "counts_version", again=again) for d in _DIALECTS for again in ("refuse", "accept")}


async def put_place(tx: WriteTx, view: PlaceView, *, version: int, again: str = "refuse") -> Entry | None:
    """The place's half of an entry; None when that version or a newer one is there."""
    place = {"id": view.place_id, **view.model_dump(exclude={"place_id"})}
    half = {"place_version": version, "counts_version": 0, "place": place, "counts": []}
    return await _put(tx, _PUT_PLACE[tx.dialect_name, again], view.place_id, half)


async def put_counts(tx: WriteTx, view: CountsView, *, version: int, again: str = "refuse") -> Entry | None:
    """The counts' half of an entry; None when that version or a newer one is there."""
    counts = [{**count.model_dump(), "observed_at": rfc3339(count.observed_at)} for count in view.counts]
    half = {"place_version": 0, "counts_version": version, "place": None, "counts": counts}
    return await _put(tx, _PUT_COUNTS[tx.dialect_name, again], view.place_id, half)


async def _put(tx: WriteTx, statement: HotStatement, place_id: str, half: Mapping[str, object]) -> Entry | None:
    microsecond = int(tx.recorded_at.timestamp() * 1_000_000)
    row = await tx.hot.first(statement, {"place_id": place_id, "version": microsecond, "updated_at": tx.recorded_at, **half})
    return None if row is None else Entry(*row)


async def drop_orphans(tx: WriteTx) -> int:
    """Removes entries of places that are not there; answers how many."""
    return await tx.run(delete(search_entry).where(~exists(select(literal(1)).where(place.c.id == _E.place_id))))


async def page(tx: Tx, *, after: str, most: int) -> list[Entry]:
    """Entries in the order of their places' ids, behind `after`."""
    rows = await tx.all(_SELECT.where(_E.place_id > after).order_by(_E.place_id).limit(most))
    return [_entry(row) for row in rows]


async def written_since(tx: Tx, since: datetime) -> list[tuple[str, int, datetime]]:
    """Place, version and instant of the entries written at `since` or later."""
    rows = await tx.all(select(_E.place_id, _E.version, _E.updated_at).where(_E.updated_at >= since).order_by(_E.updated_at, _E.place_id))
    return [(row.place_id, row.version, row.updated_at) for row in rows]


async def read(tx: Tx, place_ids: Sequence[str]) -> list[Entry]:
    """The entries of these places."""
    return [_entry(row) for row in await tx.all(_SELECT.where(_E.place_id.in_(place_ids)).order_by(_E.updated_at, _E.place_id))]


async def counts_of(tx: Tx, place_ids: Sequence[str]) -> dict[str, tuple[int, CountsView]]:
    """The newest counts of places with their version, as the last event of each told them."""
    o, c = occupancy.c, live_count.c
    joined = select(o.published_version, *live_count.columns).join_from(occupancy, live_count, o.place_id == c.place_id)
    found: dict[str, tuple[int, CountsView]] = {}
    for row in await tx.all(joined.where(o.place_id.in_(place_ids)).order_by(c.place_id, c.category)):
        _, view = found.setdefault(row.place_id, (row.published_version, CountsView(place_id=row.place_id, counts=[])))
        view.counts.append(CountView.model_validate(row, from_attributes=True))
    return found


_SELECT = select(_E.place_id, _E.version, _E.place, _E.counts, _E.updated_at)


def _live_count(count: Mapping[str, Any]) -> LiveCount:
    at = instant(count["observed_at"]).timestamp()
    return LiveCount(count["category"], count["occupied"], count["capacity"], at, count["source"], count["interval_s"])


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.place_id, row.version, row.place, row.counts, row.updated_at)
