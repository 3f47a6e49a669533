"""A source of the sample city dies: its car parks turn from live to late to forecast, less and less sure, and back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common.clock import SystemClock, instant, rfc3339
from tests.e2e.processes import Process, command, embedded
from tests.support import PATIENCE_S, wait_until

EVERY_S = 5
LONG_S = 480.0  # two weeks are learnt, and forecasts made anew, in a part of it where nothing else runs
DEAD = "sample-cameras"
EVERYTHING = "near=109.787,39.565&radius_m=20000&limit=100"
pytestmark = [pytest.mark.timeout(1500), pytest.mark.slow]


class Town:
    """A city that lives, seen from outside."""

    def __init__(self, process: Process, folder: Path, http: httpx.AsyncClient) -> None:
        self.http = http
        self._process, self._folder = process, folder

    async def places(self, query: str = "") -> list[dict[str, Any]]:
        """Every car park as a search finds it."""
        answer = await self.http.get(f"/parking/v1/places?{EVERYTHING}{query}")
        assert answer.status_code == 200, answer.text
        places: list[dict[str, Any]] = answer.json()["places"]
        return places

    async def of(self, source: str) -> list[dict[str, Any]]:
        """Those that a source counts."""
        return [place for place in await self.places() if place["source"] == source]

    async def silence(self, *names: str) -> None:
        """As somebody types it."""
        done = await asyncio.to_thread(command, self._process.settings, self._folder, "parking", "silence", *names)
        assert done.returncode == 0, done.stderr

    async def all_are(self, freshness: str, source: str, within_s: float) -> list[dict[str, Any]]:
        """Waits until every car park of a source is shown so."""

        async def they_are() -> list[dict[str, Any]]:
            places = await self.of(source)
            assert Counter(place["freshness"] for place in places) == {freshness: len(places)}
            return places

        return await wait_until(they_are, within_s, every=0.5, what=f"{source} {freshness}")


def width(places: list[dict[str, Any]]) -> float:
    """How unsure the forecasts are, in spaces of all places."""
    frees = [place["forecast"]["free"] for place in places]
    return float(sum(free["high"] - free["low"] for free in frees))


async def test_a_source_that_dies_is_forecast_and_comes_back(tmp_path: Path) -> None:
    """Its last counts keep their time; the others stay live; whoever arrives later hears a chance."""
    settings = {"CITYLOOP_SAMPLE": "live", "CITYLOOP_PARKING_SAMPLE_EVERY_S": str(EVERY_S), "CITYLOOP_PARKING_FORECAST_STORE_EVERY_S": "5"}
    async with embedded(tmp_path, **settings) as process, httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as http:
        town = Town(process, tmp_path, http)

        async def has_learnt() -> bool:
            in_an_hour = rfc3339(SystemClock().now() + timedelta(hours=1))
            arrivals = [place["arrival"] for place in await town.places(f"&arrives_at={in_an_hour}")]
            known = [arrival for arrival in arrivals if arrival["free"] or arrival["state"] == "closed"]
            assert len(known) >= 59, f"{len(known)} of {len(arrivals)} car parks"
            return True

        await wait_until(has_learnt, LONG_S, every=2, what="the sample's two weeks learnt")
        before = await town.all_are("live", DEAD, 60)
        assert len(before) > 10
        await town.silence(DEAD)
        silent_since = SystemClock().now()
        late = await town.all_are("late", DEAD, 60)
        forecast = await town.all_are("forecast", DEAD, 90)
        assert len(before) == len(late) == len(forecast)
        for place in forecast:
            free = place["forecast"]["free"]
            assert instant(place["as_of"]) < silent_since + timedelta(seconds=2 * EVERY_S)
            assert 0 <= free["low"] <= free["mean"] <= free["high"]
            assert 0 <= place["forecast"]["chance"] <= 1
        first, asked_at = width(forecast), instant(forecast[0]["forecast"]["at"])

        async def later() -> list[dict[str, Any]]:
            places = await town.of(DEAD)
            assert all(place["freshness"] == "forecast" for place in places), Counter(place["freshness"] for place in places)
            assert all(instant(place["forecast"]["at"]) > asked_at + timedelta(seconds=100) for place in places)
            return places

        assert width(await wait_until(later, LONG_S, every=2, what="forecasts made anew")) > first
        await town.all_are("live", "sample-gates", 60)
        one = await http.get(f"/parking/v1/places/{forecast[0]['id']}/availability")
        assert (one.status_code, one.json()["freshness"]) == (200, "forecast")
        await town.silence()
        back = await town.all_are("live", DEAD, 60)
        assert [place["forecast"] for place in back] == [None] * len(before)
