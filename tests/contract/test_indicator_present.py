"""Present figures: provisional ones shared by all who ask, trends, and what the clients of a stream are told of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import httpx
import orjson
import pytest
from sqlalchemy import delete, insert

from cityloop_common.clock import city_day, day_begins
from cityloop_common.context import Ctx
from cityloop_common.db import Tx
from cityloop_common.errors import Unavailable
from cityloop_common.http import Health, create_app
from cityloop_common.indicator import Figures, Indicator, Moment, Row, evaluating, present, telling
from cityloop_common.indicator.present import Known, Present
from cityloop_common.indicator.publishing import Slot, publish
from cityloop_common.indicator.telling import CHANGED, FAILED, tell_changes
from cityloop_common.indicator.views import IndicatorList, IndicatorView
from cityloop_common.sse import Hub, Message
from tests.contract.kit_support import ShiftedClock, ask_often, close_ctx, effect, opened_ctx
from tests.contract.test_indicator import EFFECTS
from tests.contract.test_indicator import _Anyone as Anyone
from tests.support import wait_until

OTHERS = replace(EFFECTS, name="others")


@pytest.fixture
async def ctx(url: str, tmp_path: Any) -> AsyncIterator[Ctx[Any]]:
    """A context on the machine's time."""
    made = await opened_ctx(url, tmp_path, clock=ShiftedClock())
    yield made
    await close_ctx(made)


@pytest.fixture
async def client(ctx: Ctx[Any]) -> AsyncIterator[httpx.AsyncClient]:
    """The routes of a service with two figures."""
    figures = Figures("kit", [EFFECTS, OTHERS])
    app = create_app(ctx, title="kit", version="1", routers=[figures.router], verifier=Anyone(), health=Health())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kit/kit/v1") as http:
        yield http


async def learn(ctx: Ctx[Any], id_: str, n: int, *, at: datetime | None = None) -> None:
    async with ctx.db.write() as tx:
        await tx.run(insert(effect).values(id=id_, n=n, recorded_at=at or ctx.clock.now()))


def head(view: dict[str, Any]) -> tuple[Any, ...]:
    return view["provisional"], view["schemes"][0]["numerator"], view["schemes"][0]["status"]


