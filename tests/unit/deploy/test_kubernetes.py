"""The laws of the manifests that schemas do not know: hardened pods, ordered endings, nothing reachable by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.support import REPOSITORY
from tests.unit.deploy.forms import OVERLAYS, ROLES, SERVICES, Document, named, of_kind, pod_settings

both = pytest.mark.parametrize("overlay", OVERLAYS)


def pods(overlay: str) -> Iterator[tuple[str, Document, Document]]:
    """Name, pod specification and labels of everything that runs."""
    for each in of_kind(overlay, "Deployment", "Job"):
        template = each["spec"]["template"]
        yield each["metadata"]["name"], template["spec"], template["metadata"]["labels"]


def selected(labels: Document, selector: Document) -> bool:
    """Whether a pod's labels are chosen by a selector."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


@both
def test_every_pod_is_hardened(overlay: str) -> None:
    """No root, no rights, no writable root, no token, no environment of foreign Services, bounded memory and scratch."""
    found = list(pods(overlay))
    assert {f"{service}-{role}" for service in SERVICES for role in (*ROLES, "migrate")} <= {name for name, _, _ in found}
    for name, pod, _ in found:
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] >= 10000, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
            assert set(amounts) == {"cpu", "memory", "ephemeral-storage"}, name
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume), name
        assert {"/tmp", "/var/lib/cityloop"} <= {mount["mountPath"] for mount in container["volumeMounts"]}, name


@both
def test_a_pod_has_time_to_end(overlay: str) -> None:
    """SIGTERM: readiness fails, the balancer looks away, requests end. The kill comes only after all of that."""
    for service in SERVICES:
        for role in ROLES:
            pod = named(overlay, "Deployment", f"{service}-{role}")["spec"]["template"]["spec"]
            told = pod_settings(overlay, pod)
            needed = float(told["CITYLOOP_DRAIN_FOR_S"]) + float(told["CITYLOOP_STOP_WITHIN_S"])
            assert pod["terminationGracePeriodSeconds"] >= needed + 10
            probe = pod["containers"][0]["readinessProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] < float(told["CITYLOOP_DRAIN_FOR_S"])


@both
def test_an_upgrade_takes_no_replica_away_first(overlay: str) -> None:
    """A new replica is ready before an old one ends, and a drain of nodes takes one at a time."""
    for service in SERVICES:
        for role in ROLES:
            deployment = named(overlay, "Deployment", f"{service}-{role}")
            assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")} == {"/healthz/live"}
            assert container["readinessProbe"]["httpGet"]["path"] == "/healthz/ready"
            budget = named(overlay, "PodDisruptionBudget", f"{service}-{role}")["spec"]
            assert budget["maxUnavailable"] == 1
            assert selected(deployment["spec"]["template"]["metadata"]["labels"], budget["selector"])


@both
def test_every_selector_finds_its_own_pods_and_no_others(overlay: str) -> None:
    """Three services out of one template: a selector that lost its service's label would mix them."""
    for each in of_kind(overlay, "Service", "PodDisruptionBudget", "Deployment"):
        selector = each["spec"]["selector"]
        wanted = {"matchLabels": selector} if each["kind"] == "Service" else selector
        chosen = [name for name, _, labels in pods(overlay) if selected(labels, wanted)]
        assert chosen == [each["metadata"]["name"]], each["kind"]


def test_production_runs_two_of_each() -> None:
    """One may always be away."""
    least = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind("prod", "HorizontalPodAutoscaler")}
    for service in SERVICES:
        assert named("prod", "Deployment", f"{service}-worker")["spec"]["replicas"] >= 2
        assert "replicas" not in named("prod", "Deployment", f"{service}-api")["spec"], "applying again would undo the autoscaler"
        assert 2 <= least[f"{service}-api"]["minReplicas"] < least[f"{service}-api"]["maxReplicas"]


