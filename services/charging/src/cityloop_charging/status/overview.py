"""Every station in one answer, for a page that shows the whole city: read from the database, and made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson

from cityloop_charging.context import ChargingCtx
from cityloop_charging.status import reading
from cityloop_charging.status.reading import SeenEvse, SeenLocation
from cityloop_common.compression import Body, Packer
from cityloop_common.shared import Shared

MOST_LOCATIONS = 5_000
PIECE = 64  # stations that are packed together


class Overview:
    """What one replica answers. A station that changes costs the packing of its piece, not of all."""

    def __init__(self, ctx: ChargingCtx) -> None:
        self._city = reading.Everywhere(ctx)
        self._shared: Shared[Body] = Shared(ctx.clock)
        self._packer = Packer()

    async def get(self, version: Callable[[], object]) -> Body:
        """Every station by id, as many as `MOST_LOCATIONS`: of this second, and of this version of what the streams told."""
        return await self._shared.get(self._made, version)

    async def _made(self) -> Body:
        as_of, found = await self._city.read(most=MOST_LOCATIONS + 1)
        head = {"as_of": as_of, "datum": "wgs84", "truncated": len(found) > MOST_LOCATIONS}
        pieces = [orjson.dumps(head, option=orjson.OPT_UTC_Z)[:-1] + b',"locations":[']
        shown = found[:MOST_LOCATIONS]
        for start in range(0, len(shown), PIECE):
            locations = [_location(each) for each in shown[start : start + PIECE]]
            pieces.append((b"," if start else b"") + orjson.dumps(locations, option=orjson.OPT_UTC_Z)[1:-1])
            await asyncio.sleep(0)
        return await self._packer.pack([*pieces, b"]}"])


def _location(seen: SeenLocation) -> Mapping[str, object]:
    facts = seen.location.facts
    return {
        "id": seen.location.id,
        "name": facts.name,
        "name_en": facts.name_en,
        "position": {"lon": facts.position.lon, "lat": facts.position.lat},
        "operator_id": facts.operator_id,
        "access": facts.access,
        "state": facts.state,
        "district": facts.district,
        "place_id": seen.location.place_id,
        "invented": facts.invented,
        "evses": [_evse(each) for each in seen.evses],
    }


def _evse(seen: SeenEvse) -> Mapping[str, object]:
    shown = seen.shown
    return {"uid": seen.uid, "status": shown.status, "since": shown.since, "as_of": shown.as_of, "freshness": shown.freshness}
