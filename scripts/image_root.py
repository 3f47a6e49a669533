"""Lays what an image runs into one folder: `python -m scripts.image_root DEST` (`make image-root DEST=/app`).

Called with the interpreter of a .venv that `scripts/setup run` laid. DEST gets an environment of the same Python without pip,
with what the four packages need out of requirements.lock (by its hashes) and the packages themselves as wheels, their
migrations and the pages included. What only installs or builds stays outside: uv, Node, hatchling, setuptools. The folder may
be moved: nothing in it names where it was laid.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from scripts.install import packages

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
COMMAND = "cityloop"
FROM_SOURCE = ("prcoords",)  # has no wheel: built here against what is locked; any other without one is refused
WEB = ROOT / "web"
PAGES = "web_dist"  # where cityloop_common.pages looks when it is installed


class NotLaid(Exception):
    """The folder cannot be laid; the text says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not arguments[0]:
        print("image-root: say where: make image-root DEST=folder", file=sys.stderr)
        return 2
    try:
        lay(Path(arguments[0]).resolve())
    except NotLaid as error:
        print(f"image-root: {error}", file=sys.stderr)
        return 1
    return 0


def lay(dest: Path) -> None:
    """Everything, into a folder that is new or empty. Raises NotLaid."""
    if not UV.exists():
        raise NotLaid("needs uv in .venv (scripts/setup run), which has no wheel for this system")
    if dest.exists() and any(dest.iterdir()):
        raise NotLaid(f"{dest} is not empty")
    ours = packages()
    names = [canonicalize_name(metadata_name(folder)) for folder in ours]
    pages = built_pages()
    lock = (ROOT / "requirements.lock").read_text()
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(scratch)
        needed = runtime_lock(lock, closure(names) - set(names))
        for folder in ours:
            run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", wheels, folder)
        for name in FROM_SOURCE:
            build_locked(locked_blocks(lock)[canonicalize_name(name)], wheels)
        (wheels / "runtime.lock").write_text(needed)
        run(UV, "venv", "--quiet", "--relocatable", "--no-project", "--python", base_python(), dest)
        install(dest, wheels)
    tidy(dest, pages)
    print(f"{dest}: {sum(line[:1].isalnum() for line in needed.splitlines())} locked packages, {size_mb(dest)} MB", flush=True)


def metadata_name(folder: Path) -> str:
    """The name of the package in a folder."""
    found = re.search(r'^name = "([^"]+)"', (folder / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise NotLaid(f"{folder}/pyproject.toml has no name")
    return found[1]


def base_python() -> str:
    """The interpreter that .venv was made from; the image has it at the same place."""
    return str(getattr(sys, "_base_executable", sys.executable))


def closure(roots: Iterable[str]) -> set[NormalizedName]:
    """What these packages need on this system, and what that needs, as the metadata in .venv say."""
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    ahead = [(canonicalize_name(name), frozenset[str]()) for name in roots]
    while ahead:
        one = ahead.pop()
        if one in seen:
            continue
        seen.add(one)
        name, extras = one
        for text in metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                ahead.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return {name for name, _ in seen}


def locked_blocks(lock: str) -> Mapping[NormalizedName, str]:
    """The lines of each package in a lock: its pins (one a Python, perhaps) and hashes."""
    blocks: dict[NormalizedName, str] = {}
    name = None
    for line in lock.splitlines():
        if found := re.match(r"([A-Za-z0-9][\w.-]*)==", line):
            name = canonicalize_name(found[1])
        if name is not None and not line.lstrip().startswith("#"):
            blocks[name] = f"{blocks.get(name, '')}{line}\n"
    return blocks


def runtime_lock(lock: str, names: set[NormalizedName]) -> str:
    """The part of the lock that runs, without what is built from source here. Raises NotLaid when something is not locked."""
    blocks = locked_blocks(lock)
    if missing := sorted(names - set(blocks)):
        raise NotLaid(f"requirements.lock lacks {', '.join(missing)}: scripts/lock")
    return "".join(blocks[name] for name in sorted(names) if name not in FROM_SOURCE)


def build_locked(block: str, wheels: Path) -> None:
    """A wheel of a source archive whose hash is locked, with the locked setuptools."""
    only_this = wheels / "source.lock"
    only_this.write_text(block)
    pip: Sequence[str | Path] = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-build-isolation", "--require-hashes", "--wheel-dir", wheels, "-r", only_this)


def install(dest: Path, wheels: Path) -> None:
    """The locked packages by their hashes, then the wheels built here; compiled, because an image's root is not written to."""
    pip: Sequence[str | Path] = [UV, "pip", "install", "--quiet", "--python", dest / "bin" / "python", "--no-deps", "--link-mode=copy"]
    run(*pip, "--compile-bytecode", "--require-hashes", "--no-build", "-r", wheels / "runtime.lock")
    run(*pip, "--compile-bytecode", *sorted(wheels.glob("*.whl")))


def built_pages() -> Path | None:
    """The built pages; None in a checkout that has none to build. Raises NotLaid."""
    if not (WEB / "package.json").exists():
        return None
    built = WEB / "dist"
    if not (built / "index.html").exists():
        raise NotLaid(f"{built.relative_to(ROOT)} has no index.html: the pages are not built (see what scripts/setup said)")
    return built


def tidy(dest: Path, pages: Path | None) -> None:
    """Puts the pages in and takes out what does not run: commands of libraries, their tests."""
    installed = next((dest / "lib").glob("python*/site-packages"))
    if pages is not None:
        shutil.copytree(pages, installed / "cityloop_common" / PAGES)
    for path in (dest / "bin").iterdir():
        if path.name != COMMAND and not path.name.startswith("python"):
            path.unlink()
    for name in ("numpy", "pandas", "scipy", "pyproj", "shapely"):  # a quarter of the whole, never imported
        for tests in [*(installed / name).rglob("tests")]:
            shutil.rmtree(tests, ignore_errors=True)


def size_mb(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) // 1_000_000


def run(*command: str | Path) -> None:
    """Raises NotLaid when a command fails; what it said stands above."""
    env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "SOURCE_DATE_EPOCH": "1577836800"}
    env.pop("VIRTUAL_ENV", None)
    if subprocess.run([str(part) for part in command], check=False, cwd=ROOT, env=env).returncode:
        raise NotLaid(f"{' '.join(map(str, command))} failed (see above)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
