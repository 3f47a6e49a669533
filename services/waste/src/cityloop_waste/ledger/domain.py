"""What a weighed load is, when a ticket can be believed, and how a correction replaces what it corrects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from cityloop_common import errors
from cityloop_waste.fleet.domain import Site, SiteKind, Truck
from cityloop_waste.streams import Stream

FUTURE_ALLOWED = timedelta(minutes=5)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
HEAVIEST_KG = 200_000
MOST_GENERATED_KG = 2_000_000_000
_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}", re.ASCII)
LOAD_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$"


class LedgerError(errors.CityLoopError):
    """Something about loads and estimates that the caller can understand::

    LedgerError
    ├── UnknownLoad 404            no such load, or not at a site of the caller's
    ├── InvalidLoad 422            facts that no weighbridge can mean
    │   ├── NetNotPositive         tare is not below gross
    │   ├── LoadFromTheFuture      weighed more than 5 minutes after now
    │   ├── StreamNotAccepted      the site does not take this stream
    │   ├── ForeignTruck           the truck's operator may not unload at this site
    │   └── LoadUnknown            it corrects a load that this site does not have
    ├── ForeignSite 403            another operator's site
    ├── TicketTaken 409            the ticket number stands for another load of this site
    ├── WeighingTaken 409          the truck was weighed there in that minute with this gross, and something else differs
    ├── AlreadyCorrected 409       it corrects a load that has a newer version
    ├── LoadVoided 409             it was taken back: nothing follows
    └── InvalidEstimate 422        a day that has not begun, a district that nobody knows
    """


class UnknownLoad(LedgerError, errors.NotFound):
    slug, title = "load-not-found", "No such load"


class InvalidLoad(LedgerError, errors.Invalid):
    slug, title = "load-invalid", "The load cannot be true"


class NetNotPositive(InvalidLoad):
    slug, title = "net-not-positive", "The net mass is not above zero"


class LoadFromTheFuture(InvalidLoad):
    slug, title = "load-from-the-future", "The load was weighed later than now"


class StreamNotAccepted(InvalidLoad):
    slug, title = "stream-not-accepted", "The site does not take this stream"


class ForeignTruck(InvalidLoad):
    slug, title = "truck-foreign", "The truck may not unload at this site"


class LoadUnknown(InvalidLoad):
    slug, title = "load-unknown", "No such load at this site"


class ForeignSite(LedgerError, errors.Forbidden):
    slug, title = "site-foreign", "The site belongs to another operator"


class TicketTaken(LedgerError, errors.Conflict):
    slug, title = "ticket-taken", "The ticket number stands for another load"


class WeighingTaken(LedgerError, errors.Conflict):
    slug, title = "weighing-taken", "The truck was weighed in that minute with other figures"


class AlreadyCorrected(LedgerError, errors.Conflict):
    slug, title = "already-corrected", "The load has a newer version"


class LoadVoided(LedgerError, errors.Conflict):
    slug, title = "load-voided", "The load was taken back"


class InvalidEstimate(LedgerError, errors.Invalid):
    slug, title = "estimate-invalid", "The estimate cannot be used"


class Flag(StrEnum):
    """What is odd about a load that counts all the same."""

    STREAM_DIFFERS = "stream-differs"
    OVER_MAX_MASS = "over-max-mass"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a weighbridge says of one load; `corrects` is the load that it replaces."""

    site_id: str
    truck_id: str
    stream: Stream
    ticket_no: str
    gross_kg: int
    tare_kg: int
    weighed_at: datetime
    district: str | None = None
    corrects: str | None = None

    @property
    def net_kg(self) -> int:
        """What was tipped."""
        return self.gross_kg - self.tare_kg

    @property
    def minute(self) -> int:
        """The minute of the weighing since the epoch: a truck stands on a weighbridge once in it."""
        return int(self.weighed_at.timestamp()) // 60

    def is_same_weighing(self, other: Ticket) -> bool:
        """Whether another ticket tells of the same load under another number."""
        mine = (self.site_id, self.truck_id, self.minute, self.gross_kg, self.tare_kg, self.stream)
        return mine == (other.site_id, other.truck_id, other.minute, other.gross_kg, other.tare_kg, other.stream)


