"""Alert rules and dashboards as data, and Prometheus' own judge of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import prometheus_client
import pytest
import yaml

from cityloop_common.service import installed_services
from tests.support import REPOSITORY, STRICT

FOLDER = REPOSITORY / "deploy" / "observability"
RULES, RULE_TESTS = sorted((FOLDER / "rules").glob("*.yml")), sorted((FOLDER / "tests").glob("*.yml"))
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
OPERATIONS = REPOSITORY / "docs" / "operations.md"
# Not of our processes: Prometheus makes these itself, and `cityloop backup --metrics-file` writes those.
OF_PROMETHEUS = {"up": {"job", "instance", "process", "autoscaled"}, "ALERTS": {"alertname", "alertstate", "severity", "service"}}
OF_BACKUPS = {"backup_last_success_timestamp_seconds": {"instance"}, "backup_last_size_bytes": {"instance"}}
OF_TARGETS = {"instance", "job"}
_WORDS = frozenset(
    [
        "absent",
        "absent_over_time",
        "and",
        "avg",
        "avg_over_time",
        "by",
        "changes",
        "count",
        "histogram_quantile",
        "increase",
        "label_values",
        "max",
        "max_over_time",
        "min",
        "min_over_time",
        "on",
        "or",
        "rate",
        "sum",
        "time",
        "unless",
        "vector",
        "le",
        "without",
    ]
)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def promtool(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Prometheus' judge; without it the test is skipped, or fails where nothing may be skipped."""
    tool = shutil.which("promtool")
    if tool is None:
        if STRICT:
            pytest.fail("promtool is missing: apt-get install prometheus", pytrace=False)
        pytest.skip("promtool is missing: apt-get install prometheus")
    return subprocess.run([tool, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as the rules say it."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def alerts() -> list[Alert]:
    """Every alert of every file."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [Alert(r["alert"], r["expr"], r["labels"], r["annotations"]) for group in groups for r in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel of every dashboard, rows left out."""
    shown = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    return [panel for panel in shown if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression of the dashboards, with Grafana's variables filled in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "5m").replace("$service", ".*") for expr in asked]


def exported() -> dict[str, set[str]]:
    """Every series name that our processes can export, with its labels."""
    assert installed_services()
    known = dict(OF_PROMETHEUS) | dict(OF_BACKUPS)
    for collector, names in list(prometheus_client.REGISTRY._collector_to_names.items()):
        labels = set(getattr(collector, "_labelnames", ()))
        if isinstance(collector, prometheus_client.Histogram):
            labels |= {"le"}
        known |= dict.fromkeys(names, labels | OF_TARGETS)
    return known


def used(expr: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that an expression names, each with the labels of its selector."""
    for found in re.finditer(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?", _without_grouping(expr)):
        name, selector = found.group(1), found.group(2) or ""
        if name not in _WORDS:
            yield name, {label for label, _ in re.findall(r"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector))}


def grouped(expr: str) -> set[str]:
    """The labels that an expression groups or matches by."""
    inside = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expr)
    return {label for part in inside for label in _NAME.findall(part)}


def _without_grouping(expr: str) -> str:
    plain = re.sub(r"\b(?:by|on|without)\s*\([^)]*\)", "", expr)
    return re.sub(r"\[[^\]]*\]|\b\d+(\.\d+)?\b", "", plain)


def section(text: str, heading: str) -> str:
    """What stands below a heading of the third level, up to the next heading."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""
