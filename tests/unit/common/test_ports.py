"""Time, identity, chance, money, settings, keys, envelopes: small promises that everything else rests on."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from cityloop_common.clock import ManualClock, city_day, instant, rfc3339
from cityloop_common.envelope import BadEnvelope, EventType, Kind, from_record, to_headers
from cityloop_common.ids import Ids
from cityloop_common.keys import key_for
from cityloop_common.money import Fen, fen_from_yuan, yuan_text
from cityloop_common.rng import Rng
from cityloop_common.settings import ServiceSettings, SettingsError, SharedSettings, load, refuse_unknown, service_config
from cityloop_common.signals import Signals
from cityloop_common.supervisor import LoopEnded, supervised
from tests.support import PATIENCE_S

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)


def test_ids_are_version_seven_and_grow_also_when_time_stands_or_goes_back() -> None:
    """Ten thousand within one millisecond, and a clock that jumps back: all different, all in order."""
    clock = ManualClock(NOON)
    ids = Ids(clock, Rng("x").stream("ids"))
    made = [ids.new() for _ in range(10_000)]
    clock.advance(-5)
    made += [ids.new() for _ in range(100)]
    assert made == sorted(set(made))
    assert {uuid.UUID(each).version for each in made} == {7}
    assert {uuid.UUID(each).variant for each in made} == {uuid.RFC_4122}


def test_a_seeded_stream_is_the_same_and_streams_are_apart() -> None:
    """The same seed and name give the same numbers; another name gives others."""
    assert Rng("7").stream("a").random() == Rng("7").stream("a").random()
    assert Rng("7").stream("a").random() != Rng("7").stream("b").random()
    assert Rng().stream("a").random() != Rng().stream("a").random()


async def test_a_manual_clock_wakes_who_is_due() -> None:
    """Sleepers wake when time has passed them, not before."""
    clock = ManualClock(NOON)
    async with asyncio.TaskGroup() as group:
        early, late = group.create_task(clock.sleep(1)), group.create_task(clock.sleep(10))
        await asyncio.sleep(0)
        clock.advance(1)
        await early
        assert not late.done()
        clock.advance(9)
        await late


def test_instants_need_a_zone_and_days_are_the_citys() -> None:
    """Half past eleven at night in UTC is the next day in Ordos."""
    with pytest.raises(ValueError, match="zone"):
        instant("2026-11-24T23:30:00")
    assert city_day(instant("2026-11-24T23:30:00Z")) == date(2026, 11, 25)
    assert rfc3339(instant("2026-11-24T23:30:00+08:00")) == "2026-11-24T15:30:00Z"


@given(st.integers(-(10**12), 10**12))
def test_money_comes_back_exactly(amount: int) -> None:
    """Written as yuan and read again, not a fen is lost."""
    assert fen_from_yuan(yuan_text(Fen(amount))) == amount


@pytest.mark.parametrize("text", ["", "1.005", "1e3", "NaN", "١٢", "1,50", "0x10", "--1"])
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    """No guessing with money."""
    with pytest.raises(ValueError, match="yuan"):
        fen_from_yuan(text)


async def test_a_signal_wakes_at_once_and_none_is_lost_before_the_wait() -> None:
    """Notified before: the next wait returns at once; after: whoever waits wakes."""
    signals = Signals()
    signals.notify("a")
    async with asyncio.timeout(PATIENCE_S):
        await signals.wait("a", 60)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(signals.wait("a", 60))
        await asyncio.sleep(0)
        signals.notify("b")
        await asyncio.sleep(0)
        assert not waiting.done()
        signals.notify("a")


async def test_a_loop_that_dies_ends_the_process_by_name() -> None:
    """The body is cancelled and the error says which loop it was."""

    async def dies() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(LoopEnded, match=r"parking/relay.*a bug"):
        async with supervised({"parking/relay": dies}):
            await asyncio.sleep(60)


async def test_a_loop_that_was_broken_off_by_nobody_ends_the_process_too() -> None:
    """A library lets a cancellation of its own out: the loop is gone, though nobody stopped it."""

    async def waits_for_what_is_cancelled() -> None:
        task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))
        task.cancel()
        await task

    with pytest.raises(LoopEnded, match=r"parking/search.*by nobody"):
        async with supervised({"parking/search": waits_for_what_is_cancelled}):
            await asyncio.sleep(60)


async def test_loops_end_with_the_body() -> None:
    """They are cancelled, and waited for."""
    ended: list[str] = []

    async def loop() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("loop")

    async with supervised({"loop": loop}):
        await asyncio.sleep(0)
    assert ended == ["loop"]


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    """Not as a group of one, and after the loops have ended."""
    ended: list[str] = []

    async def loop() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("loop")

    with pytest.raises(KeyError):
        async with supervised({"loop": loop}):
            await asyncio.sleep(0)
            raise KeyError
    assert ended == ["loop"]


async def test_cancelling_the_body_ends_the_loops() -> None:
    """And the cancellation goes on."""
    started = asyncio.Event()

    async def loop() -> None:
        started.set()
        await asyncio.sleep(3600)

    async def process() -> None:
        async with supervised({"loop": loop}):
            await asyncio.sleep(3600)

    task = asyncio.get_running_loop().create_task(process())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_key_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """A machine that lost power may leave an empty file: nobody signs with nothing."""
    shared = SharedSettings(var=tmp_path)
    key_for("k", None, shared, Rng())
    (tmp_path / "keys" / "k").write_bytes(b"")
    with pytest.raises(SettingsError, match="not a whole key"):
        key_for("k", None, shared, Rng())


@pytest.mark.parametrize(
    "name,value", [("ce_sequence", b"-1"), ("ce_sequence", b"9223372036854775808"), ("ce_time", b"0001-01-01T00:00:00+08:00")]
)
def test_a_header_that_no_column_holds_is_no_event_of_ours(name: str, value: bytes) -> None:
    """Such a sequence would make every later state of its key look old."""
    event = _TYPE.event(_Body(n=1), id="i", key="a", sequence=1, time=NOON, source="/x")
    with pytest.raises(BadEnvelope):
        from_record(event.topic, b"a", dict(to_headers(event)) | {name: value}, event.data)


class _Settings(ServiceSettings):
    """Settings of a test."""

    model_config = service_config("test")
    hold_for_s: int = Field(900, ge=10)


def test_settings_come_from_the_environment_and_faults_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is one line with its variable."""
    monkeypatch.setenv("CITYLOOP_TEST_HOLD_FOR_S", "60")
    assert load(_Settings).hold_for_s == 60
    monkeypatch.setenv("CITYLOOP_TEST_HOLD_FOR_S", "3")
    with pytest.raises(SettingsError, match="CITYLOOP_TEST_HOLD_FOR_S"):
        load(_Settings)


