"""What people do with the ledger: weigh a load, correct one, take one back, estimate what is generated, read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

from cityloop_common import outbox, telemetry
from cityloop_common.clock import city_day
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import CityLoopError, Contention
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Site, SiteUnknown, Truck, TruckUnknown
from cityloop_waste.ledger import domain, store
from cityloop_waste.ledger.domain import (
    AlreadyCorrected,
    Estimate,
    ForeignSite,
    InvalidEstimate,
    InvalidLoad,
    Load,
    LoadUnknown,
    LoadVoided,
    Ticket,
    TicketTaken,
    UnknownLoad,
    WeighingTaken,
)
from cityloop_waste.ledger.events import load_told
from cityloop_waste.ledger.scope import Scope, SitesOf, WholeCity

PAGE = 200
ESTIMATE_TRIES = 10
LOADS = telemetry.counter("waste_loads_total", "Loads told of by weighbridges, by what became of them", ("outcome",))
_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A load in the ledger; a duplicate is the load that was told of before."""

    load: Load
    duplicate: bool


async def record(ctx: WasteCtx, ticket: Ticket, *, operator_id: str) -> Recorded:
    """Takes a ticket of a site's operator, once. See `record_in`."""
    async with ctx.db.write() as tx:
        return await record_in(tx, ctx, ticket, operator_id=operator_id)


async def record_in(tx: WriteTx, ctx: WasteCtx, ticket: Ticket, *, operator_id: str) -> Recorded:
    """`record` in an open unit: journal row, what the ticket number stands for, event.

    Raises SiteUnknown, ForeignSite, TruckUnknown, InvalidLoad and its kinds, TicketTaken, WeighingTaken, AlreadyCorrected,
    LoadVoided.
    """
    try:
        site = await fleet.site_by_id(tx, ticket.site_id)
        if site is None:
            raise SiteUnknown(f"there is no site {ticket.site_id}")
        if site.operator_id != operator_id:
            raise ForeignSite
        recorded = await (_weighed(tx, ctx, ticket, site) if ticket.corrects is None else _corrected(tx, ctx, ticket, site))
    except CityLoopError as refused:
        LOADS.add(refused.slug)
        _log.info("load-refused", site_id=ticket.site_id, truck_id=ticket.truck_id, reason=refused.slug)
        raise
    outcome = "duplicate" if recorded.duplicate else "stored"
    tx.after_commit(lambda: LOADS.add(outcome))
    return recorded


async def void(ctx: WasteCtx, load_id: str, reason: str, *, operator_id: str) -> Load:
    """Takes a load back that should not be there. See `void_in`."""
    async with ctx.db.write() as tx:
        return await void_in(tx, ctx, load_id, reason, operator_id=operator_id)


async def void_in(tx: WriteTx, ctx: WasteCtx, load_id: str, reason: str, *, operator_id: str) -> Load:
    """`void` in an open unit: a further version that counts for nothing; answers it. Taking it back again changes nothing.

    Raises UnknownLoad (also at another operator's site), AlreadyCorrected (it names an older version).
    """
    asked = await store.get(tx, load_id, SitesOf(operator_id))
    if asked is None:
        raise UnknownLoad
    if asked.corrected_by is None and not asked.void:
        new = domain.voided(asked, reason, id=ctx.ids.new(), event_id=ctx.ids.new(), recorded_at=tx.recorded_at)
        if await store.append(tx, new):
            await outbox.append(tx, load_told(new, source=ctx.source))
            tx.after_commit(lambda: LOADS.add("voided"))
            return new
    newest = await store.newest(tx, asked.chain_id)
    if newest is not None and newest.void and load_id in (newest.id, newest.ticket.corrects):
        return newest
    raise AlreadyCorrected("take the newest version back", load_id=newest.id if newest else None)


async def find(ctx: WasteCtx, load_id: str, scope: Scope) -> list[Load]:
    """Every version of the load that this one belongs to. Raises UnknownLoad, also for another operator's."""
    async with ctx.db.read() as tx:
        found = await store.get(tx, load_id, scope)
        if found is None:
            raise UnknownLoad
        return await store.chain(tx, found.chain_id)


