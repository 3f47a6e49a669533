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
from cityloop_parking.chargers.domain import EvBays
from cityloop_parking.chargers.use_cases import Recount
from cityloop_parking.closures.domain import Window
from cityloop_parking.closures.use_cases import Reclosed
from cityloop_parking.observations.tables import live_count, occupancy
from cityloop_parking.places.tables import place
from cityloop_parking.search.domain import LiveCount, Parts, Shown, shown
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
    chargers: Mapping[str, Any] | None
    closures: Sequence[Sequence[str]] | None
    updated_at: datetime

    def shown(self) -> Shown | None:
        """What search shows of it; None as long as the place itself is not known."""
        if self.place is None:
            return None
        counts = [_live_count(count) for count in self.counts]
        return shown(self.place, Parts(counts, _ev_bays(self.chargers), _windows(self.closures)), version=self.version)

    def body(self) -> Mapping[str, object]:
        """What a replica needs of it."""
        return {"place": self.place, "counts": self.counts, "chargers": self.chargers, "closures": self.closures}


def _upsert(dialect: str, part: str, again: str) -> HotStatement:
    """Writes one part of an entry unless a newer one is there. `again`: `refuse` or `accept` the same version once more."""
    part_version = f"{part}_version"
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
    return HotStatement(upsert.returning(*_READ))


_READ = (_E.place_id, _E.version, _E.place, _E.counts, _E.chargers, _E.closures, _E.updated_at)
_EMPTY: Mapping[str, object] = {"place": None, "counts": [], "chargers": None, "closures": None}
_PUT = {
    (dialect, part, again): _upsert(dialect, part, again)
    for dialect in ("sqlite", "postgresql")
    for part in _EMPTY
    for again in ("refuse", "accept")
}


async def put_place(tx: WriteTx, view: PlaceView, *, version: int, again: str = "refuse") -> Entry | None:
    """The place's own part of an entry; None when that version or a newer one is there."""
    return await _put(tx, "place", view.place_id, {"id": view.place_id, **view.model_dump(exclude={"place_id"})}, version, again)


async def put_counts(tx: WriteTx, view: CountsView, *, version: int, again: str = "refuse") -> Entry | None:
    """The counts of an entry; None when that version or a newer one is there."""
    counts = [{**count.model_dump(), "observed_at": rfc3339(count.observed_at)} for count in view.counts]
    return await _put(tx, "counts", view.place_id, counts, version, again)


async def put_chargers(tx: WriteTx, of: Recount) -> Entry | None:
    """The charging bays of an entry; None when a newer recount is there."""
    bays = of.bays
    as_of = None if bays is None or bays.as_of is None else rfc3339(bays.as_of)
    value = None if bays is None else {"bays": bays.bays, "working": bays.working, "free": bays.free, "as_of": as_of}
    return await _put(tx, "chargers", of.place_id, value, of.version, "refuse")


async def put_closures(tx: WriteTx, of: Reclosed) -> Entry | None:
    """The closures of an entry; None when newer ones are there."""
    value = [[rfc3339(each.starts_at), rfc3339(each.ends_at)] for each in of.windows]
    return await _put(tx, "closures", of.place_id, value or None, of.version, "refuse")


async def _put(tx: WriteTx, part: str, place_id: str, value: object, version: int, again: str) -> Entry | None:
    row: dict[str, object] = {"place_id": place_id, "version": int(tx.recorded_at.timestamp() * 1_000_000), "updated_at": tx.recorded_at}
    for name, empty in _EMPTY.items():
        row[name], row[f"{name}_version"] = (value, version) if name == part else (empty, 0)
    found = await tx.hot.first(_PUT[tx.dialect_name, part, again], row)
    return None if found is None else Entry(*found)


async def drop_orphans(tx: WriteTx) -> int:
    """Removes entries that show a place that is not there, in the order in which consumers lock them; answers how many.

    One that knows only chargers or closures shows nothing and waits for its place.
    """
    waits = _E.place.is_(None) & (_E.chargers.is_not(None) | _E.closures.is_not(None))
    orphan = ~exists(select(literal(1)).where(place.c.id == _E.place_id)) & ~waits
    found = [row.place_id for row in await tx.all(select(_E.place_id).where(orphan))]
    return sum([await tx.run(delete(search_entry).where(_E.place_id == place_id, orphan)) for place_id in sorted(found)])


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


_SELECT = select(*_READ)


def _live_count(count: Mapping[str, Any]) -> LiveCount:
    at = instant(count["observed_at"]).timestamp()
    return LiveCount(count["category"], count["occupied"], count["capacity"], at, count["source"], count["interval_s"])


def _ev_bays(value: Mapping[str, Any] | None) -> EvBays | None:
    if value is None:
        return None
    return EvBays(value["bays"], value["working"], value["free"], None if value["as_of"] is None else instant(value["as_of"]))


def _windows(value: Sequence[Sequence[str]] | None) -> list[Window]:
    return [Window(instant(starts_at), instant(ends_at)) for starts_at, ends_at in value or ()]


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.place_id, row.version, row.place, row.counts, row.chargers, row.closures, row.updated_at)