def test_an_unknown_setting_is_refused() -> None:
    """A typing mistake must not pass for a setting."""
    refuse_unknown([SharedSettings], {"CITYLOOP_PORT": "1", "PATH": "x"})
    with pytest.raises(SettingsError, match="CITYLOOP_PROT"):
        refuse_unknown([SharedSettings], {"CITYLOOP_PROT": "1"})


def test_a_key_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    """Its file is its owner's alone; open to others it is refused; production makes none; a short one is refused."""
    shared = SharedSettings(var=tmp_path)
    key = key_for("k", None, shared, Rng())
    assert key == key_for("k", None, shared, Rng())
    path = tmp_path / "keys" / "k"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="read by others"):
        key_for("k", None, shared, Rng())
    with pytest.raises(SettingsError, match="production"):
        key_for("k", None, SharedSettings(var=tmp_path, environment="production"), Rng())
    with pytest.raises(SettingsError, match="32"):
        key_for("k", "short", shared, Rng())


class _Body(BaseModel):
    """A body."""

    n: int
    note: str | None = None


_TYPE = EventType("test.thing.happened.v1", "test.thing", Kind.FACT, _Body)


def test_an_event_comes_back_from_its_headers() -> None:
    """What is sent in binary mode is what is read; absent fields are left out."""
    event = _TYPE.event(_Body(n=1), id="i", key="k", sequence=3, time=NOON + timedelta(microseconds=1), source="/s")
    assert event.body() == {"n": 1}
    assert from_record("test.thing", b"k", dict(to_headers(event)), event.data) == event


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_time", "ce_sequence"])
def test_a_record_without_a_header_is_none_of_ours(name: str) -> None:
    """The reason names what is missing."""
    event = _TYPE.event(_Body(n=1), id="i", key="k", sequence=3, time=NOON, source="/s")
    headers = {key: value for key, value in to_headers(event) if key != name}
    with pytest.raises(BadEnvelope, match=name):
        from_record("test.thing", b"k", headers, event.data)
