"""The formula of `live-places`: car parks and their newest counts at a moment in, rows out. Definition: docs/concepts/parking.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cityloop_common.clock import rfc3339
from cityloop_common.indicator import Moment, NoData, Row
from cityloop_parking.places.domain import Access, PlaceState

PUBLIC, ALL_ACCESS = "public", "all-access"
# Version 1's own, though the search has equal ones today: a published value must recompute when the search's rule has changed.
# Another number here is another version of the formula.
V1_LIVE_INTERVALS = 2
V1_UNKNOWN_AFTER = timedelta(days=1)
V1_LIVE, V1_LATE, V1_UNKNOWN = "live", "late", "unknown"


@dataclass(frozen=True, slots=True)
class CountFact:
    """The newest count of one category, taken at `at` by a source that reports every `interval_s` seconds; `row` is its journal row."""

    category: str
    at: datetime
    source: str
    interval_s: int
    row: str


@dataclass(frozen=True, slots=True)
class PlaceFact:
    """A car park as it was; `row` is the journal row that says so. `counts` are looked for while it is open only."""

    place_id: str
    name: str
    access: str
    state: str
    kind: str
    district: str | None
    row: str
    counts: Sequence[CountFact] = ()
    in_city: bool = True


def live_places(facts: Sequence[PlaceFact], moment: Moment, scheme_id: str) -> list[Row]:
    """A row for every car park: 1 of 1 when at least one of its categories has a live count, 0 of 1 when none has.

    One that lies elsewhere, is closed, or in the scheme `public` not open to everybody, counts for nothing. Raises NoData while no
    car park is known.
    """
    if not facts:
        raise NoData("no car park is known")
    return [_row(each, moment, scheme_id) for each in facts]


def _row(of: PlaceFact, moment: Moment, scheme_id: str) -> Row:
    named = {"name": of.name, "kind": of.kind, "place_row": of.row}
    if not of.in_city:
        return Row(of.place_id, 0, 0, of.district, "elsewhere", named)
    if of.state != PlaceState.OPEN:
        return Row(of.place_id, 0, 0, of.district, "closed", named)
    if scheme_id == PUBLIC and of.access != Access.PUBLIC:
        return Row(of.place_id, 0, 0, of.district, "not-public", named)
    live = [count for count in of.counts if _class(count, moment.at) == V1_LIVE]
    deciding = max(live or of.counts, key=lambda count: (count.at, count.row), default=None)
    if deciding is None:
        return Row(of.place_id, 0, 1, of.district, V1_UNKNOWN, named)
    evidence = {
        **named,
        "counted_at": rfc3339(deciding.at),
        "source": deciding.source,
        "interval_s": deciding.interval_s,
        "count_rows": sorted(count.row for count in of.counts),
    }
    return Row(of.place_id, int(bool(live)), 1, of.district, _class(deciding, moment.at), evidence)


def _class(count: CountFact, at: datetime) -> str:
    """Live is not older than two intervals, late not older than a day."""
    age = at - count.at
    if age > V1_UNKNOWN_AFTER:
        return V1_UNKNOWN
    return V1_LIVE if age <= timedelta(seconds=V1_LIVE_INTERVALS * count.interval_s) else V1_LATE