def test_production_has_no_issuer_and_no_overlay_has_a_secret() -> None:
    """Secrets are referred to; who needs one that is not there does not start."""
    assert not [name for name, _, _ in pods("prod") if "issuer" in name]
    assert [name for name, _, _ in pods("dev") if "issuer" in name]
    assert not [each for overlay in OVERLAYS for each in of_kind(overlay, "Secret")]
    for overlay in OVERLAYS:
        for name, pod, _ in pods(overlay):
            for each in pod["containers"][0].get("env", []):
                assert not each["valueFrom"]["secretKeyRef"].get("optional"), f"{name}: {each['name']}"


@both
def test_what_is_not_allowed_is_closed(overlay: str) -> None:
    """Nothing in and nothing out is the rule; the gateway reaches APIs only, Prometheus what has metrics."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reached: dict[str, set[str]] = {}
    for name, policy in policies.items():
        if policy.get("ingress"):
            reached[name] = {pod for pod, _, labels in pods(overlay) if selected(labels, policy["podSelector"])}
    apis, workers = ({f"{service}-{role}" for service in SERVICES} for role in ROLES)
    assert reached.pop("gateway-to-api") == apis
    assert reached.pop("monitoring-to-metrics") == apis | workers
    assert reached == ({"issuer": {"issuer"}} if overlay == "dev" else {})
    out = {name: policy["egress"] for name, policy in policies.items() if policy.get("egress") and name != "api-to-issuer"}
    ports = {name: {port["port"] for rule in rules for port in rule["ports"]} for name, rules in out.items()}
    assert ports == {"names": {53}, "to-postgres": {5432}, "to-kafka": {9092}, "to-redis": {6379}, "api-to-identity-provider": {443}}
    if overlay == "prod":
        blocks = [out[f"to-{server}"][0]["to"][0]["ipBlock"]["cidr"] for server in ("postgres", "kafka", "redis")]
        assert "0.0.0.0/0" not in blocks


@both
def test_the_way_in_leads_to_the_services_and_the_pages_only(overlay: str) -> None:
    """Probes and metrics are at the root of each process: no path may cover them. Streams are not buffered."""
    ways: dict[tuple[str, str], str] = {}
    for ingress in of_kind(overlay, "Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            ways[path["pathType"], path["path"]] = path["backend"]["service"]["name"]
            if path["path"].endswith("/stream"):
                notes = ingress["metadata"]["annotations"]
                assert notes["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
                assert int(notes["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 600
    for service in SERVICES:
        assert ways["Prefix", f"/{service}/"] == f"{service}-api"
        assert ways["Exact", f"/{service}/v1/stream"] == f"{service}-api"
    assert ways["Exact", "/"] == "parking-api"
    for inside in ("/metrics", "/healthz/ready"):
        assert not [path for kind, path in ways if (path == inside if kind == "Exact" else inside.startswith(path.rstrip("/") + "/"))]


def test_the_pod_security_standard_is_the_strict_one() -> None:
    """The cluster itself refuses a pod that is not hardened."""
    for overlay in OVERLAYS:
        (namespace,) = of_kind(overlay, "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_names_of_services_make_no_settings() -> None:
    """A Service `cityloop-x` would become CITYLOOP_X_PORT in pods that forgot enableServiceLinks: none has such a name."""
    for overlay in OVERLAYS:
        assert not [each["metadata"]["name"] for each in of_kind(overlay, "Service") if each["metadata"]["name"].startswith("cityloop")]


def test_the_rules_of_the_overlays_are_documented() -> None:
    """What an operator has to make by hand, the page on deployment tells: each Secret with its keys, each label."""
    page = (REPOSITORY / "docs" / "deployment.md").read_text()
    wanted = {(each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
              for _, pod, _ in pods("prod") for each in pod["containers"][0].get("env", [])}  # fmt: skip
    for secret, key in wanted:
        assert f"secret generic {secret}" in page, secret
        assert f"--from-literal={key}=" in page, key
    network = list(yaml.safe_load_all((REPOSITORY / "deploy" / "k8s" / "base" / "network.yaml").read_text()))
    assert network
    for role in ("gateway", "monitoring"):
        assert f"cityloop/role={role}" in page