@dataclass(frozen=True, slots=True)
class Load:
    """A journal row: one version of a load. The first row's id is the `chain_id` of all its versions.

    A version with a `void_reason` takes the load back: it says what the one before it said, and counts for nothing.
    """

    id: str
    chain_id: str
    version: int
    ticket: Ticket
    site_kind: SiteKind
    district: str | None
    flags: tuple[Flag, ...]
    event_id: str
    recorded_at: datetime
    corrected_by: str | None = None
    void_reason: str | None = None

    @property
    def void(self) -> bool:
        """Whether the load was taken back."""
        return self.void_reason is not None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a district is estimated to generate on a local day, one version of it; `method` says how one knows."""

    id: str
    district: str
    on: date
    mass_kg: int
    method: str
    version: int
    corrects: str | None
    recorded_at: datetime


def check(ticket: Ticket, now: datetime) -> None:
    """Whether a ticket can be true by itself. Raises InvalidLoad and its kinds."""
    if not _TICKET.fullmatch(ticket.ticket_no):
        raise InvalidLoad("a ticket number has letters, digits, dot, dash, slash and underscore, 40 at most")
    if ticket.net_kg <= 0:
        raise NetNotPositive(f"gross {ticket.gross_kg} kg less tare {ticket.tare_kg} kg is {ticket.net_kg} kg", **_weights(ticket))
    if ticket.weighed_at > now + FUTURE_ALLOWED:
        late_s = (ticket.weighed_at - now).total_seconds()
        raise LoadFromTheFuture(f"weighed {late_s:.0f} s after now; {FUTURE_ALLOWED.seconds} s are allowed")
    if ticket.weighed_at < OLDEST:
        raise InvalidLoad("weighed before the year 2000")


def admit(ticket: Ticket, site: Site, truck: Truck) -> tuple[Flag, ...]:
    """What is odd about a load of this truck at this site. Raises StreamNotAccepted, ForeignTruck.

    A ticket of another stream than the truck's is flagged and stays what the ticket says: nothing is moved.
    """
    _accept(ticket, site)
    _let_in(truck, site)
    return _flags(ticket, truck, over_max_mass=_over_max_mass(ticket, truck))


def admit_correction(ticket: Ticket, site: Site, truck: Truck, before: Load) -> tuple[Flag, ...]:
    """`admit` for a correction: what it leaves as it was is not asked of today's registry again.

    The load was let in when it came. Raises StreamNotAccepted, ForeignTruck.
    """
    told = before.ticket
    if ticket.stream is not told.stream:
        _accept(ticket, site)
    if ticket.truck_id != told.truck_id:
        _let_in(truck, site)
    weighed_alike = (ticket.truck_id, ticket.gross_kg) == (told.truck_id, told.gross_kg)
    over = Flag.OVER_MAX_MASS in before.flags if weighed_alike else _over_max_mass(ticket, truck)
    return _flags(ticket, truck, over_max_mass=over)


def corrected_district(ticket: Ticket, truck: Truck, before: Load) -> str | None:
    """Where a corrected load is from: what its ticket says, else the district that its truck had when it was first told of.

    Only where the correction names another truck, or takes back a district that was named, the truck's present one is asked.
    """
    if ticket.district is not None:
        return ticket.district
    stays = ticket.truck_id == before.ticket.truck_id and before.ticket.district is None
    return before.district if stays else truck.district


def voided(before: Load, reason: str, *, id: str, event_id: str, recorded_at: datetime) -> Load:
    """The version that takes a load back."""
    return replace(
        before,
        id=id,
        version=before.version + 1,
        ticket=replace(before.ticket, corrects=before.id),
        event_id=event_id,
        recorded_at=recorded_at,
        corrected_by=None,
        void_reason=reason,
    )


def _accept(ticket: Ticket, site: Site) -> None:
    if ticket.stream not in site.streams:
        raise StreamNotAccepted(f"{site.id} takes {', '.join(site.streams)}, not {ticket.stream}")


def _let_in(truck: Truck, site: Site) -> None:
    if not site.admits(truck):
        raise ForeignTruck(f"trucks of {truck.operator_id} may not unload at {site.id}")


def _over_max_mass(ticket: Ticket, truck: Truck) -> bool:
    return truck.max_mass_kg is not None and ticket.gross_kg > truck.max_mass_kg


def _flags(ticket: Ticket, truck: Truck, *, over_max_mass: bool) -> tuple[Flag, ...]:
    flags = [Flag.STREAM_DIFFERS] if ticket.stream is not truck.stream else []
    return (*flags, Flag.OVER_MAX_MASS) if over_max_mass else tuple(flags)


def _weights(ticket: Ticket) -> Mapping[str, int]:
    return {"gross_kg": ticket.gross_kg, "tare_kg": ticket.tare_kg, "net_kg": ticket.net_kg}
