"""The laws of setup and of the judges: what stands between a clone and a green run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_ran, house_rules, install
from tests.support import REPOSITORY


def report(folder: Path, *tests: str) -> str:
    """A JUnit file with these test cases."""
    path = folder / "report.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(tests)}</testsuite></testsuites>")
    return str(path)


def test_a_suite_that_ran_nothing_is_a_fault(tmp_path: Path) -> None:
    """Green because nobody collected it, or because all of it was skipped, is not green."""
    skipped = '<testcase classname="tests.e2e.test_x" name="b"><skipped/></testcase>'
    path = report(tmp_path, '<testcase classname="tests.unit.test_x" name="a"/>', skipped)
    assert check_ran.missing(f"{path}=unit") == []
    assert check_ran.missing(f"{path}=unit,e2e,contract") == [f"{path}: no test of tests/{suite} ran" for suite in ("e2e", "contract")]


def test_a_report_that_was_not_written_is_a_fault(tmp_path: Path) -> None:
    """A part that died before its report did not run."""
    assert "was not written" in check_ran.missing(f"{tmp_path}/none.xml=unit")[0]


def test_one_package_of_the_lock_keeps_its_hashes() -> None:
    """What pip installs first is pinned like the rest."""
    block = install.locked_block((REPOSITORY / "requirements.lock").read_text(), "uv")
    assert block.startswith("uv==")
    assert block.count("==") == 1
    assert "--hash=sha256:" in block


def test_locks_name_no_index() -> None:
    """The same locks serve behind a mirror: they hold no address."""
    assert not [line for name in install.LOCKS["dev"] for line in (REPOSITORY / name).read_text().splitlines() if "://" in line]


def test_setup_skips_interpreters_that_do_not_run_and_says_what_to_install(tmp_path: Path) -> None:
    """A shim on the path that fails is no Python; without any, the message names the packages."""
    shim = tmp_path / "python3"
    shim.write_text("#!/bin/sh\necho 'shim: no version is selected' >&2\nexit 127\n")
    shim.chmod(0o755)
    text = (REPOSITORY / "scripts" / "setup").read_text().replace("/usr/bin/python3 /usr/local/bin/python3 /opt/homebrew/bin/python3", "")
    script = tmp_path / "scripts" / "setup"
    script.parent.mkdir()
    script.write_text(text)
    for tool in ("dirname", "head", "cat"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    asked = ["/bin/sh", str(script), "--probe"]
    refused = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "python3 does not run: shim: no version is selected" in refused.stderr
    assert "apt install python3 python3-venv" in refused.stderr
    found = subprocess.run(asked, env={**environment, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0
    assert Path(found.stdout.strip()).is_file()


def test_a_command_without_a_terminal_keeps_its_status() -> None:
    """`make run` in a pipe or under a supervisor ends as the server ends."""
    script = str(REPOSITORY / "scripts" / "foreground.py")
    done = subprocess.run(
        [sys.executable, script, sys.executable, "-c", "raise SystemExit(7)"], start_new_session=True, timeout=60, check=False
    )
    assert done.returncode == 7


@pytest.mark.parametrize(
    "text,fault",
    [
        ("print(hash('x'))\n", "hash() differs between processes"),
        ("def f():\n" + "    x = 1\n" * 50, "f has 51 lines"),
        ("x = 1\n" * 430, "file has 430 lines"),
        ("from cityloop_parking.places.api import router\n", "a room imports cityloop_parking.places.api"),
    ],
)
def test_house_rules_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str) -> None:
    """Each rule finds what it is there for."""
    monkeypatch.setattr(house_rules, "ROOT", tmp_path)
    path = tmp_path / "services/parking/src/cityloop_parking/search/use_cases.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert [told for _, told in house_rules.faults(path) if told.startswith(fault)]
