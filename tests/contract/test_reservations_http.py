"""Reservations over HTTP, on every database: status, headers, owners, guests, repetition, bad input."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.clock import rfc3339
from cityloop_common.errors import Unauthenticated
from cityloop_parking.reservations import api, use_cases
from cityloop_parking.reservations.guest_desk import GuestDesk, open_guest_desk
from tests.contract.reservations_support import PLACE, City, city, make_tables

USERS = {
    "anna": Identity("anna", frozenset({Role.CITIZEN}), 1e11),
    "boris": Identity("boris", frozenset({Role.CITIZEN}), 1e11),
    "admin": Identity("admin", frozenset({Role.CITY_ADMIN}), 1e11),
    "operator": Identity("operator", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op-1"),
    "rival": Identity("rival", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op-2"),
    "crew": Identity("crew", frozenset({Role.CREW}), 1e11),
}


@dataclass(frozen=True)
class Tokens:
    """Names as tokens for users; guests' tokens are real ones."""

    desk: GuestDesk

    async def verify(self, token: str) -> Identity:
        if "." in token:
            return await self.desk.guests.verify(token)
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


@dataclass(frozen=True)
class Street:
    """The city behind its HTTP door."""

    town: City
    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, who: str | None = "anna", **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["authorization"] = f"Bearer {who}"
        return await self.client.request(method, f"/parking/v1{path}", headers=headers, **more)

    def want(self, **changes: object) -> dict[str, object]:
        starts_at = self.town.clock.now() + timedelta(hours=1)
        stay = {
            "place_id": PLACE,
            "category": "standard",
            "starts_at": rfc3339(starts_at),
            "ends_at": rfc3339(starts_at + timedelta(hours=1)),
        }
        return stay | changes

    async def hold(self, who: str = "anna", **more: Any) -> httpx.Response:
        return await self.ask("POST", "/reservations", who, **({"json": self.want()} | more))


@pytest.fixture
async def street(url: str, tmp_path: Path) -> AsyncIterator[Street]:
    """A city with two spaces at one place."""
    await make_tables(url)
    async with city(url, tmp_path) as town:
        await town.open_place(2)
        desk = open_guest_desk(town.ctx)
        app = http.create_app(town.ctx, title="t", version="1", routers=[api.router], verifier=Tokens(desk), health=http.Health())
        app.state.guest_desk = desk
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Street(town, client)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:cityloop:problem:")


async def test_a_hold_is_made_confirmed_and_cancelled(street: Street) -> None:
    """201 with Location and ETag; each transition answers the whole reservation with a new ETag."""
    made = await street.hold()
    assert made.status_code == 201
    body = made.json()
    assert (body["state"], body["place_id"], made.headers["etag"]) == ("held", PLACE, '"1"')
    assert "link_token" not in body
    path = made.headers["location"].removeprefix("/parking/v1")
    confirmed = [await street.ask("POST", f"{path}/confirmation") for _ in range(2)]
    assert [(each.status_code, each.json()["state"], each.headers["etag"]) for each in confirmed] == [(200, "confirmed", '"2"')] * 2
    assert confirmed[0].content == confirmed[1].content == (await street.ask("GET", path)).content
    assert (await street.ask("GET", path, headers={"if-none-match": '"2"'})).status_code == 304
    cancelled = [await street.ask("POST", f"{path}/cancellation") for _ in range(2)]
    assert [(each.status_code, each.json()["state"]) for each in cancelled] == [(200, "cancelled")] * 2
    assert problem(await street.ask("POST", f"{path}/confirmation")) == (409, "not-held")


async def test_the_third_for_two_spaces_is_told_that_it_is_full(street: Street) -> None:
    """409 place-full, and a hold that ran out makes room."""
    assert [(await street.hold(who)).status_code for who in ("anna", "boris")] == [201, 201]
    assert problem(await street.hold("anna")) == (409, "place-full")
    street.town.clock.advance(900)
    await use_cases.expire_due(street.town.ctx)
    assert (await street.hold("anna")).status_code == 201


async def test_the_same_key_holds_once(street: Street) -> None:
    """The stored answer, byte for byte; another body is refused; another caller's key is another key."""
    headers = {"idempotency-key": "k-1"}
    body = street.want()
    first = await street.hold(headers=headers, json=body)
    again = await street.hold(headers=headers, json=body)
    assert (again.status_code, again.content, again.headers["location"]) == (201, first.content, first.headers["location"])
    assert problem(await street.hold(headers=headers, json=body | {"category": "ev"})) == (422, "idempotency-key-reused")
    other = await street.hold("boris", headers=headers, json=body)
    assert other.json()["id"] != first.json()["id"]
    assert await street.town.states() == {"held": 2}


async def test_a_refused_hold_may_be_tried_again_with_its_key(street: Street) -> None:
    """A refusal stores nothing."""
    headers = {"idempotency-key": "k-1"}
    shut = street.want(place_id="nowhere")
    assert problem(await street.hold(headers=headers, json=shut)) == (404, "place-unknown")
    assert (await street.hold(headers=headers)).status_code == 201


