"""The distributed form as its own tools resolve it: Compose by its loader, Kubernetes by kubectl."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
import yaml

from tests.support import REPOSITORY, STRICT

SERVICES = ("parking", "charging", "waste")
ROLES = ("api", "worker")
OVERLAYS = ("dev", "prod")
Document = dict[str, Any]


def missing(what: str) -> NoReturn:
    """A tool is not here: skipped on a desk, a failure in CI."""
    if STRICT:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@functools.cache
def judges() -> ModuleType:
    """deploy/judges/judge.py as a module; deploy/ is no package."""
    spec = importlib.util.spec_from_file_location("cityloop_judges", REPOSITORY / "deploy" / "judges" / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _compose(given: tuple[tuple[str, str], ...]) -> Document:
    try:
        loader = judges().compose_loader()
    except judges().Missing as error:
        missing(str(error))
    env = {"PATH": os.environ["PATH"], "HOME": "/", **dict.fromkeys(judges().SECRETS, judges().SECRET), **dict(given)}
    done = subprocess.run([loader, REPOSITORY / "docker-compose.yml"], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    project: Document = json.loads(done.stdout)
    return project


def compose(**given: str) -> Document:
    """docker-compose.yml resolved by compose-go, with invented secrets and these variables."""
    return _compose(tuple(sorted(given.items())))


@functools.cache
def manifests(overlay: str, root: Path = REPOSITORY) -> Sequence[Document]:
    """Every object of an overlay, as kubectl builds it."""
    try:
        kubectl = judges().tool("kubectl", "https://kubernetes.io/docs/tasks/tools")
    except judges().Missing as error:
        missing(str(error))
    folder = root / "deploy" / "k8s" / "overlays" / overlay
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> list[Document]:
    """The objects of some kinds."""
    return [each for each in manifests(overlay) if each["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Document:
    """One object; there is exactly one."""
    (found,) = [each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name]
    return found


def pod_settings(overlay: str, pod: Document) -> Mapping[str, str]:
    """What the one container of a pod is told: names, and values where they are no secret."""
    (container,) = pod["containers"]
    told: dict[str, str] = {}
    for source in container.get("envFrom", []):
        told |= named(overlay, "ConfigMap", source["configMapRef"]["name"])["data"]
    for each in container.get("env", []):
        told[each["name"]] = each.get("value", "")
    return told


def run_judge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """deploy/judges/judge.py as `make judge` calls it."""
    script = REPOSITORY / "deploy" / "judges" / "judge.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False, timeout=300)
