"""The first thread through parking, over HTTP against a real process: search, count, hold, confirm, cancel."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import SAMPLE, SAMPLE_OPERATOR, Town
from tests.e2e.processes import embedded, token
from tests.support import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-thread")]
NEAR = {"near": "109.787,39.565", "radius_m": "5000"}


def _stay(place: str = SAMPLE, *, in_h: float = 3, for_h: float = 1) -> dict[str, object]:
    starts_at = datetime.now(UTC) + timedelta(hours=in_h)
    return {
        "place_id": place,
        "category": "standard",
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + timedelta(hours=for_h)).isoformat(),
    }


async def test_search_answers_the_sample_by_distance_with_age(client: httpx.AsyncClient) -> None:
    """Nearest first, each with capacity, free, as_of, source and freshness."""

    async def found() -> list[dict[str, object]]:
        answer = await client.get("/parking/v1/places", params={**NEAR, "limit": "5"})
        assert answer.status_code == 200, answer.text
        places: list[dict[str, object]] = answer.json()["places"]
        return places if len(places) == 5 and all(each["freshness"] == "live" for each in places) else []

    places = await wait_until(found)
    distances = [each["distance_m"] for each in places]
    assert distances == sorted(distances)  # type: ignore[type-var]
    assert all({"id", "capacity", "free", "as_of", "source", "freshness"} <= each.keys() for each in places)


async def test_a_count_reaches_the_search(town: Town, client: httpx.AsyncClient) -> None:
    """What an operator reports is what a driver sees, with the time it was taken."""
    at = datetime.now(UTC)
    body = {"observed_at": at.isoformat(), "source": "gate", "counts": [{"category": "standard", "occupied": 177}]}
    operator = town.bearer("lot_operator", "--operator", SAMPLE_OPERATOR)
    posted = await client.post(f"/parking/v1/places/{SAMPLE}/observations", json=body, headers=operator)
    assert posted.status_code in (200, 201, 202), posted.text

    async def seen() -> bool:
        places = (await client.get("/parking/v1/places", params=NEAR)).json()["places"]
        mine = next(each for each in places if each["id"] == SAMPLE)
        return bool(mine["free"]["standard"] == 3 and mine["source"] == "gate")

    await wait_until(seen, 5)


async def test_an_older_count_never_wins(town: Town, client: httpx.AsyncClient) -> None:
    """A report that was taken before what is known changes nothing that people see."""
    operator = town.bearer("lot_operator", "--operator", SAMPLE_OPERATOR)
    now = datetime.now(UTC)
    for minutes, occupied in ((0, 10), (7, 99)):
        body = {
            "observed_at": (now - timedelta(minutes=minutes)).isoformat(),
            "source": "gate",
            "counts": [{"category": "standard", "occupied": occupied}],
        }
        posted = await client.post("/parking/v1/places/sample-002/observations", json=body, headers=operator)
        assert posted.status_code in (200, 201, 202), posted.text

    async def seen() -> bool:
        places = (await client.get("/parking/v1/places", params=NEAR)).json()["places"]
        return bool(next(each for each in places if each["id"] == "sample-002")["free"]["standard"] == 410)

    await wait_until(seen, 5)


async def test_hold_confirm_cancel_and_repeat(town: Town, client: httpx.AsyncClient) -> None:
    """A hold is held, its repetition is the same hold, it is confirmed once and cancelled once."""
    me = town.bearer("citizen", "--subject", "driver-1")
    body = _stay()
    first = await client.post("/parking/v1/reservations", json=body, headers={**me, "idempotency-key": "k1"})
    again = await client.post("/parking/v1/reservations", json=body, headers={**me, "idempotency-key": "k1"})
    assert first.status_code == again.status_code == 201, first.text
    assert first.content == again.content
    made = first.json()
    assert made["state"] == "held"
    assert made["held_until"]
    other = await client.post("/parking/v1/reservations", json=_stay(in_h=9), headers={**me, "idempotency-key": "k1"})
    assert other.status_code == 422
    assert other.json()["type"] == "urn:cityloop:problem:idempotency-key-reused"
    where = f"/parking/v1/reservations/{made['id']}"
    for _ in range(2):
        confirmed = await client.post(f"{where}/confirmation", headers=me)
        assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed")
    cancelled = await client.post(f"{where}/cancellation", headers=me)
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (await client.post(f"{where}/confirmation", headers=me)).status_code == 409


async def test_a_full_place_says_so(town: Town, client: httpx.AsyncClient) -> None:
    """The last space goes to one driver; the next hears place-full."""
    operator = town.bearer("lot_operator", "--operator", "op1")
    place = {
        "name": "last space",
        "position": {"lon": 109.78, "lat": 39.56},
        "datum": "wgs84",
        "pools": [{"category": "standard", "capacity": 1}],
    }
    assert (await client.put("/parking/v1/places/op1-last", json=place, headers=operator)).status_code == 201
    answers = [
        await client.post("/parking/v1/reservations", json=_stay("op1-last"), headers=town.bearer("citizen", "--subject", f"racer-{n}"))
        for n in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json()["type"] == "urn:cityloop:problem:place-full"
    assert answers[1].headers["content-type"] == "application/problem+json"


async def test_a_guest_holds_and_comes_back_by_link(client: httpx.AsyncClient) -> None:
    """Somebody without an account holds a space and opens just that one by its link."""
    guest = {"authorization": f"Bearer {(await client.post('/parking/v1/guest-tokens')).json()['token']}"}
    made = await client.post("/parking/v1/reservations", json=_stay("sample-004"), headers=guest)
    assert made.status_code == 201, made.text
    other = await client.post("/parking/v1/reservations", json=_stay("sample-005", in_h=5), headers=guest)
    link = {"authorization": f"Bearer {made.json()['link_token']}"}
    assert (await client.get(f"/parking/v1/reservations/{made.json()['id']}", headers=link)).status_code == 200
    assert (await client.get(f"/parking/v1/reservations/{other.json()['id']}", headers=link)).status_code in (403, 404)
    assert (await client.post("/parking/v1/reservations", json=_stay("sample-005", in_h=7), headers=link)).status_code in (401, 403)


async def test_pages_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """The start page and the API page name no other host."""
    for path in ("/", "/parking/v1/docs"):
        page = await client.get(path)
        assert page.status_code == 200
        assert "content-security-policy" in page.headers
        hosts = [part for part in page.text.replace("'", '"').split('"') if part.startswith(("http://", "https://", "//"))]
        assert all(part.startswith("http://127.0.0.1") for part in hosts), hosts


async def test_state_survives_kill_and_interrupt(tmp_path: Path) -> None:
    """A confirmed reservation is there after kill -9; Ctrl-C ends with status 0 and no traceback."""
    async with embedded(tmp_path) as process:
        me = {"authorization": f"Bearer {token(process.settings, 'citizen')}"}
        async with httpx.AsyncClient(base_url=process.url, timeout=10) as http:
            made = (await http.post("/parking/v1/reservations", json=_stay(), headers=me)).json()
            assert (await http.post(f"/parking/v1/reservations/{made['id']}/confirmation", headers=me)).status_code == 200
        process.kill()
        process.start()
        await process.ready()
        async with httpx.AsyncClient(base_url=process.url, timeout=10) as http:
            found = await http.get(f"/parking/v1/reservations/{made['id']}", headers=me)
        assert found.json()["state"] == "confirmed"
        assert await process.stop(signal.SIGINT, within_s=5) == 0
        assert "Traceback" not in process.said()
