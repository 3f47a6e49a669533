"""What one does with stations: import a file, keep one, read one, note its car park, tell of all again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry import store
from cityloop_charging.registry.domain import (
    Accepted,
    ConnectorTaken,
    ImportReport,
    Location,
    LocationFacts,
    Rejected,
    UnknownLocation,
    Verdict,
    check,
)
from cityloop_charging.registry.events import location_published
from cityloop_charging.registry.store import Expect, NewVersion
from cityloop_common import outbox
from cityloop_common.db import UniqueViolation, WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import PreconditionFailed, PreconditionRequired
from cityloop_common.geo import WORLD, Bounds

CHUNK = 100  # stations a unit or a page: about 1,300 EVSEs of a real city
CHUNK_EVSES = 5_000  # EVSEs a unit, so that a file of huge stations does not outlast it


def _nobody(_done: int) -> None:
    return


async def import_locations(
    ctx: ChargingCtx, verdicts: Sequence[Verdict], *, source: str = "import", progress: Callable[[int], None] = _nobody
) -> ImportReport:
    """Stores the accepted rows of a file, 100 in a unit; a repetition changes and publishes nothing.

    Stopped halfway, the same import goes on where it was. The rows were judged against their own city's bounds.
    """
    changed, evses = 0, 0
    rejected: list[Rejected] = []
    done = 0
    for chunk in _chunks(verdicts):
        async with ctx.db.write() as tx:
            judged = await _without_taken(tx, chunk)
            accepted = [each for each in judged if isinstance(each, Accepted)]
            stored = await put_in(tx, ctx, [each.facts for each in accepted], source=source, within=WORLD)
        changed += len(stored)
        evses += sum(len(each.facts.evses) for each in accepted)
        rejected += [each for each in judged if isinstance(each, Rejected)]
        done += len(chunk)
        progress(done)
    return ImportReport(len(verdicts), changed, len(verdicts) - len(rejected) - changed, evses, tuple(rejected))


async def put_in(
    tx: WriteTx, ctx: ChargingCtx, facts: Sequence[LocationFacts], *, source: str, within: Bounds | None = None
) -> list[Location]:
    """Stores stations in an open unit and tells of those that are new or changed.

    Raises InvalidLocation, also for a position outside `within` (the city's bounds unless others are given), ConnectorTaken.
    """
    bounds = within or city_bounds(ctx)
    return await _put_in(tx, ctx, [NewVersion(_placed(ctx, check(each, within=bounds)), ctx.ids.new(), source) for each in facts])


@dataclass(frozen=True, slots=True)
class Kept:
    """A station after `keep_location`; `created` when it was not there before."""

    location: Location
    created: bool


async def keep_location(ctx: ChargingCtx, facts: LocationFacts, *, seen_version: int | None) -> Kept:
    """An operator creates or changes a station of its own: whose it is stands in its id.

    Raises InvalidLocation, ConnectorTaken, PreconditionRequired (it is there, and other, and the caller did not say which
    version it saw), PreconditionFailed (it is another version by now, or not there).
    """
    facts = _placed(ctx, check(facts, within=city_bounds(ctx)))
    async with ctx.db.write() as tx:
        known = await store.get(tx, facts.id)
        if known is None and seen_version is not None:
            raise PreconditionFailed("There is no such station.")
        if known is not None and known.facts.content_hash() == facts.content_hash():
            return Kept(known, created=False)
        if known is not None and seen_version is None:
            raise PreconditionRequired('Send `If-Match: "<version>"` with the ETag you were given.')
        expected = Expect.NOTHING if seen_version is None else seen_version
        changed = await _put_in(tx, ctx, [NewVersion(facts, ctx.ids.new(), f"operator:{facts.operator_id}", expected)])
        if not changed:
            raise PreconditionFailed("The station was changed by somebody else.")
        return Kept(changed[0], created=known is None)


async def set_place_in(tx: WriteTx, ctx: ChargingCtx, location_id: str, place_id: str | None, *, source: str) -> Location | None:
    """Notes the car park of a station's confirmed link, or that there is none, and tells of the station again.

    None when that is known already. Raises UnknownLocation.
    """
    changed = await store.set_place(tx, location_id, place_id, event_id=ctx.ids.new(), source=source, row_id=ctx.ids.new())
    if changed is None:
        if await store.get(tx, location_id) is None:
            raise UnknownLocation
        return None
    await outbox.append(tx, location_published(changed, source=ctx.source))
    return changed


async def republished(ctx: ChargingCtx, key: str | None) -> AsyncIterator[Event]:
    """The newest event of every station, or of one, as it was first published: same id, sequence and time."""
    if key is not None:
        async with ctx.db.read() as tx:
            found = await store.get(tx, key)
        if found is not None:
            yield location_published(found, source=ctx.source)
        return
    after = ""
    while True:
        async with ctx.db.read() as tx:
            stations = await store.page(tx, after=after, most=CHUNK)
        if not stations:
            return
        for each in stations:
            yield location_published(each, source=ctx.source)
        after = stations[-1].id


def city_bounds(ctx: ChargingCtx) -> Bounds:
    """The jurisdiction as it is set."""
    return Bounds(*ctx.settings.shared.city_bounds)


def _placed(ctx: ChargingCtx, facts: LocationFacts) -> LocationFacts:
    """With the district that the polygons say, else the source's own word, and whether it lies in the jurisdiction."""
    district = ctx.districts.of(facts.position) or facts.district
    return replace(facts, district=district, in_city=city_bounds(ctx).contains(facts.position))


async def _put_in(tx: WriteTx, ctx: ChargingCtx, new: Sequence[NewVersion]) -> list[Location]:
    try:
        changed = await store.put(tx, new, new_id=ctx.ids.new)
    except UniqueViolation as violated:
        raise ConnectorTaken("A connector's id is used once among an operator's stations.") from violated
    await outbox.append_many(tx, [location_published(each, source=ctx.source) for each in changed])
    return changed


def _chunks(verdicts: Sequence[Verdict]) -> Iterator[Sequence[Verdict]]:
    chunk: list[Verdict] = []
    evses = 0
    for each in verdicts:
        more = len(each.facts.evses) if isinstance(each, Accepted) else 0
        if chunk and (len(chunk) == CHUNK or evses + more > CHUNK_EVSES):
            yield chunk
            chunk, evses = [], 0
        chunk.append(each)
        evses += more
    if chunk:
        yield chunk


async def _without_taken(tx: WriteTx, chunk: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, with those rejected whose connectors stand in another station."""
    asked: dict[str, list[str]] = {}
    for each in chunk:
        if isinstance(each, Accepted):
            asked.setdefault(each.facts.operator_id, []).extend(evse.connector_id for evse in each.facts.evses)
    holders = {
        (operator_id, connector_id): evse.location_id
        for operator_id, connector_ids in asked.items()
        for connector_id, evse in (await store.by_connector(tx, operator_id, connector_ids)).items()
    }
    judged: list[Verdict] = []
    for each in chunk:
        taken = _taken(each.facts, holders) if isinstance(each, Accepted) else None
        judged.append(Rejected(each.row, each.facts.station_id, taken) if isinstance(each, Accepted) and taken else each)
    return judged


def _taken(facts: LocationFacts, holders: Mapping[tuple[str, str], str]) -> str | None:
    for evse in facts.evses:
        holder = holders.get((facts.operator_id, evse.connector_id), facts.id)
        if holder != facts.id:
            return f"the connector {evse.connector_id} stands in {holder}"
    return None
