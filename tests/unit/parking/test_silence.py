"""Whoever silences a source hears when there is no city that would follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityloop_parking import sample
from cityloop_parking.cli import silence


@pytest.mark.parametrize(
    "kind, runs, is_warned", [("live", True, False), ("live", False, True), ("static", True, True), ("off", True, True)]
)
def test_it_is_said_where_no_live_sample_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, runs: bool, is_warned: bool
) -> None:
    """The names are kept all the same: a city that starts later follows them."""
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path))
    monkeypatch.setenv("CITYLOOP_SAMPLE", kind)
    if runs:
        (tmp_path / "lock").touch()
    silence(["sample-cameras"])
    assert ("warning" in capsys.readouterr().err) is is_warned
    assert sample.silent(tmp_path) == {"sample-cameras"}
