#!/usr/bin/env python3
"""Has a real Kubernetes API server admit deploy/k8s without creating anything: `make k8s-server-dry-run`.

Builds kube-apiserver out of the Go module proxy (deploy/judges/apiserver pins it; ten minutes or more on two cores, kept in
.run/judges), starts it with etcd on ports of its own, applies each overlay with --dry-run=server, and each pod by itself under
the namespace's Pod Security Standard. Then it breaks a manifest on purpose and sees it refused. Nothing is left running.
Needs go, kubectl and etcd (Debian: etcd-server).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from judge import KEPT, OVERLAYS, REPOSITORY, Missing, Objection, told, tool

SOURCE = Path(__file__).resolve().parent / "apiserver"
BUILD_WITHIN_S = 3 * 3600
READY_WITHIN_S = 120
TOKEN = "dry-run"


def api_server() -> Path:
    """The server's program, built once for its pins, at the lowest priority and one package at a time."""
    digest = hashlib.sha256((SOURCE / "go.mod").read_bytes() + (SOURCE / "go.sum").read_bytes()).hexdigest()[:16]
    program = KEPT / f"kube-apiserver-{digest}"
    if not program.exists():
        go = tool("go", "https://go.dev/dl")
        KEPT.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        print("building kube-apiserver: ten minutes or more ...", flush=True)
        told("nice", "-n", "19", go, "build", "-p", "1", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", draft,
             "k8s.io/kubernetes/cmd/kube-apiserver", cwd=SOURCE, env={**os.environ, "CGO_ENABLED": "0"},
             within_s=BUILD_WITHIN_S)  # fmt: skip
        draft.replace(program)
    return program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(name: str, words: Sequence[str | Path], folder: Path) -> Iterator[None]:
    """A server until the end of the block; SIGTERM, then SIGKILL."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in words], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Sequence[str]]:
    """etcd and an API server; hands out how to call kubectl."""
    etcd, kubectl, program = (
        tool("etcd", "apt-get install etcd-server"),
        tool("kubectl", "https://kubernetes.io/docs/tasks/tools"),
        api_server(),
    )
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "accounts.pem").write_bytes(pem)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    client, peer, port = (free_port() for _ in range(3))
    store, server = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{port}"
    words = [etcd, "--data-dir", folder / "etcd", "--listen-client-urls", store, "--advertise-client-urls", store,
             "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-cluster", f"default=http://127.0.0.1:{peer}"]  # fmt: skip
    serve = [program, f"--etcd-servers={store}", f"--cert-dir={folder}/certs", "--service-account-issuer=https://dry-run",
             f"--service-account-key-file={folder}/accounts.pem", f"--service-account-signing-key-file={folder}/accounts.pem",
             "--authorization-mode=AlwaysAllow", f"--token-auth-file={folder}/tokens.csv", "--bind-address=127.0.0.1",
             "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--secure-port={port}",
             "--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24"]  # fmt: skip
    call = [kubectl, f"--server={server}", f"--token={TOKEN}", "--insecure-skip-tls-verify", f"--cache-dir={folder}/cache"]
    with running("etcd", words, folder), running("apiserver", serve, folder):  # the server ends first: without etcd it does not end
        end = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                told(*call, "get", "--raw", "/readyz", within_s=10)
                break
            except (Objection, subprocess.TimeoutExpired) as why:
                if time.monotonic() > end:
                    raise Objection(f"the API server did not start: {(folder / 'apiserver.log').read_text()[-2000:]}") from why
                time.sleep(0.5)
        yield call


def admit(call: Sequence[str], file: Path, *what: str) -> str:
    """Applies a file without creating anything. Raises Objection, also for what the server only warns of."""
    said = told(*call, *what, "--dry-run=server", "-f", file)
    if "Warning:" in said:
        raise Objection(said)
    return said


def judge_overlay(call: Sequence[str], overlay: str, folder: Path) -> str:
    """Every object; then every pod template as a pod, which is what the Pod Security Standard looks at."""
    file = folder / f"{overlay}.yaml"
    file.write_text(told(call[0], "kustomize", REPOSITORY / "deploy" / "k8s" / "overlays" / overlay))
    objects = list(yaml.safe_load_all(file.read_text()))
    namespace = folder / "namespace.yaml"
    namespace.write_text(yaml.safe_dump(next(each for each in objects if each["kind"] == "Namespace")))
    told(*call, "apply", "-f", namespace)  # the one thing that is made: what is in a namespace is judged only where there is one
    admitted = admit(call, file, "apply").count("(server dry run)")
    if admitted != len(objects):
        raise Objection(f"{admitted} of {len(objects)} objects were admitted")
    pods = [each for each in objects if each["kind"] in ("Deployment", "Job")]
    for each in pods:
        pod = folder / "pod.json"
        meta = {"name": each["metadata"]["name"], "namespace": each["metadata"]["namespace"]}
        pod.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": each["spec"]["template"]["spec"]}))
        admit(call, pod, "create")
    return f"{admitted} objects and {len(pods)} pods admitted"


def judge_itself(call: Sequence[str], folder: Path) -> str:
    """What no schema knows is refused: an autoscaler whose least is above its most, and a pod that is not hardened."""
    text = (folder / "prod.yaml").read_text()
    broken, soft = folder / "broken.yaml", folder / "soft.json"
    broken.write_text(text.replace("minReplicas: 2", "minReplicas: 20"))
    spec = {"containers": [{"name": "x", "image": "x"}]}
    soft.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "cityloop"}, "spec": spec}))
    for file, what, words in ((broken, "apply", "minReplicas"), (soft, "create", "PodSecurity")):
        try:
            admit(call, file, what)
        except Objection as objection:
            if words in str(objection):
                continue
            raise
        raise Objection(f"{file.name} was admitted")
    return "two planted faults refused"


def main() -> int:
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as scratch, cluster(Path(scratch)) as call:
            for overlay in OVERLAYS:
                print(f"{overlay:<14} ok       {judge_overlay(call, overlay, Path(scratch))}", flush=True)
            print(f"{'itself':<14} ok       {judge_itself(call, Path(scratch))}", flush=True)
    except (Missing, Objection, OSError, subprocess.TimeoutExpired) as objection:
        print(f"k8s-server-dry-run FAILED: {objection}", file=sys.stderr)
        return 1
    pinned = re.search(r"k8s.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    print(f"kube-apiserver {pinned[1] if pinned else '?'}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