async def test_anothers_reservation_is_unknown(street: Street) -> None:
    """404 for every verb, as for one that never was; the city's administration may read."""
    path = (await street.hold("anna")).headers["location"].removeprefix("/parking/v1")
    for where in (path, "/reservations/00000000-0000-7000-8000-000000000000", "/reservations/x"):
        assert problem(await street.ask("GET", where, "boris"))[0] == 404
        assert problem(await street.ask("POST", f"{where}/confirmation", "boris"))[0] == 404
        assert problem(await street.ask("POST", f"{where}/cancellation", "boris"))[0] == 404
    assert (await street.ask("GET", path, "admin")).json()["state"] == "held"
    assert problem(await street.ask("POST", f"{path}/cancellation", "admin")) == (403, "forbidden")
    assert problem(await street.ask("GET", path, "crew")) == (403, "forbidden")
    assert problem(await street.ask("GET", path, None)) == (401, "unauthenticated")


async def test_own_reservations_come_in_pages(street: Street) -> None:
    """Newest first, each once, none of another's."""
    ids = []
    for _ in range(3):
        made = await street.hold()
        ids.append(made.json()["id"])
        await street.ask("POST", f"/reservations/{ids[-1]}/cancellation")
        street.town.clock.advance(1)
    await street.hold("boris")
    first = (await street.ask("GET", "/reservations?limit=2")).json()
    second = (await street.ask("GET", f"/reservations?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["id"] for each in first["reservations"] + second["reservations"]] == ids[::-1]
    assert "next_cursor" not in second
    assert "as_of" in second
    assert len((await street.ask("GET", "/reservations", "admin")).json()["reservations"]) == 4
    assert problem(await street.ask("GET", "/reservations?limit=0")) == (422, "invalid")


async def test_a_guest_holds_and_hands_on_a_link(street: Street) -> None:
    """The link opens its one reservation for reading, confirming and cancelling, until a day after the end, and nothing else."""
    issued = await street.ask("POST", "/guest-tokens", None)
    assert issued.status_code == 201
    guest = issued.json()["token"]
    made = await street.hold(guest)
    link, path = made.json()["link_token"], f"/reservations/{made.json()['id']}"
    other = await street.hold(guest)
    assert (await street.ask("GET", path, link)).json()["state"] == "held"
    assert (await street.ask("POST", f"{path}/confirmation", link)).status_code == 200
    assert problem(await street.ask("GET", f"/reservations/{other.json()['id']}", link))[0] == 404
    assert problem(await street.ask("GET", "/reservations", link))[0] == 403
    assert problem(await street.hold(link))[0] == 403
    street.town.clock.advance(7201)
    assert problem(await street.ask("GET", path, guest)) == (401, "unauthenticated")
    assert (await street.ask("POST", f"{path}/cancellation", link)).status_code in {200, 409}
    street.town.clock.advance(25 * 3600)
    assert problem(await street.ask("GET", path, link)) == (401, "unauthenticated")


async def test_a_network_gets_few_guest_tokens(street: Street) -> None:
    """Six a minute, then 429."""
    answers = [await street.ask("POST", "/guest-tokens", None) for _ in range(7)]
    assert [each.status_code for each in answers] == [201] * 6 + [429]


async def test_networks_are_stored_as_keyed_hashes(street: Street) -> None:
    """Neither the address nor the network is anywhere in the counters."""
    guest = (await street.ask("POST", "/guest-tokens", None)).json()["token"]
    await street.hold(guest)
    keys = [key for key in await street.town.holders() if key.startswith("network:")]
    assert len(keys) == 1
    assert len(keys[0]) == len("network:") + 64
    assert "127.0.0" not in keys[0]


async def test_the_operator_sees_its_conflicts(street: Street) -> None:
    """Own places only; another's is unknown."""
    assert (await street.ask("GET", f"/places/{PLACE}/conflicts", "operator")).json()["conflicts"] == []
    assert problem(await street.ask("GET", f"/places/{PLACE}/conflicts", "rival")) == (404, "place-unknown")
    assert problem(await street.ask("GET", f"/places/{PLACE}/conflicts", "anna")) == (403, "forbidden")


@pytest.mark.parametrize(
    "changes, slug",
    [
        ({"starts_at": "2026-06-01T13:00:00"}, "invalid"),
        ({"starts_at": 1780300800}, "invalid"),
        ({"starts_at": "1780300800"}, "invalid"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "invalid"),
        ({"starts_at": "9999-12-31T23:59:59Z", "ends_at": "9999-12-31T23:59:59.5Z"}, "too-far-ahead"),
        ({"ends_at": "9999-12-31T23:59:59Z"}, "too-long"),
        ({"starts_at": "2026-06-01T03:00:00Z"}, "in-the-past"),
        ({"ends_at": "2026-06-01T04:00:00Z"}, "empty-stay"),
        ({"category": "ev"}, "category-unknown"),
        ({"category": "boat"}, "invalid"),
        ({"category": ["ev"]}, "invalid"),
        ({"place_id": "a\u0000b"}, "invalid"),
        ({"place_id": "\ud800"}, "invalid"),
        ({"place_id": ""}, "invalid"),
        ({"place_id": None}, "invalid"),
        ({"spaces": 2}, "invalid"),
    ],
)
async def test_bad_wishes_are_told_what_is_wrong(street: Street, changes: dict[str, object], slug: str) -> None:
    """422 by name, and nothing is stored."""
    escaped = json.dumps(street.want(**changes))
    answer = await street.hold(json=None, content=escaped, headers={"content-type": "application/json"})
    assert problem(answer) == (422, slug)
    assert await street.town.states() == {}
    assert await street.town.holders() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"'])
async def test_unreadable_bodies_are_refused(street: Street, content: bytes) -> None:
    """400 or 422, never 500."""
    answer = await street.hold(json=None, content=content, headers={"content-type": "application/json"})
    assert problem(answer)[0] in {400, 422}
