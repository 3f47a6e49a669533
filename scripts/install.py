"""Lays .venv: locked packages with hashes by a pinned uv (or pip), then the packages of this repository.

Called by scripts/setup with a Python that fits. Standard library only. A stamp per extent ("run", "dev") tells what was
installed; a marker tells of an install that was cut short, which starts from nothing the next time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
MARKER = VENV / ".cityloop-unfinished"
LOCKS = {"run": ["requirements.lock"], "dev": ["requirements.lock", "requirements-dev.lock"]}
DISK_MB = {"run": 1100, "dev": 1700}  # .venv and the pages' packages are 780 or 1240 on Linux; the rest is for downloads
MB = 1_000_000


class SetupFailed(Exception):
    """Setup cannot go on; the text says why and what to do."""


def packages() -> list[Path]:
    """The folders of this repository that are installable packages."""
    found = [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    return sorted(path.parent for path in found)


def fingerprint(extent: str) -> str:
    """Changes with the locks and the packages of this repository."""
    digest = hashlib.sha256()
    for path in [*(ROOT / lock for lock in LOCKS[extent]), *(folder / "pyproject.toml" for folder in packages())]:
        digest.update(f"\n{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stamp_text(extent: str, asked: str, version: str) -> str:
    return f"{fingerprint(extent)}\nfolder {ROOT}\npython {version}\nasked {asked}\n"


def was_moved() -> bool:
    """True when .venv was laid in another folder: the first lines of its scripts name that one."""
    stamps = [path.read_text() for extent in LOCKS if (path := VENV / f".cityloop-{extent}").exists()]
    return any(f"\nfolder {ROOT}\n" not in stamp for stamp in stamps)


def is_fresh(extent: str) -> bool:
    """True when .venv is as the locks say. To be asked with the interpreter of .venv."""
    try:
        stamp = (VENV / f".cityloop-{extent}").read_text()
    except OSError:
        return False
    asked = os.environ.get("PYTHON") or stamp.rpartition("asked ")[2].rstrip("\n")
    return not MARKER.exists() and stamp == stamp_text(extent, asked, sys.version.split()[0])


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """Holds the lock of this checkout; the system gives it back when the last process with it has ended."""
    with open(__file__, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("setup: another setup of this folder is running; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


class Installer:
    """One run of the installer: numbered steps with their times."""

    def __init__(self, extent: str, lock_fd: int) -> None:
        self.extent = extent
        self.lock_fd = lock_fd
        self.step_number = 0
        self.env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "UV_PYTHON_DOWNLOADS": "never"}
        for name in ("PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV"):
            self.env.pop(name, None)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.step_number += 1
        print(f"[{self.step_number}/5] {title} ...", flush=True)
        started = time.monotonic()
        yield
        print(f"      done in {time.monotonic() - started:.1f} s", flush=True)

    def call(self, *command: str | Path) -> bool:
        """Runs a command with its output shown; True when it succeeded."""
        return subprocess.run([str(part) for part in command], check=False, cwd=ROOT, env=self.env, pass_fds=[self.lock_fd]).returncode == 0

    def output(self, *command: str | Path) -> str | None:
        """What a command prints, or None when it fails."""
        try:
            done = subprocess.run([str(part) for part in command], check=False, cwd=ROOT, env=self.env, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def install(self) -> None:
        with self.step(f"Python {sys.version.split()[0]} ({sys.executable}); {self.room()}"):
            fits = self.venv_fits()
        with self.step("keep .venv" if fits else "make .venv"):
            self.lay_venv(keep=fits)
        locks = LOCKS[self.extent]
        count = sum(line[:1].isalnum() for lock in locks for line in (ROOT / lock).read_text().splitlines())
        with self.step("what installs the rest, by pip"):
            uv = self.bootstrap_uv()
        with self.step(f"{count} locked packages from {' and '.join(locks)}"):
            self.install_locked(uv, locks)
        with self.step(f"the packages of this repository: {', '.join(str(folder.relative_to(ROOT)) for folder in packages())}"):
            self.install_local(uv)
        self.finish()

    def room(self) -> str:
        """Tells the disk that is needed. Raises SetupFailed when there is less."""
        need, free = DISK_MB[self.extent], shutil.disk_usage(ROOT).free // MB
        if free < need and not (VENV / f".cityloop-{self.extent}").exists():
            raise SetupFailed(f"needs {need} MB of disk in {ROOT}, {free} MB are free: make room and run it again")
        return f"needs {need} MB of disk, {free} MB are free"

    def venv_fits(self) -> bool:
        """True when .venv is whole and of the Python that was asked for."""
        if MARKER.exists():
            print("      the last setup was cut short: starting from nothing", flush=True)
            return False
        if was_moved():
            print("      .venv was laid in another folder: starting from nothing", flush=True)
            return False
        told = self.output(PYTHON, "-I", "-c", "import sys; print(sys.version_info >= (3, 11), sys.prefix, sys.base_prefix, sep='\\n')")
        if told is None:
            return False
        new_enough, prefix, base = told.splitlines()
        asked_other = bool(os.environ.get("PYTHON")) and os.path.realpath(base) != os.path.realpath(sys.base_prefix)
        return new_enough == "True" and os.path.realpath(prefix) == str(VENV) and not asked_other

    def lay_venv(self, *, keep: bool) -> None:
        """An environment with pip in it; the marker stays until all is done."""
        if not keep:
            if VENV.is_symlink():
                VENV.unlink()
            shutil.rmtree(VENV, ignore_errors=True)
            VENV.mkdir(exist_ok=True)
            MARKER.touch()
            if not self.call(sys.executable, "-I", "-m", "venv", VENV):
                raise SetupFailed(f"{sys.executable} -m venv failed: install its venv package (Debian, Ubuntu: python3-venv)")
        MARKER.touch()
        for extent in LOCKS:
            (VENV / f".cityloop-{extent}").unlink(missing_ok=True)
        if self.output(PYTHON, "-I", "-m", "pip", "--version") is None and not self.call(PYTHON, "-I", "-m", "ensurepip"):
            raise SetupFailed("pip cannot be installed: remove .venv and run it again")

    def bootstrap_uv(self) -> Path | None:
        """The locked uv inside .venv, or None where it has no wheel."""
        if not self.pip_install_locked("setuptools"):
            raise SetupFailed("the package index did not answer (see above): check the network or pip's settings and run it again")
        if self.pip_install_locked("uv"):
            return VENV / "bin" / "uv"
        print("      no uv for this system: pip does it, which takes about a minute", flush=True)
        return None

    def pip_install_locked(self, name: str) -> bool:
        """One package out of the lock, as a wheel, without what it needs."""
        block = locked_block((ROOT / "requirements.lock").read_text(), name)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_this:
            only_this.write(block)
            only_this.flush()
            pip: list[str | Path] = [PYTHON, "-I", "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary"]
            return self.call(*pip, ":all:", "--require-hashes", "-r", only_this.name)

    def install_locked(self, uv: Path | None, locks: Sequence[str]) -> None:
        files = [part for lock in locks for part in ("-r", lock)]
        if uv is not None:
            self.follow_pip_settings()
            if self.call(uv, "pip", "install", "--python", PYTHON, "--require-hashes", "--no-build-isolation", *files):
                return
            print("      uv did not manage: trying pip, which takes about a minute", flush=True)
        if not self.call(PYTHON, "-I", "-m", "pip", "install", "--require-hashes", "--no-build-isolation", *files):
            raise SetupFailed("packages could not be installed (see above); is the package index reachable? Run it again")

    def follow_pip_settings(self) -> None:
        """uv reads no pip.conf: a mirror or certificate named there (or in PIP_*) counts for it too."""
        told = self.output(PYTHON, "-I", "-m", "pip", "config", "list") or ""
        settings = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        for option, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
            values = [settings.get(f"{section}.{option}", "").strip("'\"") for section in (":env:", "install", "global")]
            if value := next(filter(None, values), None):
                self.env.setdefault(variable, value)

    def install_local(self, uv: Path | None) -> None:
        """Editable, against what is locked: no resolving, no build environment from the network."""
        editable = [part for folder in packages() for part in ("-e", str(folder))]
        pip: list[str | Path] = [uv, "pip", "install", "--python", PYTHON] if uv else [PYTHON, "-I", "-m", "pip", "install"]
        if not self.call(*pip, "--quiet", "--no-deps", "--no-build-isolation", *editable):
            raise SetupFailed("the packages of this repository could not be installed (see above)")

    def finish(self) -> None:
        version = self.output(PYTHON, "-I", "-c", "import sys; print(sys.version.split()[0])")
        for extent in ("run", self.extent):
            text = stamp_text(extent, os.environ.get("PYTHON", ""), version or "")
            (VENV / f".cityloop-{extent}").write_text(text)
        MARKER.unlink()


def locked_block(lock: str, name: str) -> str:
    """The lines of one package in a lock: its pin and hashes."""
    lines = lock.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next(number for number in range(start, len(lines)) if not lines[number].endswith("\\"))
    return "\n".join(lines[start : end + 1]) + "\n"


def main(extent: str) -> int:
    os.chdir(ROOT)
    started = time.monotonic()
    with alone() as lock_fd:
        installer = Installer(extent, lock_fd)
        if installer.output(PYTHON, "-I", "-S", __file__, extent, "--fresh") is not None:
            return 0  # the setup we waited for did it
        try:
            installer.install()
        except SetupFailed as error:
            print(f"setup: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nsetup: interrupted; the next one starts anew", file=sys.stderr)
            return 130
    print(f"Ready in {time.monotonic() - started:.0f} s: .venv/bin/cityloop --help", flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1] not in LOCKS:
        sys.exit(f"setup: say {' or '.join(LOCKS)}, not {sys.argv[1]}")
    sys.exit((0 if is_fresh(sys.argv[1]) else 1) if "--fresh" in sys.argv else main(sys.argv[1]))
