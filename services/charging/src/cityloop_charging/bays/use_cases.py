"""What one does with links: hear of car parks, propose, claim, confirm, reject, withdraw, list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cityloop_charging.bays import store
from cityloop_charging.bays.domain import (
    BY_SCORE,
    CLAIM_WITHIN_M,
    WITHIN_M,
    By,
    ClaimTooFar,
    Decider,
    Link,
    LinkDecided,
    LinkState,
    Station,
    UnknownLink,
    candidates,
    check_claim,
    outranks,
)
from cityloop_charging.bays.store import Cause, ListedLink, Unlinked
from cityloop_charging.bays.views import Happened, PlaceView
from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry import store as registry
from cityloop_charging.registry.domain import Location, UnknownLocation
from cityloop_charging.registry.use_cases import city_bounds, set_place_in
from cityloop_common import idempotency
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.geo import Position, distance_m
from cityloop_common.idempotency import Answer

MOST_STATIONS = 500  # of one car park's neighbourhood
SCORED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What makes a repeated request the same one: who, the Idempotency-Key if there is one, and the fingerprint."""

    caller: str
    key: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Claim:
    """An operator says in which car park its station stands; `bay_nos` are the bays that it says it serves."""

    location_id: str
    place_id: str
    bay_nos: tuple[str, ...] = ()


async def once(ctx: ChargingCtx, asked: Asked, effect: Callable[[WriteTx], Awaitable[Answer]]) -> Answer:
    """Runs an effect and stores its answer in one unit; the same request again gets the stored answer."""
    async with ctx.db.write() as tx:
        return await idempotency.once(tx, caller=asked.caller, key=asked.key, fingerprint=asked.fingerprint, run=lambda: effect(tx))


async def on_place(tx: WriteTx, ctx: Ctx[Any], event: Event, view: PlaceView) -> None:
    """Consumes `parking.place.published`: keeps charging's own view, and proposes stations that stand near."""
    position = Position(view.lon, view.lat)
    district, in_city = ctx.districts.of(position) or view.district, city_bounds(ctx).contains(position)
    place = view.place(sequence=event.sequence, district=district, in_city=in_city)
    cause = Cause(ctx.ids.new(), event.id, event.source)
    if not await store.put_place(tx, place, happened_at=event.time, cause=cause):
        return
    near = {each.id: each for _, each in await registry.near(tx, position, radius_m=WITHIN_M + 1, most=MOST_STATIONS)}
    for location_id in await store.proposed_for(tx, place.id):
        if location_id not in near and (moved := await registry.get(tx, location_id)) is not None:
            near[moved.id] = moved
    for _, station in sorted(near.items()):
        await _propose_in(tx, ctx, station, event.id)


async def on_location(tx: WriteTx, ctx: Ctx[Any], event: Event, _view: Happened) -> None:
    """Consumes `charging.location.published`, the service's own: proposes the car park that a new or moved station stands in."""
    station = await registry.get(tx, event.key)
    if station is not None:
        await _propose_in(tx, ctx, station, event.id)


async def claim_in(tx: WriteTx, ctx: ChargingCtx, claim: Claim) -> Link:
    """The operator of a station says which car park it stands in; a person decides. The same claim again changes nothing.

    Raises UnknownLocation, InvalidClaim, ClaimTooFar (only for a car park that was heard of), LinkDecided.
    """
    check_claim(claim.place_id, claim.bay_nos)
    location = await _held(tx, claim.location_id)
    known = await store.hold_link(tx, location.id)
    if known is not None and known.state is LinkState.CONFIRMED:
        if known.place_id != claim.place_id:
            raise LinkDecided(f"It is confirmed to stand in {known.place_id}.")
        return known
    evidence = await _evidence(tx, location, claim.place_id) | {"claimed": True, "bay_nos": list(claim.bay_nos)}
    metres = evidence.get("distance_m")
    if isinstance(metres, int) and metres > CLAIM_WITHIN_M:
        raise ClaimTooFar(f"{claim.place_id} is {metres} m away from the station, more than {CLAIM_WITHIN_M} m.")
    by = By(Decider.OPERATOR)
    if known is not None and (known.state, known.by, known.place_id, known.evidence) == (LinkState.PROPOSED, by, claim.place_id, evidence):
        return known
    return await _decide(tx, ctx, _moved(tx, known, location.id, claim.place_id, LinkState.PROPOSED, by, evidence), ctx.ids.new())


