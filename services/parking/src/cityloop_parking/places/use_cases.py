"""What one does with car parks: import a file, keep one, read one, tell of all again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from cityloop_common import outbox
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import Forbidden, PreconditionFailed, PreconditionRequired
from cityloop_common.geo import Bounds
from cityloop_common.sweeps import BATCH
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import store
from cityloop_parking.places.domain import (
    Accepted,
    ImportReport,
    Place,
    PlaceFacts,
    Rejected,
    UnknownPlace,
    Verdict,
    check,
)
from cityloop_parking.places.events import place_published
from cityloop_parking.places.store import Expect, NewVersion

CHUNK = 200


def _nobody(_done: int) -> None:
    return


async def import_places(
    ctx: ParkingCtx, verdicts: Sequence[Verdict], *, operator_id: str | None = None, progress: Callable[[int], None] = _nobody
) -> ImportReport:
    """Stores the accepted rows of a file, 200 in a unit; a repetition changes and publishes nothing.

    Stopped halfway, the same import goes on where it was. Without an operator each place keeps the one it has.
    """
    accepted = 0
    for start in range(0, len(verdicts), CHUNK):
        chunk = verdicts[start : start + CHUNK]
        facts = [_placed(ctx, each.facts) for each in chunk if isinstance(each, Accepted)]
        async with ctx.db.write() as tx:
            accepted += len(await _put_in(tx, ctx, [NewVersion(each, operator_id, ctx.ids.new()) for each in facts]))
        progress(start + len(chunk))
    rejected = tuple(each for each in verdicts if isinstance(each, Rejected))
    return ImportReport(len(verdicts), accepted, len(verdicts) - len(rejected) - accepted, rejected)


async def upsert_place_in(tx: WriteTx, ctx: ParkingCtx, facts: PlaceFacts, *, operator_id: str | None = None) -> bool:
    """Stores one place of this city in an open unit and tells of it; False when nothing is new.

    Raises InvalidPlace, also for a position outside the city's bounds.
    """
    check(facts, within=city_bounds(ctx))
    return bool(await _put_in(tx, ctx, [NewVersion(_placed(ctx, facts), operator_id, ctx.ids.new())]))


@dataclass(frozen=True, slots=True)
class Kept:
    """A place after `keep_place`; `created` when it was not there before."""

    place: Place
    created: bool


async def keep_place(ctx: ParkingCtx, facts: PlaceFacts, *, operator_id: str, seen_version: int | None) -> Kept:
    """An operator creates or changes a car park of its own.

    Raises InvalidPlace, Forbidden (another operator's), PreconditionRequired (it is there, and other, and the caller did not
    say which version it saw), PreconditionFailed (it is another version by now, or not there).
    """
    check(facts, within=city_bounds(ctx))
    facts = _placed(ctx, facts)
    async with ctx.db.write() as tx:
        known = await store.get(tx, facts.id)
        if known is not None and known.operator_id != operator_id:
            raise Forbidden("This car park belongs to another operator.")
        if known is None and seen_version is not None:
            raise PreconditionFailed("There is no such car park.")
        if known is not None and known.facts.content_hash() == facts.content_hash():
            return Kept(known, created=False)
        if known is not None and seen_version is None:
            raise PreconditionRequired('Send `If-Match: "<version>"` with the ETag you were given.')
        expected = Expect.NOTHING if seen_version is None else seen_version
        changed = await _put_in(tx, ctx, [NewVersion(facts, operator_id, ctx.ids.new(), expected)])
        if not changed:
            raise PreconditionFailed("The car park was changed by somebody else.")
        return Kept(changed[0], created=known is None)


async def write_missing_journal(ctx: ParkingCtx) -> int:
    """Sweep: places that were written by somebody who did not know the journal get their row; answers how many."""
    async with ctx.db.write() as tx:
        return await store.write_missing_journal(tx, city=city_bounds(ctx), most=BATCH)


async def read_place(ctx: ParkingCtx, place_id: str) -> Place:
    """One car park. Raises UnknownPlace."""
    async with ctx.db.read() as tx:
        found = await store.get(tx, place_id)
    if found is None:
        raise UnknownPlace
    return found


async def republished(ctx: ParkingCtx, key: str | None) -> AsyncIterator[Event]:
    """The newest event of every place, or of one, as it was first published: same id, sequence and time."""
    if key is not None:
        async with ctx.db.read() as tx:
            found = await store.get(tx, key)
        if found is not None:
            yield place_published(found, source=ctx.source)
        return
    after = ""
    while True:
        async with ctx.db.read() as tx:
            places = await store.page(tx, after=after, most=CHUNK)
        if not places:
            return
        for each in places:
            yield place_published(each, source=ctx.source)
        after = places[-1].id


def city_bounds(ctx: ParkingCtx) -> Bounds:
    """The jurisdiction as it is set."""
    return Bounds(*ctx.settings.shared.city_bounds)


def _placed(ctx: ParkingCtx, facts: PlaceFacts) -> PlaceFacts:
    """Facts with the district that the polygons say; the source's own word outside of all of them.

    Before the content is compared: other polygons and the same import again give the places their new districts.
    """
    district = ctx.districts.of(facts.position)
    return facts if district is None else replace(facts, district=district)


async def _put_in(tx: WriteTx, ctx: ParkingCtx, new: Sequence[NewVersion]) -> list[Place]:
    changed = await store.put(tx, new)
    await store.write_journal(tx, changed, city=city_bounds(ctx))
    await outbox.append_many(tx, [place_published(each, source=ctx.source) for each in changed])
    return changed
