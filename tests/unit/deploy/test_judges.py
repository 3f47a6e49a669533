"""The law of judges: what they let pass is sound, because each one refuses what was broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tests.unit.deploy.forms import judges, missing, run_judge

FAULTS = {
    "dockerfile-unknown-instruction": ("dockerfile", "Dockerfile", "STOPSIGNAL SIGTERM", "STOPSIGN SIGTERM", "unexpected"),
    "dockerfile-latest": ("dockerfile", "Dockerfile", "FROM ${BASE_IMAGE}${BASE_DIGEST} AS final", "FROM python:latest AS final", "DL3007"),
    "dockerfile-shell-form": ("dockerfile", "Dockerfile", 'ENTRYPOINT ["cityloop"]', "ENTRYPOINT cityloop", "DL3025"),
    "compose-unknown-key": ("compose", "docker-compose.yml", "  stop_grace_period: 30s", "  stop_grace_perod: 30s", "stop_grace_perod"),
    "compose-undefined-service": (
        "compose", "docker-compose.yml", "  waste-migrate: { condition:", "  waste-migration: { condition:", "waste-migration",
    ),
    "compose-undefined-volume": ("compose", "docker-compose.yml", "  issuer-keys:\n", "", "issuer-keys"),
    "compose-default-secret": (
        "compose", "docker-compose.yml", "{POSTGRES_PASSWORD:?run make compose-env}", "{POSTGRES_PASSWORD:-postgres}", "starts without",
    ),
    "kubernetes-wrong-type": ("kubernetes", "deploy/k8s/base/service/api.yaml", "replicas: 1", "replicas: one", "replicas"),
    "kubernetes-unknown-key": (
        "kubernetes", "deploy/k8s/base/service/worker.yaml", "enableServiceLinks: false", "serviceLinks: false", "serviceLinks",
    ),
    "kubernetes-patch-without-target": (
        "kubernetes", "deploy/k8s/components/autoscaling/kustomization.yaml", "path: /spec/replicas", "path: /spec/replica", "replica",
    ),
    "kubernetes-missing-file": ("kubernetes", "deploy/k8s/base/kustomization.yaml", "  - network.yaml", "  - net.yaml", "net.yaml"),
    "prometheus-unknown-key": ("prometheus", "deploy/observability/prometheus.yml", "rule_files:", "rules_files:", "rules_files"),
    "prometheus-wrong-type": ("prometheus", "deploy/observability/prometheus.yml", "scrape_interval: 15s", "scrape_interval: soon", "soon"),
    "alertmanager-undefined-receiver": (
        "alertmanager", "deploy/observability/alertmanager.yml", "  receiver: operators", "  receiver: nobody", "nobody",
    ),
    "nginx-unknown-directive": ("nginx", "deploy/compose/nginx.conf", "proxy_buffering off;", "proxy_bufering off;", "proxy_bufering"),
    "nginx-undefined-variable": ("nginx", "deploy/compose/nginx.conf", "map $service $api {", "map $service $apis {", "api"),
}  # fmt: skip
"""Judge, file, what stands there, what is put there, and what the judge's words must have in them."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of the distributed form in a folder of their own."""
    for name in ("Dockerfile", "docker-compose.yml", ".hadolint.yaml"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("compose", "k8s", "observability"):
        shutil.copytree(REPOSITORY / "deploy" / name, tmp_path / "deploy" / name)
    return tmp_path


@pytest.mark.parametrize("judge", list(judges().JUDGES))
def test_a_judge_is_content_with_what_is_here(judge: str) -> None:
    """The whole of `make judge`, one judge at a time."""
    done = run_judge(judge)
    if "skipped" in done.stdout:
        missing(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(judge)
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_judge_refuses_what_was_broken(fault: str, copy: Path) -> None:
    """Each with the place in its words, so that one finds it."""
    judge, name, whole, broken, words = FAULTS[fault]
    path = copy / name
    text = path.read_text()
    assert whole in text, "the fault has nothing to break: adapt it"
    path.write_text(text.replace(whole, broken, 1))
    done = run_judge(judge, "--root", copy)
    if "skipped" in done.stdout:
        missing(done.stdout)
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout
    assert words in done.stdout


def test_a_missing_judge_is_skipped_on_a_desk_and_fails_in_ci(tmp_path: Path) -> None:
    """Nobody has to install everything; CI has to."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    script = REPOSITORY / "deploy" / "judges" / "judge.py"
    bare = {name: value for name, value in os.environ.items() if name not in {"CI", "CITYLOOP_TEST_STRICT"}}
    for strict, status, word in (({}, 0, "skipped"), ({"CI": "true"}, 1, "FAILED")):
        env = {**bare, **strict, "PATH": str(python.parent)}
        done = subprocess.run([python, "-I", script, "kubernetes"], env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        assert word in done.stdout
        assert "kubectl" in done.stdout
