"""What an API replica needs for people without an account: it signs their tokens and hides their networks."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import timedelta

from cityloop_common.auth import Principal, Role
from cityloop_common.guests import GuestConfig, Guests
from cityloop_common.keys import key_for
from cityloop_parking.context import ParkingCtx
from cityloop_parking.reservations.domain import LINK_OUTLIVES, Holder, Reservation


@dataclass(frozen=True, slots=True)
class GuestDesk:
    """Guest tokens, links, and the key under which networks are counted."""

    guests: Guests
    network_key: bytes = field(repr=False)

    def holder(self, caller: Principal) -> Holder:
        """Who holds. A guest is counted by network too: subjects cost nothing; users share networks by the thousand."""
        if not caller.has(Role.GUEST):
            return Holder(caller.subject, None)
        return Holder(caller.subject, hmac.digest(self.network_key, caller.network.encode(), "sha256").hex())

    def link(self, made: Reservation, holder: Holder) -> str:
        """A token that opens this one reservation until a day after its end."""
        lasts = made.ends_at + LINK_OUTLIVES - made.created_at
        return self.guests.link(made.id, subject=holder.subject, lasts=lasts).token


def open_guest_desk(ctx: ParkingCtx) -> GuestDesk:
    """The desk by the settings. Raises SettingsError when a key is missing in production, or too short."""
    shared = ctx.settings.shared
    guest_key = ctx.settings.guest_key.get_secret_value() if ctx.settings.guest_key else None
    hash_key = shared.hash_key.get_secret_value() if shared.hash_key else None
    config = GuestConfig(
        service=ctx.service,
        keys=[key_for(f"{ctx.service}-guests", guest_key, shared, ctx.rng)],
        guest_for=timedelta(seconds=ctx.settings.guest_token_for_s),
    )
    return GuestDesk(Guests(config, clock=ctx.clock, rng=ctx.rng), key_for("hash", hash_key, shared, ctx.rng))
