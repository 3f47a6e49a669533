"""Alerts fire when they should and lead to a runbook; what they and the dashboard read is what our processes export."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from cityloop_common.service import installed_services
from tests import observed
from tests.observed import Alert

ALERTS = observed.alerts()
PARTS = ("**Means.**", "**Look.**", "**Causes.**", "**Cure.**", "**Wake.**")


def test_prometheus_takes_the_rules() -> None:
    """promtool reads every rule, templates included."""
    judged = observed.promtool("check", "rules", *map(str, observed.RULES))
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "SUCCESS" in judged.stdout


@pytest.mark.parametrize("path", observed.RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    """promtool runs the series of each case through the rules."""
    judged = observed.promtool("test", "rules", str(path))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    """And the cases ask for what their names say."""
    cases = {case["name"]: case for path in observed.RULE_TESTS for case in yaml.safe_load(path.read_text())["tests"]}
    assert set(cases) == {f"{alert.name} {what}" for alert in ALERTS for what in ("fires", "is silent")}
    for alert in ALERTS:
        for what in ("fires", "is silent"):
            case = cases[f"{alert.name} {what}"]
            asked = case["promql_expr_test"]
            assert {each["expr"] for each in asked} == {f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'}
            assert any(each["exp_samples"] for each in asked) == (what == "fires"), alert.name
            named = {name for name, _ in observed.used(alert.expr)}
            told = {name for each in case["input_series"] for name, _ in observed.used(each["series"])}
            assert named & told, f"{alert.name} {what} without a series of its own"


def test_every_alert_has_its_rule_tests_in_a_file_of_the_same_name() -> None:
    """Who changes a rule finds its cases."""
    assert [path.name for path in observed.RULES] == [path.name for path in observed.RULE_TESTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_says_how_bad_it_is_and_where_its_runbook_stands(alert: Alert) -> None:
    """Severity, summary, description, and a heading of docs/operations.md with what to do."""
    assert alert.labels["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook_url"} == set(alert.annotations)
    assert alert.annotations["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"
    runbook = observed.section(observed.OPERATIONS.read_text(), alert.name)
    assert [part for part in PARTS if part not in runbook] == [], f"the runbook of {alert.name}"


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    """Below "Alerts" stands one heading an alert, and no other."""
    text = observed.OPERATIONS.read_text()
    chapter = text.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    headings = [line.removeprefix("### ") for line in chapter.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("expr", [*(alert.expr for alert in ALERTS), *observed.queries()])
def test_what_is_asked_for_is_exported(expr: str) -> None:
    """Every metric is one of our processes', every label one that it carries: a misspelt one is never above its limit."""
    known, named = observed.exported(), list(observed.used(expr))
    assert named, expr
    for name, labels in named:
        assert name in known, f"{name} is exported by nobody"
        assert labels <= known[name], f"{name} has no {labels - known[name]}"
    assert observed.grouped(expr) <= set().union(*(known[name] for name, _ in named))


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Each expression as a rule, so that Prometheus' own parser reads it."""
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(observed.queries())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    judged = observed.promtool("check", "rules", str(tmp_path / "queries.yml"))
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("path", observed.DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_provisioned(path: Path) -> None:
    """No instance's ids, the data source as a variable, panels that do not overlap and say what they show."""
    board = json.loads(path.read_text())
    assert board.get("id") is None
    assert board["uid"]
    variables = {each["name"]: each["type"] for each in board["templating"]["list"]}
    assert (variables["datasource"], variables["service"]) == ("datasource", "query")
    shown = board["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    taken: set[tuple[int, int]] = set()
    for panel in shown:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            for target in (panel, *panel["targets"]):
                assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert shown[0]["title"] == "Are people served?"


def _pod(service: str, role: str) -> dict[str, str]:
    """What Prometheus' discovery says of a pod of deploy/k8s."""
    documents = yaml.safe_load_all((observed.FOLDER.parent / "k8s" / "base" / "service" / f"{role}.yaml").read_text())
    (meta,) = (each["spec"]["template"]["metadata"] for each in documents if each["kind"] == "Deployment")
    told = {"label": {"app.kubernetes.io/name": service, **meta["labels"]}, "annotation": meta["annotations"]}
    plain = {"ip": "10.0.0.7", "phase": "Running", "name": f"{service}-{role}-1"}
    return {f"__meta_kubernetes_pod_{name}": value for name, value in plain.items()} | {
        f"__meta_kubernetes_pod_{kind}_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
        for kind, each in told.items()
        for name, value in each.items()
    }


def test_pods_are_scraped_by_their_annotations(tmp_path: Path) -> None:
    """The alerts find our jobs by name. Discovery is told by hand: Debian's promtool knows no Kubernetes."""
    config = yaml.safe_load((observed.FOLDER / "kubernetes-scrape.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "cityloop-pods"
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["cityloop"]}}]
    stranger = {"__meta_kubernetes_pod_ip": "10.0.0.8", "__meta_kubernetes_pod_phase": "Running"}
    pods = [_pod("parking", "api"), _pod("waste", "worker"), stranger]
    job["static_configs"] = [{"targets": [f"10.0.0.{number}:1"], "labels": pod} for number, pod in enumerate(pods)]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    for words in (["config", str(path)], ["service-discovery", "--timeout=3s", str(path), "cityloop-pods"]):  # it looks for that long
        judged = observed.promtool("check", *words)
        assert judged.returncode == 0, judged.stdout + judged.stderr
    found = [each["labels"] for each in json.loads(judged.stdout[judged.stdout.index("[") :]) if each.get("labels")]
    found.sort(key=lambda one: str(one["process"]))
    assert [(one["__address__"], one["__metrics_path__"], one["process"], one.get("autoscaled")) for one in found] == [
        ("10.0.0.7:8080", "/metrics", "parking-api", "true"),
        ("10.0.0.7:8080", "/metrics", "waste-worker", None),
    ]


def test_no_consumer_is_sent_a_type_that_it_does_not_know() -> None:
    """Otherwise EventsUnknown would always fire."""
    services = installed_services()
    sent = {(each.topic, each.name) for service in services for each in service.publishes}
    for consumer in (consumer for service in services for consumer in service.consumers):
        known = {(on.topic, on.event_type) for on in consumer.on}
        assert {(topic, name) for topic, name in sent if topic in consumer.topics} == known, consumer.name
