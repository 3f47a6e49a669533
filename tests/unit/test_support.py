"""The laws of the helpers that all suites lean on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import scaled, wait_until


async def test_wait_until_returns_the_first_true_answer() -> None:
    """An async predicate is asked again until it is true."""
    answers = iter([0, 0, 7])

    async def ask() -> int:
        return next(answers)

    assert await wait_until(ask, every=0) == 7


async def test_wait_until_tells_the_last_answer_when_time_is_up() -> None:
    """A condition that never comes fails with what was seen, not with a bare time-out."""

    def never() -> bool:
        raise AssertionError("still 3 rows")

    with pytest.raises(AssertionError, match=r"never did not come true within 0 s; last error still 3 rows"):
        await wait_until(never, timeout=0)


@pytest.mark.parametrize("way", ["at once", "in a coroutine"])
async def test_what_is_not_there_yet_is_asked_for_again(way: str) -> None:
    """Looking for one among those listed before it is listed: the same as an answer that is not true yet."""
    lists: Iterator[dict[str, list[int]]] = iter([{}, {"found": []}, {"found": [3]}])

    def look() -> int:
        return next(each for each in next(lists)["found"] if each == 3)

    async def ask() -> int:
        return look()

    assert await wait_until(look if way == "at once" else ask, every=0) == 3


@pytest.mark.parametrize("way", ["at once", "in a coroutine"])
async def test_what_was_not_found_is_told_when_time_is_up(way: str) -> None:
    """Nothing was there to the end: a failure in words, not a StopIteration from inside."""

    def look() -> int:
        return next(iter(()))

    async def ask() -> int:
        return look()

    with pytest.raises(AssertionError, match=r"did not come true within 0 s; last error StopIteration\(\)"):
        await wait_until(look if way == "at once" else ask, timeout=0)


async def test_another_error_of_the_predicate_is_not_waited_for() -> None:
    """A process that has ended says so at once."""

    async def broken() -> bool:
        raise RuntimeError("ended with 1")

    with pytest.raises(RuntimeError, match="ended with 1"):
        await wait_until(broken)


def test_an_unknown_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in CITYLOOP_SCALE must not quietly run the small size."""
    monkeypatch.setenv("CITYLOOP_SCALE", "ful")
    with pytest.raises(ValueError, match="say ci or full"):
        scaled(ci=1, full=10)


def test_a_group_of_tests_runs_on_one_worker(tmp_path: Path) -> None:
    """A city is started once for all its tests: releases of pytest and pytest-xdist that do not fit each other say nothing."""
    (tmp_path / "test_grouped.py").write_text(
        "import os, pathlib, pytest\n"
        "@pytest.mark.xdist_group('city')\n"
        "@pytest.mark.parametrize('number', range(12))\n"
        "def test_in_a_group(number):\n"
        "    pathlib.Path(__file__).with_name(f'{number}.ran').write_text(os.environ['PYTEST_XDIST_WORKER'])\n"
    )
    words = ["-n", "2", "--dist", "loadgroup", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    workers = [each.read_text() for each in tmp_path.glob("*.ran")]
    assert (len(workers), len(set(workers))) == (12, 1)
