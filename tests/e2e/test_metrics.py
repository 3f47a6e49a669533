"""What a running city tells Prometheus: readable by its own judge, with everything that the alerts watch, and nothing personal."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests import observed
from tests.e2e.processes import embedded
from tests.support import PATIENCE_S, wait_until

ON_SERVERS_ONLY = {"clock_skew_seconds"}  # SQLite's clock is the process's own


@pytest.mark.timeout(400)
async def test_a_running_city_exports_what_is_watched(tmp_path: Path) -> None:
    """promtool finds no fault in /metrics; every series of rules and dashboard is there before anything has gone wrong."""
    async with embedded(tmp_path) as process, httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as http:
        await http.get("/parking/v1/places", params={"near": "109.787,39.565"})

        ours = observed.exported().keys() - observed.OF_PROMETHEUS.keys() - observed.OF_BACKUPS.keys() - ON_SERVERS_ONLY
        watched = {name for alert in observed.alerts() for name, _ in observed.used(alert.expr)} & ours
        assert len(watched) > 15

        async def measured() -> str:
            text = (await http.get("/metrics")).text
            there = set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.MULTILINE))
            assert watched <= there, f"not there from the start: {sorted(watched - there)}"
            assert "parking_places{" in text
            assert "consumer_lag_records{" in text
            assert "parking_forecast_learnt_until_timestamp_seconds{" in text
            assert re.search(r'charging_evses\{freshness="live",service="charging"\} [1-9]', text)
            return text

        text = await wait_until(measured, 120, every=0.5, what="the first measurements")
    judged = observed.promtool("check", "metrics", given=text)
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")
    largest = max(len(line) for line in text.splitlines())
    assert (largest < 400, text.count("\n") < 3_000) == (True, True), "the number of series is bounded"