async def page(ctx: WasteCtx, wanted: store.Wanted, scope: Scope, *, most: int) -> list[Load]:
    """Versions of loads that the reader may see, the last learnt first."""
    async with ctx.db.read() as tx:
        return await store.page(tx, wanted, scope, most=most)


async def estimate(ctx: WasteCtx, district: str, on: date, *, mass_kg: int, method: str) -> Estimate:
    """Says what a district generated on a local day; another word on the same day is a correction, the same word changes nothing.

    Raises InvalidEstimate.
    """
    async with ctx.db.write() as tx:
        return await estimate_in(tx, ctx, district, on, mass_kg=mass_kg, method=method)


async def estimate_in(tx: WriteTx, ctx: WasteCtx, district: str, on: date, *, mass_kg: int, method: str) -> Estimate:
    """`estimate` in an open unit."""
    if on > city_day(ctx.clock.now()):
        raise InvalidEstimate("the day has not begun")
    if len(ctx.districts) and ctx.districts.get(district) is None:
        raise InvalidEstimate("no such district")
    for _ in range(ESTIMATE_TRIES):
        known = await store.newest_estimate(tx, district, on)
        if known is not None and (known.mass_kg, known.method) == (mass_kg, method):
            return known
        version, corrects = (1, None) if known is None else (known.version + 1, known.id)
        new = Estimate(ctx.ids.new(), district, on, mass_kg, method, version, corrects, tx.recorded_at)
        if await store.append_estimate(tx, new, event_id=ctx.ids.new()):
            return new
    raise Contention  # each time somebody else was first


async def estimates(ctx: WasteCtx, *, since: date, until: date, district: str | None) -> list[Estimate]:
    """The newest estimates of some days."""
    async with ctx.db.read() as tx:
        return await store.estimates(tx, since=since, until=until, district=district)


async def republished(ctx: WasteCtx, key: str | None) -> AsyncIterator[Event]:
    """Every event of every load, or of one, as it was first published: same id, sequence and time."""
    after = ""
    while True:
        async with ctx.db.read() as tx:
            found = await store.told_page(tx, chain_id=key, after=after, most=PAGE)
        for each in found:
            yield load_told(each, source=ctx.source)
        if len(found) < PAGE:
            return
        after = found[-1].id


async def _weighed(tx: WriteTx, ctx: WasteCtx, ticket: Ticket, site: Site) -> Recorded:
    """A first version, unless the ticket or the weighing is known."""
    known = await store.claimed(tx, ticket.site_id, ticket.ticket_no)
    if known is not None:
        return await _repeated(tx, ticket, known)
    truck = await _believed(tx, ctx, ticket)
    flags = domain.admit(ticket, site, truck)
    same = await store.same_weighing(tx, ticket, but_chain=None)
    load_id = ctx.ids.new()
    claim = store.Claimed(load_id, load_id) if same is None else store.Claimed(same.id, same.chain_id)
    if same is not None and not ticket.is_same_weighing(same.ticket):
        raise WeighingTaken("send a correction when the first ticket was wrong", load_id=same.id)
    if not await store.claim(tx, ticket.site_id, ticket.ticket_no, claim):  # somebody was first, in this very moment
        known = await store.claimed(tx, ticket.site_id, ticket.ticket_no)
        if known is None:
            raise Contention
        return await _repeated(tx, ticket, known)
    if same is not None:
        return Recorded(same, duplicate=True)
    new = Load(
        id=load_id,
        chain_id=load_id,
        version=1,
        ticket=ticket,
        site_kind=site.kind,
        district=ticket.district or truck.district,
        flags=flags,
        event_id=ctx.ids.new(),
        recorded_at=tx.recorded_at,
    )
    if not await store.append(tx, new):
        raise Contention
    await outbox.append(tx, load_told(new, source=ctx.source))
    return Recorded(new, duplicate=False)