async def confirm(ctx: ChargingCtx, location_id: str, place_id: str, by: By) -> Link:
    """A person confirms that a station stands in a car park. Raises UnknownLocation, InvalidClaim, LinkDecided."""
    async with ctx.db.write() as tx:
        return await confirm_in(tx, ctx, location_id, place_id, by)


async def confirm_in(tx: WriteTx, ctx: ChargingCtx, location_id: str, place_id: str, by: By) -> Link:
    """`confirm` in an open unit; confirming again changes nothing. The car park need not have been heard of yet."""
    check_claim(place_id, ())
    location = await _held(tx, location_id)
    known = await store.hold_link(tx, location.id)
    if known is not None and known.state is LinkState.CONFIRMED:
        if known.place_id != place_id:
            raise LinkDecided(f"It is confirmed to stand in {known.place_id}: withdraw that first.")
        return known
    same = known is not None and known.place_id == place_id
    evidence = known.evidence if known is not None and same else await _evidence(tx, location, place_id)
    told = await set_place_in(tx, ctx, location.id, place_id, source=str(by.decider))
    confirmed = _moved(tx, known, location.id, place_id, LinkState.CONFIRMED, by, evidence)
    return await _decide(tx, ctx, confirmed, told.event_id if told else ctx.ids.new())


async def reject_in(tx: WriteTx, ctx: ChargingCtx, location_id: str, place_id: str, by: By) -> Link:
    """A person says that a proposal is wrong: it is not proposed again, the next best is. Rejecting again changes nothing.

    Raises UnknownLocation, UnknownLink (not what is proposed), LinkDecided (it is confirmed).
    """
    location = await _held(tx, location_id)
    known = await store.hold_link(tx, location.id)
    if known is not None and known.place_id == place_id and known.state is LinkState.CONFIRMED:
        raise LinkDecided("It is confirmed: withdraw it instead.")
    if known is None or known.place_id != place_id or known.state is not LinkState.PROPOSED:
        return await _as_before(tx, location, place_id, LinkState.REJECTED)
    rejected = _moved(tx, known, location.id, place_id, LinkState.REJECTED, by, known.evidence)
    event_id = ctx.ids.new()
    await _decide(tx, ctx, rejected, event_id)
    await _propose_in(tx, ctx, location, event_id)
    return rejected


async def withdraw_in(tx: WriteTx, ctx: ChargingCtx, location_id: str, place_id: str, by: By) -> Link:
    """A person takes a confirmed link back: its bays no longer count from now on. Withdrawing again changes nothing.

    Raises UnknownLocation, UnknownLink (not what is confirmed).
    """
    location = await _held(tx, location_id)
    known = await store.hold_link(tx, location.id)
    if known is None or known.place_id != place_id or known.state is not LinkState.CONFIRMED:
        return await _as_before(tx, location, place_id, LinkState.WITHDRAWN)
    told = await set_place_in(tx, ctx, location.id, None, source=str(by.decider))
    withdrawn = _moved(tx, known, location.id, place_id, LinkState.WITHDRAWN, by, known.evidence)
    event_id = told.event_id if told else ctx.ids.new()
    await _decide(tx, ctx, withdrawn, event_id)
    await _propose_in(tx, ctx, location, event_id)
    return withdrawn


async def links(ctx: ChargingCtx, *, state: LinkState | None, after: str, most: int) -> Sequence[ListedLink]:
    """Links in the order of their stations."""
    async with ctx.db.read() as tx:
        return await store.page(tx, state=state, after=after, most=most)


