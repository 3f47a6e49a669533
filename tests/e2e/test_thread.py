"""The first thread through parking, over HTTP against a real process: search, count, hold, confirm, cancel."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import NEAR, SAMPLE, Town, make_sample, replicas
from tests.e2e.processes import command, embedded
from tests.support import PATIENCE_S, Servers, free_port, wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-thread"), pytest.mark.timeout(400)]
SVG = "http://www.w3.org/2000/svg"  # a name, not an address


def _stay(place: str = SAMPLE, *, in_h: float = 3, for_h: float = 1) -> dict[str, object]:
    starts_at = datetime.now(UTC) + timedelta(hours=in_h)
    return {
        "place_id": place,
        "category": "standard",
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + timedelta(hours=for_h)).isoformat(),
    }


async def test_search_answers_the_sample_by_distance_with_age(reader: httpx.AsyncClient) -> None:
    """Nearest first, each with capacity, free, as_of, source and freshness."""

    async def found() -> list[dict[str, object]]:
        answer = await reader.get("/parking/v1/places", params={**NEAR, "limit": "5"})
        assert answer.status_code == 200, answer.text
        places: list[dict[str, object]] = answer.json()["places"]
        assert [each["freshness"] for each in places] == ["live"] * 5
        return places

    places = await wait_until(found, what="the sample's counts are in the search")
    distances = [each["distance_m"] for each in places]
    assert distances == sorted(distances)  # type: ignore[type-var]
    assert all({"id", "capacity", "free", "as_of", "source", "freshness"} <= each.keys() for each in places)


async def test_a_count_reaches_the_search(town: Town, client: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    """What an operator reports is what a driver sees, with the time it was taken."""
    at = datetime.now(UTC)
    counts = [{"category": category, "occupied": occupied} for category, occupied in (("standard", 177), ("ev", 28), ("accessible", 0))]
    body = {"observed_at": at.isoformat(), "source": "gate", "counts": counts}
    operator = town.bearer("lot_operator", operator=town.sample_operator)
    posted = await client.post(f"/parking/v1/places/{SAMPLE}/observations", json=body, headers=operator)
    assert posted.status_code == 201, posted.text

    async def seen() -> bool:
        places = (await reader.get("/parking/v1/places", params=NEAR)).json()["places"]
        mine = next(each for each in places if each["id"] == SAMPLE)
        assert (mine["free"], mine["source"]) == ({"standard": 3, "ev": 0, "accessible": 6}, "gate")
        return True

    await wait_until(seen, what="the count is in the search")


async def test_an_older_count_never_wins(town: Town, client: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    """A report that was taken before what is known changes nothing that people see."""
    operator = town.bearer("lot_operator", operator=town.sample_operator)
    now = datetime.now(UTC)
    for minutes, occupied in ((0, 10), (7, 99)):
        body = {
            "observed_at": (now - timedelta(minutes=minutes)).isoformat(),
            "source": "gate",
            "counts": [{"category": "standard", "occupied": occupied}],
        }
        posted = await client.post("/parking/v1/places/sample-002/observations", json=body, headers=operator)
        assert posted.status_code == 201, posted.text

    async def seen() -> bool:
        places = (await reader.get("/parking/v1/places", params=NEAR)).json()["places"]
        mine = next(each for each in places if each["id"] == "sample-002")
        assert mine["free"]["standard"] == 410, mine
        return True

    await wait_until(seen, what="the newer count is in the search")


async def test_hold_confirm_cancel_and_repeat(town: Town, client: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    """A hold is held, its repetition is the same hold, it is confirmed once and cancelled once."""
    me = town.bearer("citizen", subject="driver-1")
    body = _stay()
    first = await client.post("/parking/v1/reservations", json=body, headers={**me, "idempotency-key": "k1"})
    again = await reader.post("/parking/v1/reservations", json=body, headers={**me, "idempotency-key": "k1"})
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
    assert (await reader.post(f"{where}/confirmation", headers=me)).status_code == 409


async def test_a_full_place_says_so(town: Town, client: httpx.AsyncClient) -> None:
    """The last space goes to one driver; the next hears place-full."""
    operator = town.bearer("lot_operator", operator="op1")
    place = {
        "name": "last space",
        "position": {"lon": 109.78, "lat": 39.56},
        "datum": "wgs84",
        "pools": [{"category": "standard", "capacity": 1}],
    }
    assert (await client.put("/parking/v1/places/op1-last", json=place, headers=operator)).status_code == 201
    answers = [
        await client.post("/parking/v1/reservations", json=_stay("op1-last"), headers=town.bearer("citizen", subject=f"racer-{n}"))
        for n in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json()["type"] == "urn:cityloop:problem:place-full"
    assert answers[1].headers["content-type"] == "application/problem+json"


async def test_a_guest_holds_and_comes_back_by_link(client: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    """Somebody without an account holds a space and opens just that one by its link."""
    guest = {"authorization": f"Bearer {(await client.post('/parking/v1/guest-tokens')).json()['token']}"}
    made = await client.post("/parking/v1/reservations", json=_stay("sample-004"), headers=guest)
    assert made.status_code == 201, made.text
    other = await client.post("/parking/v1/reservations", json=_stay("sample-005", in_h=5), headers=guest)
    link = {"authorization": f"Bearer {made.json()['link_token']}"}
    assert (await reader.get(f"/parking/v1/reservations/{made.json()['id']}", headers=link)).status_code == 200
    assert (await reader.get(f"/parking/v1/reservations/{other.json()['id']}", headers=link)).status_code == 404
    assert (await reader.post("/parking/v1/reservations", json=_stay("sample-005", in_h=7), headers=link)).status_code == 403


async def test_pages_load_nothing_from_elsewhere(town: Town, client: httpx.AsyncClient) -> None:
    """The page and the API page name no other host."""
    for path in ("/", "/parking/v1/docs"):
        if path == "/" and town.url != town.reader_url:
            continue  # one reader of this town has no page
        page = await client.get(path)
        assert page.status_code == 200
        assert "content-security-policy" in page.headers
        hosts = [part for part in page.text.replace("'", '"').split('"') if part.startswith(("http://", "https://", "//"))]
        assert all(part.startswith("http://127.0.0.1") for part in hosts if part != SVG), hosts


async def test_state_survives_kill_and_interrupt(tmp_path: Path) -> None:
    """A confirmed reservation is there after kill -9; Ctrl-C ends with status 0 and no traceback."""
    async with embedded(tmp_path) as process:
        printed = await asyncio.to_thread(command, process.settings, tmp_path, "token", "--role", "citizen")
        me = {"authorization": f"Bearer {printed.stdout.strip()}"}
        async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as http:
            made = (await http.post("/parking/v1/reservations", json=_stay(), headers=me)).json()
            assert (await http.post(f"/parking/v1/reservations/{made['id']}/confirmation", headers=me)).status_code == 200
        process.kill()
        process.start()
        await process.ready()
        async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as http:
            found = await http.get(f"/parking/v1/reservations/{made['id']}", headers=me)
        assert found.json()["state"] == "confirmed"
        assert await process.stop(signal.SIGINT) == 0, process.said()
        assert "Traceback" not in process.said()


@pytest.mark.stack
@pytest.mark.parametrize("redis, within_s", [("with", 1.0), ("without", 3.0)])
async def test_what_one_replica_takes_the_other_shows_soon(redis: str, within_s: float, tmp_path: Path, stack: Servers) -> None:
    """Written on one replica, read on the other: within 1 s with Redis, within 3 s without. The middle one of five counts.

    A busy machine may stall one five: another follows, three at most.
    """
    nobody = {} if redis == "with" else {"CITYLOOP_CACHE_URL": f"redis://127.0.0.1:{free_port()}/0"}
    async with replicas(tmp_path, stack, **nobody) as running:
        town = Town(running.apis[0].url, running.apis[1].url, running.settings, tmp_path, "sample")
        await make_sample(town)
        fives: list[list[float]] = []
        while len(fives) < 3 and (not fives or fives[-1][2] > within_s):
            fives.append(sorted([await _seen_after_s(town, occupied + len(fives)) for occupied in (11, 22, 33, 44, 55)]))
    assert fives[-1][2] <= within_s, fives


async def _seen_after_s(town: Town, occupied: int) -> float:
    operator = town.bearer("lot_operator", operator=town.sample_operator)
    counts = [{"category": "standard", "occupied": occupied}]
    body = {"observed_at": datetime.now(UTC).isoformat(), "source": "gate", "counts": counts}
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        posted = await http.post(f"{town.url}/parking/v1/places/{SAMPLE}/observations", json=body, headers=operator)
        assert posted.status_code == 201, posted.text
        began = asyncio.get_running_loop().time()

        async def seen() -> bool:
            places = (await http.get(f"{town.reader_url}/parking/v1/places", params=NEAR)).json()["places"]
            return bool(next(each for each in places if each["id"] == SAMPLE)["free"]["standard"] == 180 - occupied)

        await wait_until(seen)
        return asyncio.get_running_loop().time() - began
