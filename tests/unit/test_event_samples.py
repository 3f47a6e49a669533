"""Golden samples of what was published once: models, schemas and every consumer still understand them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cityloop_common.asyncapi import schema
from cityloop_common.consuming import On
from cityloop_common.envelope import EventType
from cityloop_common.service import installed_services
from tests.support import REPOSITORY

SAMPLES = sorted((REPOSITORY / "docs" / "events" / "samples").glob("*.json"))
PUBLISHED: dict[str, EventType[Any]] = {each.name: each for service in installed_services() for each in service.publishes}
VIEWS: list[On[Any]] = [on for service in installed_services() for consumer in service.consumers for on in consumer.on]


def _sample(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_published_type_has_a_sample() -> None:
    """A type without a golden sample could change its meaning unseen."""
    assert {path.stem for path in SAMPLES} >= PUBLISHED.keys()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_fits_its_model_and_schema(path: Path) -> None:
    """Within a version only optional fields are added."""
    sample = _sample(path)
    event_type = PUBLISHED[sample["ce_type"]]
    assert sample["topic"] == event_type.topic
    event_type.model.model_validate(sample["data"])
    jsonschema.Draft202012Validator(schema(event_type), format_checker=jsonschema.FormatChecker()).validate(sample["data"])


@pytest.mark.parametrize("on", VIEWS, ids=lambda on: f"{on.event_type}-{on.view.__name__}")
def test_a_consumer_accepts_samples_and_fields_to_come(on: On[Any]) -> None:
    """A view reads every golden sample of its type, also with fields that are added later."""
    mine = [_sample(path) for path in SAMPLES if path.stem == on.event_type]
    assert mine
    for sample in mine:
        on.view.model_validate_json(json.dumps(sample["data"]))
        on.view.model_validate_json(json.dumps({**sample["data"], "field_to_come": {"nested": [1, 2]}}))
