"""Time as a port: the only module that asks the machine what time it is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

CITY_TZ = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    """What a service may know of time. Instants are aware UTC."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def worked_s() -> float:
    """Seconds that a core has worked for this thread: what other programs take is not in it; only differences mean something."""
    return time.thread_time()


class ManualClock:
    """A clock that a test moves by hand; `sleep` returns when `advance` has passed its end."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        self._sleepers.append((self._elapsed + seconds, woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Moves time on and wakes whoever slept until then."""
        self._elapsed += seconds
        self._now += timedelta(seconds=seconds)
        due = [woken for at, woken in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, woken) for at, woken in self._sleepers if at > self._elapsed]
        for woken in due:
            woken.set()


def city_day(at: datetime) -> date:
    """The local day in Asia/Shanghai that an instant falls on."""
    return at.astimezone(CITY_TZ).date()


def day_begins(day: date) -> datetime:
    """The first instant of a local day in Asia/Shanghai, in UTC. The last instant of a day lies before the next one's first."""
    return datetime(day.year, day.month, day.day, tzinfo=CITY_TZ).astimezone(UTC)


def instant(text: str) -> datetime:
    """Reads an RFC 3339 instant into aware UTC. Raises ValueError without a zone, and outside the years 1 to 9999."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is outside the calendar") from error


def rfc3339(at: datetime) -> str:
    """Writes an instant as RFC 3339 in UTC, with Z and as many digits as it has."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
