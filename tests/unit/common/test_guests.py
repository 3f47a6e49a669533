"""Guests and links: signed by the service, short, and never mistaken for anybody else."""

import json
from datetime import timedelta

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from cityloop_common.auth import Role
from cityloop_common.clock import ManualClock
from cityloop_common.errors import Unauthenticated
from cityloop_common.guests import GuestConfig, Guests
from tests.unit.common.edge import GUEST_KEY, Edge


async def test_a_guest_is_somebody_new_each_time(at_edge: Edge) -> None:
    """Two guests share nothing."""
    first, second = at_edge.guests.new_guest(), at_edge.guests.new_guest()
    identity = await at_edge.guests.verify(first.token)
    assert (identity.subject, identity.roles, identity.reservation_scope) == (first.subject, frozenset({Role.GUEST}), None)
    assert first.subject != second.subject


async def test_a_guest_token_ends(at_edge: Edge) -> None:
    """Exactly when it said."""
    guest = at_edge.guests.new_guest()
    at_edge.clock.advance(guest.expires_in_s - 1)
    await at_edge.guests.verify(guest.token)
    at_edge.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await at_edge.guests.verify(guest.token)


async def test_a_replica_with_a_slow_clock_accepts_a_fresh_token(at_edge: Edge) -> None:
    """A guest's next request may come to a replica whose clock is up to 5 s behind: found by the simulation as a 401."""
    slow = Guests(GuestConfig("tiny", [GUEST_KEY]), clock=ManualClock(at_edge.clock.now() - timedelta(seconds=4.5)), rng=at_edge.rng)
    fresh = at_edge.guests.new_guest()
    assert (await slow.verify(fresh.token)).subject == fresh.subject


async def test_a_link_is_for_one_reservation(at_edge: Edge) -> None:
    """Its bearer acts as the guest who made it, on that reservation, until it expires."""
    link = at_edge.guests.link("r1", subject="guest:a", lasts=timedelta(days=2))
    identity = await at_edge.guests.verify(link.token)
    assert (identity.subject, identity.reservation_scope) == ("guest:a", "r1")
    at_edge.clock.advance(2 * 86400)
    with pytest.raises(Unauthenticated):
        await at_edge.guests.verify(link.token)


async def test_a_changed_key_keeps_old_tokens(at_edge: Edge) -> None:
    """The new key signs, the old one is still accepted, a removed one is not."""
    old = at_edge.guests.new_guest().token
    both = Guests(GuestConfig("tiny", [b"n" * 32, GUEST_KEY]), clock=at_edge.clock, rng=at_edge.rng)
    await both.verify(old)
    only_new = Guests(GuestConfig("tiny", [b"n" * 32]), clock=at_edge.clock, rng=at_edge.rng)
    await only_new.verify(both.new_guest().token)
    with pytest.raises(Unauthenticated):
        await only_new.verify(old)


@pytest.mark.parametrize("keys", [[], [b"short"], [GUEST_KEY, b""]])
def test_weak_keys_are_refused(keys: list[bytes]) -> None:
    """A guest key has at least 32 bytes."""
    with pytest.raises(ValueError, match="32 bytes"):
        GuestConfig("tiny", keys)


async def test_another_services_guests_are_refused(at_edge: Edge) -> None:
    """The same key in two services does not make their guests the same."""
    other = Guests(GuestConfig("other", [GUEST_KEY]), clock=at_edge.clock, rng=at_edge.rng)
    with pytest.raises(Unauthenticated):
        await at_edge.guests.verify(other.new_guest().token)


@pytest.mark.parametrize("change", [{"sub": ""}, {"sub": None}, {"res": 7}, {"exp": None}, {"roles": ["city_admin"]}])
async def test_claims_of_a_guest_are_checked(at_edge: Edge, change: dict[str, object]) -> None:
    """Even under our own key; and no claim makes a guest more than a guest."""
    head, claims = (json.loads(part) for part in _parts(at_edge.guests.new_guest().token))
    token = jws.serialize_compact(head, json.dumps({**claims, **change}), OctKey.import_key(GUEST_KEY), ["HS256"])
    if "roles" in change:
        assert (await at_edge.guests.verify(token)).roles == {Role.GUEST}
    else:
        with pytest.raises(Unauthenticated):
            await at_edge.guests.verify(token)


def _parts(token: str) -> tuple[bytes, bytes]:
    signature = jws.extract_compact(token.encode())
    return json.dumps(signature.protected).encode(), signature.payload
