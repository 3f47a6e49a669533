"""Counts over HTTP, on every database: who may report, per-row answers, and the sensors of failure story 5 (facts: parking)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.clock import rfc3339
from cityloop_common.errors import Unauthenticated
from cityloop_parking.observations import api, use_cases
from cityloop_parking.observations.tables import live_count, observation
from tests.contract.reservations_support import NOON, PLACE, City, city, make_tables

USERS = {
    "operator": Identity("operator", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op-1"),
    "rival": Identity("rival", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op-2"),
    "nobody": Identity("nobody", frozenset({Role.LOT_OPERATOR}), 1e11),
    "admin": Identity("admin", frozenset({Role.CITY_ADMIN}), 1e11),
    "citizen": Identity("citizen", frozenset({Role.CITIZEN}), 1e11),
}
SENTINEL = 2_147_483_647


class Tokens:
    """Names as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


@dataclass(frozen=True)
class Desk:
    """The city behind its HTTP door, with 100 spaces at one place."""

    town: City
    client: httpx.AsyncClient

    async def post(self, path: str, who: str | None, **more: Any) -> httpx.Response:
        headers = {} if who is None else {"authorization": f"Bearer {who}"}
        answer = await self.client.post(f"/parking/v1{path}", headers=headers, **more)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer

    async def report(self, who: str | None = "operator", *, id: str = PLACE, at: object = rfc3339(NOON), **count: object) -> httpx.Response:
        body = {"observed_at": at, "source": "gate", "counts": [{"category": "standard", **count}]}
        return await self.post(f"/places/{id}/observations", who, json=body)

    async def batch(self, *rows: dict[str, object]) -> httpx.Response:
        return await self.post("/observations", "operator", json={"observations": list(rows)})

    async def shown(self) -> dict[str, int]:
        """Taken spaces of every category of the place."""
        async with self.town.db.read() as tx:
            rows = await tx.all(select(live_count).where(live_count.c.place_id == PLACE))
        return {row.category: row.occupied for row in rows}

    async def journalled(self) -> int:
        async with self.town.db.read() as tx:
            return int(await tx.scalar(select(func.count()).select_from(observation)))

    async def free(self) -> int:
        """What the newest event says is free."""
        count: dict[str, int] = (await self.town.told())[-1].body()["counts"][0]  # type: ignore[index]
        return count["free"]