async def _repeated(tx: WriteTx, ticket: Ticket, known: store.Claimed) -> Recorded:
    """The load that a ticket number stands for, when the ticket says the same again. Raises TicketTaken."""
    first = await store.get(tx, known.load_id, WholeCity())
    if first is None:
        raise Contention
    same = ticket == first.ticket if ticket.ticket_no == first.ticket.ticket_no else ticket.is_same_weighing(first.ticket)
    if not same:
        raise TicketTaken("another load has this ticket number; a correction says which load it corrects", load_id=first.id)
    return Recorded(first, duplicate=True)


async def _corrected(tx: WriteTx, ctx: WasteCtx, ticket: Ticket, site: Site) -> Recorded:
    """The next version of a load, unless it is known. What the correction does not touch stays as it was told: the registry may differ."""
    before = await store.get(tx, ticket.corrects or "", WholeCity())
    if before is None or before.ticket.site_id != ticket.site_id:
        raise LoadUnknown("a correction names a load of the same site")
    if before.corrected_by is not None:
        return await _corrected_before(tx, ticket, before)
    if before.void:
        raise LoadVoided("a load that is there is weighed anew", load_id=before.id)
    truck = await _believed(tx, ctx, ticket)
    flags = domain.admit_correction(ticket, site, truck, before)
    if _says(ticket) == _says(before.ticket):
        raise InvalidLoad("the correction changes nothing")
    same = await store.same_weighing(tx, ticket, but_chain=before.chain_id)
    if same is not None:
        raise WeighingTaken("another load has this truck, minute and gross", load_id=same.id)
    new = Load(
        id=ctx.ids.new(),
        chain_id=before.chain_id,
        version=before.version + 1,
        ticket=ticket,
        site_kind=before.site_kind,
        district=domain.corrected_district(ticket, truck, before),
        flags=flags,
        event_id=ctx.ids.new(),
        recorded_at=tx.recorded_at,
    )
    if not await store.claim(tx, ticket.site_id, ticket.ticket_no, store.Claimed(new.id, new.chain_id)):
        known = await store.claimed(tx, ticket.site_id, ticket.ticket_no)
        if known is None or known.chain_id != before.chain_id:
            raise TicketTaken("another load has this ticket number", load_id=known.load_id if known else None)
    if not await store.append(tx, new):  # another correction of the same row is there since
        return await _corrected_before(tx, ticket, await store.get(tx, before.id, WholeCity()) or before)
    await outbox.append(tx, load_told(new, source=ctx.source))
    return Recorded(new, duplicate=False)


async def _corrected_before(tx: WriteTx, ticket: Ticket, before: Load) -> Recorded:
    known = await store.get(tx, before.corrected_by or "", WholeCity())
    if known is not None and not known.void and known.ticket == ticket:
        return Recorded(known, duplicate=True)
    newest = await store.newest(tx, before.chain_id)
    if newest is not None and newest.void:
        raise LoadVoided("a load that is there is weighed anew", load_id=newest.id)
    raise AlreadyCorrected("correct the newest version", load_id=newest.id if newest else before.corrected_by)


async def _believed(tx: WriteTx, ctx: WasteCtx, ticket: Ticket) -> Truck:
    """The truck of a ticket that can be true, locked: its weighings are looked at one after the other."""
    domain.check(ticket, ctx.clock.now())
    truck = await fleet.truck_by_id(tx, ticket.truck_id)
    if truck is None:
        raise TruckUnknown(f"there is no truck {ticket.truck_id}")
    if ticket.district is not None and len(ctx.districts) and ctx.districts.get(ticket.district) is None:
        raise InvalidLoad("no such district")
    await store.lock_truck(tx, truck)
    return truck


def _says(ticket: Ticket) -> tuple[object, ...]:
    return (
        ticket.truck_id,
        ticket.stream,
        ticket.ticket_no,
        ticket.gross_kg,
        ticket.tare_kg,
        ticket.weighed_at,
        ticket.district,
    )
