"""The laws of the Compose form that its loader does not know."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import yaml

from scripts import compose_env
from tests.support import REPOSITORY
from tests.unit.deploy.forms import ROLES, SERVICES, Document, compose, judges

ONCE = {f"{service}-{task}" for service in SERVICES for task in ("migrate", "sample")}
OURS = {f"{service}-{role}" for service in SERVICES for role in ROLES} | ONCE | {"issuer", "ops"}


def services() -> dict[str, Document]:
    """Every service of every profile, resolved."""
    found: dict[str, Document] = compose()["services"]
    assert {"gateway", "postgres", "kafka", "redis", "prometheus", "alertmanager"} | OURS == set(found)
    return found


def seconds(duration: str) -> float:
    """`1m30s` in seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", duration)
    assert parts, duration
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)


def test_every_container_is_hardened() -> None:
    """No rights, no new ones, a read-only root, bounded memory, processor and processes, logs that end."""
    for name, each in services().items():
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each.get("read_only", False) is (name != "kafka"), name
        assert not each.get("privileged"), name
        assert set(each["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert each["logging"]["options"]["max-size"], name
        assert "network_mode" not in each, name


def test_what_keeps_running_is_watched_and_started_again() -> None:
    """A health check and a restart policy each; what runs once ends, and is tried again only when it failed."""
    for name, each in services().items():
        if name in ONCE:
            assert each["restart"].startswith("on-failure"), name
            assert "healthcheck" not in each, name
        elif name == "ops":
            assert each["restart"] == "no"
        else:
            assert each["restart"] == "unless-stopped", name
            assert each["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name


def test_only_loopback_is_published_and_no_server_at_all() -> None:
    """A laptop in a café gives nothing away; databases are reached from inside only."""
    published = {name: each["ports"] for name, each in services().items() if each.get("ports")}
    assert set(published) == {"gateway", "issuer", "prometheus", "alertmanager"}
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


def test_images_are_pinned_and_the_broker_is_the_one_of_the_tests() -> None:
    """A tag that moves is no version; the native stack tests the same Kafka."""
    for name, each in services().items():
        _, _, tag = each["image"].partition(":")
        assert re.search(r"\d+\.\d+", tag) or name == "postgres", each["image"]
    pom = (REPOSITORY / "deploy" / "native" / "kafka" / "pom.xml").read_text()
    version = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert version is not None
    assert services()["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_a_process_starts_after_what_it_needs_and_has_time_to_end() -> None:
    """Every topic and table is there before the first worker; SIGTERM is not followed by a kill too early."""
    for service in SERVICES:
        for role in ROLES:
            each = services()[f"{service}-{role}"]
            waits = {name: told["condition"] for name, told in each["depends_on"].items()}
            assert waits == {
                **{f"{other}-migrate": "service_completed_successfully" for other in SERVICES},
                **dict.fromkeys(("postgres", "kafka", "redis"), "service_healthy"),
            }
            told = each["environment"]
            assert seconds(each["stop_grace_period"]) > float(told["CITYLOOP_DRAIN_FOR_S"]) + float(told["CITYLOOP_STOP_WITHIN_S"])


def test_the_issuer_and_the_invented_city_are_for_development_only() -> None:
    """Without the profile `dev` neither is there, and nobody waits for them."""
    for name, each in services().items():
        assert (each.get("profiles") == ["dev"]) == (name == "issuer" or name.endswith("-sample")), name
        assert not {"issuer", *(f"{service}-sample" for service in SERVICES)} & set(each.get("depends_on") or {}), name


def test_the_operators_commands_have_every_database_at_hand() -> None:
    """`backup`, `outbox` and `doctor` look at all services: one without its address would look at a file of its own."""
    told = services()["ops"]["environment"]
    for service in SERVICES:
        assert (
            told[f"CITYLOOP_{service.upper()}_DATABASE_URL"]
            == services()[f"{service}-worker"]["environment"][f"CITYLOOP_{service.upper()}_DATABASE_URL"]
        )
    assert services()["ops"]["profiles"] == ["ops"]
    assert "/backups" in {volume["target"] for volume in services()["ops"]["volumes"]}


def test_services_believe_the_gateways_network_and_nothing_else_is_in_it() -> None:
    """X-Forwarded-For is believed from that network: a server or a worker in it could speak for anyone."""
    project = compose(EDGE_SUBNET="172.31.99.0/24")
    inside = {name for name, each in project["services"].items() if "edge" in each["networks"]}
    assert inside == {"gateway", "issuer", *(f"{service}-api" for service in SERVICES)}
    (config,) = project["networks"]["edge"]["ipam"]["config"]
    assert ipaddress.ip_network(config["subnet"]) == ipaddress.ip_network("172.31.99.0/24")
    assert project["services"]["parking-api"]["environment"]["CITYLOOP_TRUSTED_PROXIES"] == '["172.31.99.0/24"]'
    assert project["networks"]["data"]["internal"] is True


def test_prometheus_finds_every_process() -> None:
    """A service that nobody scrapes raises no alert."""
    config = yaml.safe_load((REPOSITORY / "deploy" / "observability" / "prometheus.yml").read_text())
    found = [name for job in config["scrape_configs"] for dns in job.get("dns_sd_configs", []) for name in dns["names"]]
    assert sorted(found) == sorted(f"{service}-{role}" for service in SERVICES for role in ROLES)
    for name in (*found, "prometheus", "alertmanager"):
        assert "watch" in services()[name]["networks"], name


def test_alerts_that_are_kept_quiet_exist() -> None:
    """Who renames an alert would otherwise have it, or its cause, slip past the rule that names it."""
    rules = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "deploy" / "observability" / "rules").glob("*.yml"))]
    known = {rule["alert"] for file in rules for group in file["groups"] for rule in group["rules"] if "alert" in rule}
    config = yaml.safe_load((REPOSITORY / "deploy" / "observability" / "alertmanager.yml").read_text())
    matchers = [text for rule in config["inhibit_rules"] for text in (*rule["source_matchers"], *rule["target_matchers"])]
    named = {name for text in matchers for name in text.partition('"')[2].rstrip('"').split("|")}
    assert named
    assert named <= known


def test_secrets_are_fresh_whole_and_kept(tmp_path: Path) -> None:
    """Each installation has its own, 32 bytes or more; a second run changes none; others on the machine cannot read them."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        assert compose_env.main([str(path)]) == 0
        assert path.stat().st_mode & 0o777 == 0o600
    told = [dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line) for path in (first, second)]
    assert set(judges().SECRETS) <= set(told[0])
    for name in judges().SECRETS:
        assert len(told[0][name]) >= 32
        assert told[0][name] != told[1][name]
    before = first.read_text()
    assert compose_env.main([str(first)]) == 0
    assert first.read_text() == before
    first.write_text("REDIS_PASSWORD=mine")
    compose_env.main([str(first)])
    assert first.read_text().startswith("REDIS_PASSWORD=mine\n")
    assert first.read_text().count("REDIS_PASSWORD") == 1