@pytest.fixture
async def desk(url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A replica of the API with its grouped writes running."""
    await make_tables(url)
    async with city(url, tmp_path) as town, asyncio.TaskGroup() as loops:
        await town.open_place(100)
        counter = use_cases.open_counter(town.ctx)
        running = loops.create_task(counter.run())
        app = http.create_app(town.ctx, title="t", version="1", routers=[api.router], verifier=Tokens(), health=http.Health())
        app.state.counter = counter
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Desk(town, client)
        running.cancel()


def row(place_id: str = PLACE, *, at: object = rfc3339(NOON), **count: object) -> dict[str, object]:
    return {"place_id": place_id, "observed_at": at, "source": "gate", "counts": [{"category": "standard", **count}]}


async def test_a_report_answers_what_became_of_it(desk: Desk) -> None:
    """201 with the outcome and the time it was recorded; the same again is superseded and stored once."""
    first, again = await desk.report(occupied=40), await desk.report(occupied=40)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json().keys() == {"place_id", "outcome", "recorded_at"}
    assert (first.json()["outcome"], again.json()["outcome"]) == ("current", "superseded")
    assert await desk.journalled() == 1


@pytest.mark.parametrize(
    "who, status", [(None, 401), ("forged", 401), ("citizen", 403), ("nobody", 403), ("rival", 404), ("operator", 201), ("admin", 201)]
)
async def test_only_its_own_operator_and_the_city_report_on_a_place(desk: Desk, who: str | None, status: int) -> None:
    """A foreign car park is as unknown as none."""
    answer = await desk.report(who, occupied=40)
    assert answer.status_code == status
    if status == 404:
        unknown = (await desk.report("rival", id="nowhere", occupied=40)).json()
        assert {**answer.json(), "request_id": ""} == {**unknown, "request_id": ""}
    assert await desk.journalled() == (status == 201)


@pytest.mark.parametrize(
    "body",
    [
        {"at": "2026-06-01T04:00:00", "occupied": 1},
        {"at": 1_780_286_400, "occupied": 1},
        {"at": "yesterday", "occupied": 1},
        {"at": "9999-12-31T23:59:59-14:00", "occupied": 1},
        {"at": "1999-12-31T23:59:59Z", "occupied": 1},
        {"occupied": "1"},
        {"occupied": 1.5},
        {"occupied": True},
        {"occupied": 10**400},
        {"occupied": 1, "category": "rocket"},
        {"occupied": 1, "colour": "red"},
        {"occupied": 1, "free": 99},
        {},
    ],
)
async def test_a_report_that_makes_no_sense_is_refused_whole(desk: Desk, body: dict[str, Any]) -> None:
    """No zone, no text, out of every calendar, wrong types, unknown words: 422 and nothing stored."""
    assert (await desk.report(**body)).status_code == 422
    assert await desk.journalled() == 0


@pytest.mark.parametrize("source", ["", "a b", "x" * 41, "gate\n", "\x00", "'; --"])
async def test_a_source_has_a_name(desk: Desk, source: str) -> None:
    """Letters, digits and a few marks, at most 40."""
    body = {"observed_at": rfc3339(NOON), "source": source, "counts": [{"category": "standard", "occupied": 1}]}
    assert (await desk.post(f"/places/{PLACE}/observations", "operator", json=body)).status_code == 422


async def test_each_row_of_a_batch_has_its_own_verdict(desk: Desk) -> None:
    """What cannot be true is rejected or quarantined with its reason; the others are stored."""
    answer = await desk.batch(
        row(occupied=40),
        row(occupied=SENTINEL),
        row(occupied=-1),
        row(free=101),
        row("nowhere", occupied=1),
        row("nul\x00", occupied=1),
        row("名", occupied=1),
        row(at=rfc3339(NOON + timedelta(minutes=6)), occupied=1),
        row(at=rfc3339(NOON - timedelta(minutes=6)), occupied=1),
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [each["outcome"] for each in told["rows"]] == [
        "current", "rejected", "rejected", "rejected", "rejected", "rejected", "rejected", "quarantined", "superseded",
    ]  # fmt: skip
    assert (told["accepted"], told["rejected"]) == (2, 7)
    assert all(each["reason"] for each in told["rows"] if each["outcome"] in {"rejected", "quarantined"})
    assert (await desk.shown(), await desk.journalled()) == ({"standard": 40}, 2)


@pytest.mark.parametrize("place_id", ["%00", "x" * 65, "%ED%A0%80", "..", "a%2Fb"])
async def test_an_id_that_no_place_can_have_is_a_clear_no(desk: Desk, place_id: str) -> None:
    """Never a 500."""
    assert (await desk.report(id=place_id, occupied=1)).status_code in {400, 404, 405, 422}


async def test_text_that_is_not_unicode_is_refused(desk: Desk) -> None:
    """A lone surrogate in a batch is a 422, not a 500."""
    raw = (
        b'{"observations":[{"place_id":"\\ud800","observed_at":"2026-06-01T04:00:00Z","source":"g",'
        b'"counts":[{"category":"ev","occupied":1}]}]}'
    )
    headers = {"authorization": "Bearer operator", "content-type": "application/json"}
    answer = await desk.client.post("/parking/v1/observations", content=raw, headers=headers)
    assert answer.status_code == 422


async def test_a_batch_has_an_end(desk: Desk) -> None:
    """501 rows are refused, none is stored."""
    assert (await desk.batch(*[row(occupied=1)] * 501)).status_code == 422
    assert await desk.journalled() == 0


async def test_story_5_a_clock_in_the_future_is_refused(desk: Desk) -> None:
    """More than five minutes ahead: 422 by name, and what was known stays; otherwise it would win for ever."""
    await desk.report(occupied=40)
    answer = await desk.report(at=rfc3339(NOON + timedelta(minutes=5, seconds=1)), occupied=99)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:cityloop:problem:observation-from-the-future")
    assert await desk.shown() == {"standard": 40}


@pytest.mark.parametrize(
    "count",
    [{"free": 101}, {"occupied": -1}, {"free": -1}, {"occupied": SENTINEL}, {"free": SENTINEL}, {"occupied": 1, "capacity": SENTINEL}],
)
async def test_story_5_counts_that_cannot_be_are_refused_with_the_numbers(desk: Desk, count: dict[str, Any]) -> None:
    """More free than there is, negative, 2147483647 as "unknown": 422 with what was said; the last good count stays."""
    await desk.report(occupied=40)
    answer = await desk.report(at=rfc3339(NOON + timedelta(minutes=1)), **count)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:cityloop:problem:observation-invalid")
    assert answer.json()["detail"].startswith("standard: ")
    assert (await desk.shown(), await desk.journalled()) == ({"standard": 40}, 1)


async def test_story_5_a_capacity_of_zero_is_full_not_a_defect(desk: Desk) -> None:
    """Nothing is free of nothing, with and without cars left over."""
    for minute, occupied in enumerate((0, 3)):
        answer = await desk.report(at=rfc3339(NOON + timedelta(minutes=minute)), occupied=occupied, capacity=0)
        assert (answer.status_code, await desk.free()) == (201, 0)


async def test_story_5_a_counter_drifts_until_its_midnight_reset(desk: Desk) -> None:
    """Above capacity it shows none free, as often as it is said; the reset is newer and is believed at once."""
    for minute, occupied in enumerate((99, 103, 108)):
        assert (await desk.report(at=rfc3339(NOON - timedelta(minutes=9 - minute)), occupied=occupied)).status_code == 201
    assert (await desk.shown(), await desk.free()) == ({"standard": 108}, 0)
    assert (await desk.report(occupied=2)).json()["outcome"] == "current"
    assert (await desk.shown(), await desk.free()) == ({"standard": 2}, 98)


async def test_story_5_a_sensor_that_was_away_is_believed_by_its_stamps(desk: Desk) -> None:
    """31 minutes without a word, then the backlog, newest first: each is journalled, the newest alone is shown."""
    await desk.report(at=rfc3339(NOON - timedelta(minutes=31)), occupied=10)
    answer = await desk.batch(*(row(at=rfc3339(NOON - timedelta(minutes=minute)), occupied=50 - minute) for minute in range(3)))
    assert [each["outcome"] for each in answer.json()["rows"]] == ["current", "superseded", "superseded"]
    assert (await desk.shown(), await desk.journalled()) == ({"standard": 50}, 4)
