"""The laws of what a process is told: the native, the Compose and the Kubernetes form say the same things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from cityloop_common.service import installed_services
from cityloop_common.settings import SharedSettings, load, refuse_unknown, variables
from tests.e2e.processes import native_settings
from tests.unit.deploy.forms import OVERLAYS, ROLES, SERVICES, compose, named, pod_settings

FOR_PRODUCTION = {
    "CITYLOOP_ENVIRONMENT", "CITYLOOP_EVENT_LOG_URL", "CITYLOOP_CACHE_URL", "CITYLOOP_JWKS_URL", "CITYLOOP_ISSUER", "CITYLOOP_AUDIENCE",
    "CITYLOOP_HASH_KEY", "CITYLOOP_DISTRICTS", "CITYLOOP_TRUSTED_PROXIES",
}  # fmt: skip
"""What docs/operations.md lists for production, besides each service's own."""
OWN = {
    "parking": {"CITYLOOP_PARKING_DATABASE_URL", "CITYLOOP_PARKING_GUEST_KEY"},
    "charging": {"CITYLOOP_CHARGING_DATABASE_URL", "CITYLOOP_CHARGING_SECRET_KEY"},
    "waste": {"CITYLOOP_WASTE_DATABASE_URL"},
}


def native(service: str) -> set[str]:
    """The settings of a process of this machine's servers; one that is told of all services needs only its own part."""
    told = native_settings(Path("var"), postgres_urls=dict.fromkeys(SERVICES, "postgresql://"), log_url="kafka://", issuer_port=1)
    others = tuple(f"CITYLOOP_{each.upper()}_" for each in SERVICES if each != service)
    return {name for name in told if not name.startswith(others)} | {"CITYLOOP_PORT"}


def composed(service: str, role: str) -> dict[str, str]:
    """The CityLoop settings of one Compose service."""
    environment = compose()["services"][f"{service}-{role}"]["environment"]
    return {name: value for name, value in environment.items() if name.startswith("CITYLOOP_")}


def in_cluster(overlay: str, service: str, role: str) -> dict[str, str]:
    """The CityLoop settings of one Deployment (a Job for `migrate`)."""
    kind = "Job" if role == "migrate" else "Deployment"
    return dict(pod_settings(overlay, named(overlay, kind, f"{service}-{role}")["spec"]["template"]["spec"]))


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
@pytest.mark.parametrize("service", SERVICES)
def test_all_forms_set_the_same_settings(service: str, role: str) -> None:
    """Native, Compose and both overlays: a setting that one has and another lacks is a difference nobody meant."""
    expected = native(service)
    assert set(composed(service, role)) == expected
    for overlay in OVERLAYS:
        assert set(in_cluster(overlay, service, role)) == expected, overlay


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_known_and_what_production_needs_is_there(service: str, role: str) -> None:
    """An unknown name would stop the process at its start; a missing one only in production."""
    classes: list[type[BaseSettings]] = [SharedSettings, *(each.settings for each in installed_services())]
    known = {variable for cls in classes for variable, _ in variables(cls)}
    for told in (composed(service, role), *(in_cluster(overlay, service, role) for overlay in OVERLAYS)):
        assert set(told) <= known
        assert FOR_PRODUCTION | OWN[service] <= set(told)
        refuse_unknown(classes, told)


@pytest.mark.parametrize("service", SERVICES)
def test_the_values_are_ones_that_the_settings_take(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may be right and values wrong: JSON that is none, a number out of range. What the settings become is what was meant."""
    prod = in_cluster("prod", service, "api")
    for told in (composed(service, "api"), in_cluster("dev", service, "api"), prod):
        for name, value in told.items():
            monkeypatch.setenv(name, value or ("0" * 64 if name.endswith("_KEY") else value))
        shared = load(SharedSettings)
        assert shared.host == "0.0.0.0"
        assert shared.port == 8080
        assert shared.trusted_proxies == json.loads(told["CITYLOOP_TRUSTED_PROXIES"]) != []
        assert (shared.districts is None) == (told["CITYLOOP_DISTRICTS"] == "")
    assert load(SharedSettings).environment == "production"


def test_production_has_no_sample_and_no_development_keys() -> None:
    """The invented city and the development issuer have no place there."""
    told = in_cluster("prod", "parking", "api")
    assert told["CITYLOOP_ENVIRONMENT"] == "production"
    assert told["CITYLOOP_SAMPLE"] == "off"
    assert told["CITYLOOP_JWKS_URL"].startswith("https://")
    secrets = [name for name in told if name.endswith(("_KEY", "_DATABASE_URL", "_CACHE_URL"))]
    assert secrets
    assert not [name for name in secrets if told[name]], "a secret's value stands in the manifests"