async def unlinked(ctx: ChargingCtx, *, after: str, most: int) -> Sequence[Unlinked]:
    """Stations without a confirmed car park."""
    async with ctx.db.read() as tx:
        return await store.unlinked(tx, after=after, most=most)


async def propose_missed(ctx: ChargingCtx) -> int:
    """Sweep: scores open stations without any link again, a unit for each 100; answers how many got a proposal.

    A car park and a station that appear at the same moment on two workers do not see each other: neither proposes.
    """
    proposed, after = 0, ""
    while True:
        async with ctx.db.write() as tx:
            found = await store.never_linked(tx, after=after, most=SCORED_AT_ONCE)
            for location_id in found:
                station = await registry.get(tx, location_id)
                if station is not None:
                    proposed += await _propose_in(tx, ctx, station, ctx.ids.new())
        if len(found) < SCORED_AT_ONCE:
            return proposed
        after = found[-1]


async def _propose_in(tx: WriteTx, ctx: ChargingCtx, location: Location, event_id: str) -> bool:
    """Writes the best car park near a station as a proposal, where the scoring may; False when nothing was written."""
    known = await store.hold_link(tx, location.id)
    if known is not None and (known.state is LinkState.CONFIRMED or known.by.decider is Decider.OPERATOR):
        return False
    near = await store.places_near(tx, location.facts.position, radius_m=WITHIN_M + 1)
    refused = await store.refused(tx, location.id) if near and known is not None else set()
    best = next(iter(candidates(_station(location), near, refused=refused)), None)
    if not outranks(best, known):
        return False
    if best is not None:
        new = _moved(tx, known, location.id, best.place_id, LinkState.PROPOSED, BY_SCORE, best.evidence())
    else:
        assert known is not None
        new = _moved(tx, known, location.id, known.place_id, LinkState.WITHDRAWN, BY_SCORE, {"reason": f"not within {WITHIN_M} m any more"})
    return await store.propose(tx, new, Cause(ctx.ids.new(), event_id, str(Decider.SCORE)))


async def _held(tx: WriteTx, location_id: str) -> Location:
    """A station whose row, and thereby its link, is this unit's until it ends."""
    location = await registry.get(tx, location_id) if await registry.lock(tx, location_id) else None
    if location is None:
        raise UnknownLocation
    return location


async def _as_before(tx: WriteTx, location: Location, place_id: str, state: LinkState) -> Link:
    """The pair's own last word when it is already this one. Raises UnknownLink."""
    before = await store.last_of_pair(tx, location.id, place_id)
    if before is None or before.state is not state or before.by.decider is Decider.SCORE:
        raise UnknownLink
    return before


async def _evidence(tx: WriteTx, location: Location, place_id: str) -> dict[str, object]:
    """What is known of a pair that the scoring did not propose."""
    place = await store.get_place(tx, place_id)
    if place is None:
        return {"place_known": False}
    return {"place_known": True, "distance_m": round(distance_m(location.facts.position, place.position))}


async def _decide(tx: WriteTx, ctx: ChargingCtx, new: Link, event_id: str) -> Link:
    source = f"operator:{new.location_id[:9]}" if new.by.decider is Decider.OPERATOR else str(new.by.decider)
    await store.decide(tx, new, Cause(ctx.ids.new(), event_id, source))
    return new


def _moved(tx: WriteTx, known: Link | None, location_id: str, place_id: str, state: LinkState, by: By, evidence: Any) -> Link:
    """The next word on a station's car park; it happened after the one that is held, whatever the clocks of two replicas say."""
    happened_at = tx.recorded_at if known is None else max(tx.recorded_at, known.happened_at + timedelta(microseconds=1))
    return Link(location_id, place_id, state, by, evidence, happened_at, tx.recorded_at)


def _station(location: Location) -> Station:
    facts = location.facts
    return Station(location.id, facts.name, facts.name_en, facts.position, len(facts.evses))