async def test_a_provisional_figure_is_what_is_known_now(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """It has what was learnt a moment ago and says that it may change; the closed one beside it does not."""
    await learn(ctx, "a", 7)
    listed = await client.get("/indicators?provisional=true")
    closed = await client.get("/indicators")
    one = await client.get("/indicators/effects?provisional=true")
    IndicatorList.model_validate_json(listed.content)
    assert [head(each) for each in listed.json()["indicators"]] == [(True, 7, "met")] * 2
    assert [head(each) for each in closed.json()["indicators"]] == [(False, 0, "no_data")] * 2
    assert (head(one.json()), [each["id"] for each in one.json()["schemes"][0]["districts"]]) == ((True, 7, "met"), ["d1"])
    assert all(each["districts"] is None and "trend" not in each for each in listed.json()["indicators"][0]["schemes"])
    assert (listed.headers["cache-control"], closed.headers["cache-control"]) == ("no-cache", "public, max-age=1")
    assert {each.headers["vary"] for each in (listed, closed, one)} == {"Accept-Encoding"}
    assert listed.headers["content-encoding"] == "gzip"


async def test_closed_and_provisional_come_in_one_answer(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """A page shows both and asks once; each says which it is."""
    await learn(ctx, "a", 7)
    listed = (await client.get("/indicators?provisional=true&closed=true")).json()["indicators"]
    assert [(each["name"], *head(each)) for each in listed] == [
        ("effects", False, 0, "no_data"), ("effects", True, 7, "met"), ("others", False, 0, "no_data"), ("others", True, 7, "met"),
    ]  # fmt: skip
    alone = (await client.get("/indicators?closed=true")).json()["indicators"]
    assert [head(each) for each in alone] == [(False, 0, "no_data")] * 2


async def test_a_past_day_may_be_asked_for_as_known_now(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """What was learnt just now of yesterday is in it."""
    await learn(ctx, "a", 7)
    yesterday = city_day(ctx.clock.now()) - timedelta(days=1)
    asked = f"/indicators?provisional=true&on={yesterday}"
    shown: dict[str, Any] = {}

    async def known() -> bool:
        shown.update((await client.get(asked)).json()["indicators"][0])
        return head(shown) == (True, 7, "met")

    await wait_until(known)  # as known at the whole second: from the next one on
    assert (shown["on"], datetime.fromisoformat(shown["known_at"]).microsecond) == (yesterday.isoformat(), 0)
    assert datetime.fromisoformat(shown["at"]) < day_begins(yesterday + timedelta(days=1))


async def test_all_who_ask_share_one_evaluation(ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each of the two; and those who come within a while have it as well."""
    monkeypatch.setattr(present, "GOOD_FOR_S", 60.0)
    moments: list[Moment] = []

    async def counted(tx: Tx, moment: Moment) -> Any:
        moments.append(moment)
        return await EFFECTS.read(tx, moment)

    figures, indicator = Present(ctx), replace(EFFECTS, read=counted)
    for _ in range(2):
        await asyncio.gather(*(figures.list([indicator], Known.PROVISIONAL, trend_days=days) for days in (0, 30) for _ in range(20)))
        await asyncio.gather(*(figures.view(indicator, Known.CLOSED) for _ in range(20)))
    assert len(moments) == 2


async def test_today_by_its_date_is_today(ctx: Ctx[Any], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same shared figure as without a date: whoever names the day costs nothing more."""
    monkeypatch.setattr(present, "GOOD_FOR_S", 60.0)
    today = city_day(ctx.clock.now())
    for path in ("/indicators", "/indicators/effects"):
        first = await client.get(f"{path}?provisional=true")
        await learn(ctx, path, 1)
        assert (await client.get(f"{path}?provisional=true&on={today}")).json() == first.json()


async def test_a_question_of_ones_own_has_the_lower_limit(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """An evaluation of a past day is one asker's alone; what is shared is told to the same network all the same."""
    await ask_often(ctx, "indicators-asked", times=119)
    yesterday = city_day(ctx.clock.now()) - timedelta(days=1)
    asked = f"/indicators/effects?on={yesterday}"
    answers = [await client.get(path) for path in (asked, asked, f"/indicators?on={yesterday}", "/indicators?provisional=true")]
    assert [each.status_code for each in answers] == [200, 429, 429, 200]


async def test_a_list_is_never_older_than_what_was_told(ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A page opens its stream and then reads: what the stream told before must not be missing."""
    monkeypatch.setattr(present, "GOOD_FOR_S", 0.0)
    monkeypatch.setattr(present, "LIST_GOOD_FOR_S", 60.0)
    monkeypatch.setattr("cityloop_common.shared.TIMES_COST", 0.0)
    figures = Present(ctx)
    for number in range(3):
        await learn(ctx, f"a{number}", 1)
        assert head(await figures.view(EFFECTS, Known.PROVISIONAL))[1] == number + 1  # type: ignore[arg-type]
        body = await figures.list([EFFECTS], Known.PROVISIONAL)
        assert head(orjson.loads(body.plain)["indicators"][0])[1] == number + 1


async def test_a_trend_has_the_newest_published_figure_of_each_of_the_last_days(ctx: Ctx[Any], client: httpx.AsyncClient) -> None:
    """The oldest first, today included; a day without any is left out; as many days as asked for."""
    today = city_day(ctx.clock.now())
    for back, n in ((3, 1), (2, 2), (0, 3)):
        on = today - timedelta(days=back)
        await learn(ctx, f"d{back}", n, at=day_begins(on))
        for minutes in (0, 1):
            await publish(ctx, EFFECTS, Slot(on, day_begins(on) + timedelta(minutes=minutes)))
    [effects, others] = (await client.get("/indicators?trend=3")).json()["indicators"]
    points = [(each["on"], each["numerator"], each["denominator"], each["value"]) for each in effects["schemes"][0]["trend"]]
    assert points == [((today - timedelta(days=2)).isoformat(), 3, 20, "0.150000"), (today.isoformat(), 6, 30, "0.200000")]
    assert [each["trend"] for each in others["schemes"]] == [[], []]
    one = (await client.get("/indicators/effects?trend=4&provisional=true")).json()
    assert [each["numerator"] for each in one["schemes"][0]["trend"]] == [1, 3, 6]
    IndicatorView.model_validate(one)


@pytest.mark.parametrize(
    "query, pointer",
    [
        ("provisional=true&known_at=2026-11-26T00:00:00Z", "/query/provisional"),
        ("provisional=perhaps", "/query/provisional"),
        ("trend=-1", "/query/trend"),
        ("trend=367", "/query/trend"),
        ("trend=many", "/query/trend"),
    ],
)
@pytest.mark.parametrize("path", ["/indicators", "/indicators/effects"])
async def test_a_wrong_question_gets_a_clear_answer(client: httpx.AsyncClient, path: str, query: str, pointer: str) -> None:
    """A problem that points at the parameter."""
    answer = await client.get(f"{path}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


async def test_a_long_formula_gives_way_to_the_loops_other_work(ctx: Ctx[Any]) -> None:
    """Rows that come one by one are added in steps; the figure is the same."""
    turns = 0

    def many(_facts: Any, _moment: Moment, _scheme: str) -> Any:
        return (Row(f"{number:06d}", 1, 2, "d1") for number in range(evaluating.STEP_ROWS * 10 + 1))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def nothing(_tx: Tx, _moment: Moment) -> None:
        pass

    figures, indicator = Present(ctx), replace(EFFECTS, read=nothing, formulas={1: many})
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(others())
        view = await figures.view(indicator, Known.CLOSED)
        task.cancel()
    assert (view["schemes"][0]["numerator"], view["schemes"][0]["denominator"]) == (10_001, 20_002)
    assert turns >= 20


@dataclass
class Listening:
    """A hub with a client or none, and what is published through it."""

    hub: Hub
    clients: int = 1
    told: list[Message] = field(default_factory=list)

    def publish(self, message: Message) -> None:
        self.told.append(message)

    def heads(self) -> list[tuple[Any, ...]]:
        views = [orjson.loads(message.data) for message in self.told]
        for view in views:
            IndicatorView.model_validate(view)
            assert all(each["districts"] is None for each in view["schemes"])
        return [(view["name"], *head(view)) for view in views]


@asynccontextmanager
async def telling_of(ctx: Ctx[Any], indicators: Sequence[Indicator], *, clients: int = 1) -> AsyncIterator[Listening]:
    """The loop beside the test."""
    listening = Listening(Hub("kit", clock=ctx.clock, rng=ctx.rng), clients)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(tell_changes(Present(ctx), listening, indicators))  # type: ignore[arg-type]
        yield listening
        running.cancel()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred looks a second."""
    monkeypatch.setattr(telling, "EVERY_S", 0.01)
    monkeypatch.setattr(telling, "TIMES_COST", 0.0)
    monkeypatch.setattr(telling, "AGAIN_S", 0.01)
    monkeypatch.setattr(present, "GOOD_FOR_S", 0.0)
    monkeypatch.setattr("cityloop_common.shared.TIMES_COST", 0.0)


@pytest.mark.usefixtures("often")
async def test_clients_are_told_once_when_a_figure_becomes_another(ctx: Ctx[Any]) -> None:
    """Both forms when the first one listens; then what changed, provisional at once and closed a minute later, and nothing else."""
    await learn(ctx, "a", 1)
    async with telling_of(ctx, [EFFECTS]) as listening:
        await wait_until(lambda: len(listening.told) == 2)
        assert listening.heads() == [("effects", False, 0, "no_data"), ("effects", True, 1, "missed")]
        assert {(message.event, message.key, message.id) for message in listening.told} == {(CHANGED, "effects", "")}
        await learn(ctx, "b", 2)
        await wait_until(lambda: len(listening.told) == 3)
        assert listening.heads()[2:] == [("effects", True, 3, "missed")]
        assert isinstance(ctx.clock, ShiftedClock)
        ctx.clock.by = timedelta(seconds=70)
        await wait_until(lambda: len(listening.told) == 4)
        assert listening.heads()[3:] == [("effects", False, 3, "missed")]


@pytest.mark.usefixtures("often")
async def test_a_value_that_somebody_read_in_between_is_told_over(ctx: Ctx[Any]) -> None:
    """There and back between two looks: who read the other one is told that it is as before."""
    figures, told = Present(ctx), dict[tuple[str, Known], int]()
    listening = Listening(Hub("kit", clock=ctx.clock, rng=ctx.rng))

    async def look() -> None:
        assert await telling._look_or_say(figures, listening, EFFECTS, told)  # type: ignore[arg-type]

    await learn(ctx, "a", 1)
    await look()
    await learn(ctx, "b", 2)
    await figures.list([EFFECTS], Known.PROVISIONAL)
    async with ctx.db.write() as tx:
        await tx.run(delete(effect).where(effect.c.id == "b"))
    await look()
    assert [each for each in listening.heads() if each[1]] == [("effects", True, 1, "missed")] * 2


@pytest.mark.usefixtures("often")
async def test_a_figure_that_cannot_be_computed_stops_neither_the_others_nor_the_replica(ctx: Ctx[Any]) -> None:
    """It is logged, counted and tried again."""
    broken = True

    def rows(facts: Any, _moment: Moment, scheme: str) -> Sequence[Row]:
        if broken:
            raise KeyError("a bug")
        return [Row("a", 1, 1)]

    before = FAILED.value(ctx.service, "broken")
    async with telling_of(ctx, [replace(EFFECTS, name="broken", formulas={1: rows}), EFFECTS]) as listening:
        await wait_until(lambda: len(listening.told) == 2 and FAILED.value(ctx.service, "broken") > before + 2)
        assert {name for name, *_ in listening.heads()} == {"effects"}
        broken = False
        await wait_until(lambda: len(listening.told) == 4)
        assert {name for name, *_ in listening.heads()[2:]} == {"broken"}


@pytest.mark.usefixtures("often")
async def test_it_goes_on_when_the_database_is_back(ctx: Ctx[Any]) -> None:
    """While it is away nothing is told."""
    before = FAILED.value(ctx.service, "effects")
    away = mock.patch.object(ctx.db, "read", side_effect=Unavailable("away"))
    away.start()
    async with telling_of(ctx, [EFFECTS]) as listening:
        await wait_until(lambda: FAILED.value(ctx.service, "effects") > before + 2)
        assert listening.told == []
        away.stop()
        await wait_until(lambda: len(listening.told) == 2)
