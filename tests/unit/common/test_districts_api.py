"""Districts over HTTP: the file's polygons with their names, by version, and an empty collection where none are set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import orjson
import pytest

from cityloop_common import districts_api, invented
from cityloop_common.districts import NO_DISTRICTS, Districts, read
from cityloop_common.districts_api import DistrictCollection
from tests.unit.common.edge import Edge, TinyCtx, client_of


@dataclass(frozen=True, slots=True)
class SplitCtx(TinyCtx):
    """A context with districts."""

    districts: Districts = NO_DISTRICTS


def _split(at_edge: Edge, districts: Districts) -> Any:
    parts = {each.name: getattr(at_edge.ctx, each.name) for each in fields(TinyCtx)}
    at_edge.ctx = SplitCtx(**parts, districts=districts)
    return at_edge.app(districts_api.router)


async def test_districts_are_the_files_polygons_with_their_names(at_edge: Edge) -> None:
    """What is read again from the answer splits the city alike; nothing else of the file is shown."""
    raw = orjson.dumps(invented.districts())
    known = read(raw)
    async with client_of(_split(at_edge, known)) as client:
        answer = await client.get("/tiny/v1/districts")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    found = DistrictCollection.model_validate_json(answer.content)
    assert [each.properties.id for each in found.features] == [district.id for district in known]
    assert all(each.properties.name and each.properties.name_en for each in found.features)
    again = read(answer.content)
    spots = [spot.position for spot in invented.car_parks()]
    assert [again.of(spot) for spot in spots] == [known.of(spot) for spot in spots]
    assert {key for feature in answer.json()["features"] for key in feature["properties"]} == {"id", "name", "name_en"}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_who_has_the_version_is_not_sent_it_again(at_edge: Edge, encoding: str) -> None:
    """In whichever encoding."""
    known = read(orjson.dumps(invented.districts()))
    async with client_of(_split(at_edge, known)) as client:
        first = await client.get("/tiny/v1/districts", headers={"accept-encoding": encoding})
        again = await client.get("/tiny/v1/districts", headers={"accept-encoding": encoding, "if-none-match": first.headers["etag"]})
    assert known.version in first.headers["etag"]
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == again.headers["cache-control"] == "public, max-age=300"


async def test_a_city_without_districts_has_none(at_edge: Edge) -> None:
    """An answer, not an error."""
    async with client_of(_split(at_edge, NO_DISTRICTS)) as client:
        answer = await client.get("/tiny/v1/districts")
    assert (answer.json(), answer.headers["etag"]) == ({"type": "FeatureCollection", "features": []}, '"none"')


async def test_the_description_says_what_comes(at_edge: Edge) -> None:
    """As GeoJSON, with the shape of a feature."""
    async with client_of(_split(at_edge, NO_DISTRICTS)) as client:
        document = (await client.get("/tiny/v1/openapi.json")).json()
    content = document["paths"]["/tiny/v1/districts"]["get"]["responses"]["200"]["content"]
    assert content["application/geo+json"]["schema"] == {"$ref": "#/components/schemas/DistrictCollection"}
    assert "DistrictFeature" in document["components"]["schemas"]
