"""Figures over real databases: closed instants, one published value a slot, restated values, rows, history, events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, insert, select

from cityloop_common.auth import Identity, Role
from cityloop_common.context import Ctx
from cityloop_common.db import Tx
from cityloop_common.http import Health, create_app
from cityloop_common.indicator import Better, Figures, Indicator, Moment, Row, Scheme, Status, When, evaluate
from cityloop_common.indicator import store as values
from cityloop_common.indicator.evaluating import Evaluator, TooManyQuestions, asked
from cityloop_common.indicator.publishing import FAILED, Slot, due, publish, publish_due, republished
from cityloop_common.journal import closed_instant
from cityloop_common.tables import outbox
from tests.contract.kit_support import ShiftedClock, close_ctx, effect, opened_ctx

CLOSED = closed_instant(datetime.now(UTC)).replace(microsecond=0) - timedelta(hours=3)


async def _read(tx: Tx, moment: Moment) -> Any:
    return await tx.all(select(effect).where(effect.c.recorded_at <= moment.known_at).order_by(effect.c.id))


def _rows(facts: Any, _moment: Moment, scheme: str) -> Sequence[Row]:
    return [Row(fact.id, fact.n if scheme == "all" else 0, 10, "d1", evidence={"name": f"={fact.id}"}) for fact in facts]


EFFECTS = Indicator(
    name="effects",
    title="Effects",
    title_zh="效果",
    unit="effects",
    source="a test",
    target=Fraction(1, 2),
    deadline=date(2026, 12, 31),
    better=Better.HIGHER,
    schemes=(Scheme("all", "All", "全部"), Scheme("none", "None", "无")),
    formula_text="sum of n over ten each",
    read=_read,
    formulas={1: _rows},
)


@pytest.fixture
async def ctx(url: str, tmp_path: Any) -> AsyncIterator[Ctx[Any]]:
    """A context whose clock can be moved on."""
    made = await opened_ctx(url, tmp_path, clock=ShiftedClock())
    yield made
    await close_ctx(made)


async def _learn(ctx: Ctx[Any], id_: str, n: int, recorded_at: datetime) -> None:
    async with ctx.db.write() as tx:
        await tx.run(insert(effect).values(id=id_, n=n, recorded_at=recorded_at))


def _slot(at: datetime) -> Slot:
    from cityloop_common.clock import city_day

    return Slot(city_day(at), at)


async def test_what_was_published_can_be_computed_again_and_is_restated_beside_it(ctx: Ctx[Any]) -> None:
    """A fact learnt later changes what is known now, never what was known then."""
    await _learn(ctx, "a", 4, CLOSED - timedelta(minutes=5))
    assert await publish(ctx, EFFECTS, _slot(CLOSED)) == 2
    await _learn(ctx, "b", 9, CLOSED + timedelta(minutes=5))
    slot = _slot(CLOSED)
    again = (await evaluate(ctx, EFFECTS, asked(ctx, EFFECTS, When(slot.on, slot.known_at))))["all"]
    restated = (await evaluate(ctx, EFFECTS, asked(ctx, EFFECTS, When(slot.on, CLOSED + timedelta(minutes=6)))))["all"]
    async with ctx.db.read() as tx:
        stored = await values.at(tx, "effects", "all", slot.on, slot.known_at)
    assert stored is not None
    assert stored.total == again.total
    assert (again.total.numerator, again.total.status, again.total.gap) == (4, Status.MISSED, 1)
    assert (restated.total.numerator, restated.total.status) == (13, Status.MET)
    assert [row.key for row in restated.rows] == ["a", "b"]


async def test_two_replicas_publish_a_slot_once(ctx: Ctx[Any]) -> None:
    """Side by side and again: one value and one event a scheme."""
    await asyncio.gather(*(publish(ctx, EFFECTS, _slot(CLOSED)) for _ in range(4)))
    assert await publish(ctx, EFFECTS, _slot(CLOSED)) == 0
    async with ctx.db.read() as tx:
        assert await tx.scalar(select(func.count()).select_from(outbox)) == 2


async def test_the_sweep_publishes_what_is_due_and_catches_up(tmp_path: Path) -> None:
    """Yesterday and this hour at first; after two days away, each day that was missed. (PostgreSQL refuses a clock so far off.)"""
    clock = ShiftedClock()
    ctx = await opened_ctx(f"sqlite:///{tmp_path / 'kit.db'}", tmp_path, clock=clock)
    for away in (timedelta(), timedelta(days=2), timedelta(days=2, hours=1)):
        clock.by = away
        async with ctx.db.read() as tx:
            wanted = due(clock.now(), await values.first_day(tx))
        await publish_due(ctx, [EFFECTS])
        assert await publish_due(ctx, [EFFECTS]) == 0
        async with ctx.db.read() as tx:
            there = await values.published_at(tx, [slot.known_at for slot in wanted])
        assert {(on, known_at) for on, known_at, _, _ in there} == {(slot.on, slot.known_at) for slot in wanted}
        assert len(wanted) >= (3 if away else 1)
    await close_ctx(ctx)


async def test_a_figure_that_cannot_be_computed_stops_no_other(ctx: Ctx[Any]) -> None:
    """It is counted and tried again; the worker lives."""

    def broken(_facts: Any, _moment: Moment, _scheme: str) -> Sequence[Row]:
        raise KeyError("a bug")

    before = FAILED.value(ctx.service, "broken")
    published = await publish_due(ctx, [replace(EFFECTS, name="broken", formulas={1: broken}), EFFECTS])
    assert published in {2, 4}
    assert FAILED.value(ctx.service, "broken") > before


async def test_questions_wait_for_their_turn_and_too_many_are_refused(ctx: Ctx[Any]) -> None:
    """Two evaluations at a time, 32 questions behind them, and what is kept is bounded."""
    running = most = 0

    async def slow(tx: Tx, moment: Moment) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return await _read(tx, moment)

    evaluator, indicator = Evaluator(), replace(EFFECTS, read=slow)
    asks = [When(None, CLOSED - timedelta(minutes=number)) for number in range(40)]
    answers = await asyncio.gather(*(evaluator.evaluate(ctx, indicator, ask) for ask in asks), return_exceptions=True)
    assert most == 2
    assert sum(isinstance(each, TooManyQuestions) for each in answers) == 8


async def test_a_republished_figure_is_the_same_event(ctx: Ctx[Any]) -> None:
    """Same id, same bytes, the newest instant of each day only."""
    await publish(ctx, EFFECTS, _slot(CLOSED - timedelta(minutes=1)))
    await publish(ctx, EFFECTS, _slot(CLOSED))
    async with ctx.db.read() as tx:
        sent = {row.id: bytes(row.data) for row in await tx.all(select(outbox))}
    told = [event async for event in republished(ctx, None)]
    newest = {event.id: event.data for event in told}
    assert newest.items() <= sent.items()
    assert {orjson.loads(event.data)["scheme"] for event in told} == {"all", "none"}
    assert [event.id async for event in republished(ctx, told[0].key)] == [told[0].id]
    assert [event async for event in republished(ctx, "nonsense")] == []


class _Anyone:
    """A verifier for whom the token is the role."""

    async def verify(self, token: str) -> Identity:
        return Identity("somebody", frozenset({Role(token)}), 4e9)


@pytest.fixture
async def client(ctx: Ctx[Any]) -> AsyncIterator[httpx.AsyncClient]:
    """The routes of a service with this one figure."""
    figures = Figures("kit", [EFFECTS])
    app = create_app(ctx, title="kit", version="1", routers=[figures.router], verifier=_Anyone(), health=Health())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kit") as http:
        yield http


async def test_a_figure_over_http_leads_to_its_rows(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """Exact integers, target, gap, what was published; pages of rows whose sums are the figure; CSV with safe cells."""
    for number in range(5):
        await _learn(ctx, f"e{number}", number, CLOSED - timedelta(minutes=5))
    await publish(ctx, EFFECTS, _slot(CLOSED))
    asked_for = {"on": _slot(CLOSED).on.isoformat(), "known_at": CLOSED.isoformat()}
    one = (await client.get("/kit/v1/indicators/effects", params=asked_for)).json()
    head = one["schemes"][0]
    assert (head["numerator"], head["denominator"], head["value"], head["gap"]) == (10, 50, "0.200000", 15)
    assert head["published"]["numerator"] == 10
    assert one["target"] == {"numerator": 1, "denominator": 2}
    assert [each["id"] for each in head["districts"]] == ["d1"]
    officer = {"authorization": "Bearer officer"}
    rows: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {**asked_for, "limit": "2", "cursor": cursor}
        page = (await client.get("/kit/v1/indicators/effects/rows", params=params, headers=officer)).json()
        rows += page["rows"]
        cursor = page["next_cursor"]
    assert [row["key"] for row in rows] == [f"e{number}" for number in range(5)]
    assert sum(int(str(row["numerator"])) for row in rows) == head["numerator"]
    as_csv = await client.get("/kit/v1/indicators/effects/rows", params=asked_for, headers={**officer, "accept": "text/csv"})
    assert as_csv.text.splitlines()[1] == "e0,d1,0,10,counted,'=e0"
    history = (await client.get("/kit/v1/indicators/effects/history")).json()
    assert [each["numerator"] for each in history["days"]] == [10]


@pytest.mark.parametrize(
    "path, status, slug",
    [
        ("/kit/v1/indicators/none", 404, "indicator-unknown"),
        ("/kit/v1/indicators/effects?on=2026-13-01", 422, "invalid"),
        ("/kit/v1/indicators/effects?on=2999-12-31", 422, "not-yet"),
        ("/kit/v1/indicators/effects?known_at=9000-01-01T00:00:00Z", 422, "invalid"),
        ("/kit/v1/indicators/effects?known_at=2026-01-01T00:00:00", 422, "invalid"),
        ("/kit/v1/indicators/effects?formula_version=7", 404, "formula-unknown"),
        ("/kit/v1/indicators/effects/rows", 401, "unauthenticated"),
        ("/kit/v1/indicators/effects/history?scheme=none-such", 404, "scheme-unknown"),
        ("/kit/v1/indicators/effects/history?from=2020-01-01", 422, "invalid"),
        ("/kit/v1/indicators/effects/history?from=2999-12-31&to=2999-12-31", 200, ""),
        ("/kit/v1/indicators/effects/history?to=0001-01-01", 422, "invalid"),
        ("/kit/v1/indicators/effects?on=0001-01-01", 422, "invalid"),
    ],
)
async def test_a_wrong_question_gets_a_clear_answer(client: httpx.AsyncClient, path: str, status: int, slug: str) -> None:
    """Never a 500; each error has its own type."""
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    if slug:
        assert answer.json()["type"] == f"urn:cityloop:problem:{slug}"


async def test_an_instant_of_the_last_minute_is_provisional(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """It shows what is there already and says that it may change; the default is closed."""
    await _learn(ctx, "now", 7, ctx.clock.now())
    closed = (await client.get("/kit/v1/indicators/effects")).json()
    now = (await client.get("/kit/v1/indicators/effects", params={"known_at": ctx.clock.now().isoformat()})).json()
    assert (closed["provisional"], closed["schemes"][0]["status"]) == (False, "no_data")
    assert (now["provisional"], now["schemes"][0]["numerator"]) == (True, 7)


async def test_many_who_ask_the_same_share_one_evaluation(ctx: Ctx[Any]) -> None:
    """Closed figures are computed once while they are kept."""
    reads = 0

    async def counted(tx: Tx, moment: Moment) -> Any:
        nonlocal reads
        reads += 1
        return await _read(tx, moment)

    evaluator, indicator = Evaluator(), replace(EFFECTS, read=counted)
    slot = _slot(CLOSED)
    await asyncio.gather(*(evaluator.evaluate(ctx, indicator, When(slot.on, slot.known_at)) for _ in range(20)))
    assert reads == 1
