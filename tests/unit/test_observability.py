"""Alerts fire when they should and lead to a runbook; what they and the dashboard read is what our processes export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

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
            (asked,) = case["promql_expr_test"]
            assert asked["expr"] == f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'
            assert bool(asked["exp_samples"]) == (what == "fires"), alert.name
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
