"""The published language: one JSON Schema per event type and one AsyncAPI 3 document per service, generated from the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cityloop_common import __version__
from cityloop_common.envelope import EventType
from cityloop_common.eventlog import TopicSpec
from cityloop_common.service import Service

_HEADERS = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string", "format": "uuid", "description": "UUIDv7 of the event; the same however often it is delivered."},
    "ce_type": {"type": "string"},
    "ce_source": {"type": "string", "format": "uri-reference"},
    "ce_subject": {"type": "string", "description": "Id of the aggregate, also the record's key."},
    "ce_time": {"type": "string", "format": "date-time"},
    "ce_sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "Version of the aggregate."},
    "content-type": {"const": "application/json"},
}


def schema(event_type: EventType[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a type's body."""
    body = event_type.model.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:cityloop:event:{event_type.name}", **body}


def document(service: Service) -> dict[str, Any]:
    """The AsyncAPI 3 document of what a service publishes."""
    specs = {spec.name: spec for spec in service.topics()}
    topics = sorted({each.topic for each in service.publishes})
    return {
        "asyncapi": "3.0.0",
        "info": {"title": service.title, "version": __version__, "description": "CloudEvents 1.0 in binary mode on Kafka."},
        "defaultContentType": "application/json",
        "channels": {_name(topic): _channel(service, specs[topic]) for topic in topics},
        "operations": {f"send_{_name(topic)}": {"action": "send", "channel": {"$ref": f"#/channels/{_name(topic)}"}} for topic in topics},
        "components": {
            "messages": {_name(each.name): _message(each) for each in service.publishes},
            "schemas": {"cloudEventHeaders": {"type": "object", "required": sorted(_HEADERS), "properties": _HEADERS}},
        },
    }


def _channel(service: Service, spec: TopicSpec) -> dict[str, Any]:
    types = [each for each in service.publishes if each.topic == spec.name]
    return {
        "address": spec.name,
        "description": f"{types[0].kind.value} events",
        "messages": {_name(each.name): {"$ref": f"#/components/messages/{_name(each.name)}"} for each in types},
        "bindings": {
            "kafka": {
                "partitions": spec.partitions,
                "topicConfiguration": {"cleanup.policy": [spec.retention.value], "retention.ms": int(spec.keep_for.total_seconds() * 1000)},
            }
        },
    }


def _message(event_type: EventType[Any]) -> dict[str, Any]:
    return {
        "name": event_type.name,
        "contentType": "application/json",
        "summary": (event_type.model.__doc__ or "").strip().splitlines()[0],
        "headers": {"$ref": "#/components/schemas/cloudEventHeaders"},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{event_type.name}.schema.json"},
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": "Id of the aggregate."}}},
    }


def _name(text: str) -> str:
    return text.replace(".", "_").replace("-", "_")


def files(service: Service) -> Mapping[str, bytes]:
    """Every generated file of a service by name, ready to be written."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    made = {f"{each.name}.schema.json": orjson.dumps(schema(each), option=options) for each in service.publishes}
    return {**made, f"{service.name}.asyncapi.json": orjson.dumps(document(service), option=options)}
