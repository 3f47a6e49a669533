"""HTTP of the room `search`: the nearest car parks, and the stream of their changes."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict

from cityloop_common import auth, compression, geo, http
from cityloop_common.errors import Invalid
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit
from cityloop_common.routes import DirectRoute
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.availability.outlook import instant_asked
from cityloop_parking.availability.shapes import ForecastAnswer, FreeAnswer, SpacesAnswer
from cityloop_parking.context import ParkingCtx
from cityloop_parking.search.index import Near
from cityloop_parking.search.replica import Search

router = APIRouter(tags=["search"])
RADIUS_M = (1, 20_000, 1_000)  # least, most, when left out
LIMIT = (1, 100, 20)
ARRIVALS_PER_MINUTE = 600  # of a network: each asks for as many forecasts as places
_arrivals_limit = limit("arrivals", per_minute=ARRIVALS_PER_MINUTE, by=By.NETWORK)


class PositionAnswer(BaseModel):
    """WGS-84 degrees."""

    lon: float
    lat: float


class ChargingAnswer(BaseModel):
    """Bays with a charger: all, those that work, those that are free now (null while the car park is closed).

    `as_of` is the newest change of a charger's status in it. `heard_at` is when charging said anything last, of any station, to the
    minute; `freshness` is `live` for 30 minutes from then, `late` for a day, then `unknown` with null for what they do.
    """

    bays: int
    working: int | None
    free: int | None
    as_of: str | None
    heard_at: str | None
    freshness: Literal["live", "late", "unknown"]


class ClosureAnswer(BaseModel):
    """A window in which nobody may park there."""

    starts_at: str
    ends_at: str


class PlaceOnMap(BaseModel):
    """A car park with what is known of its spaces.

    `free` has the categories counted within the last day. `as_of`, `source` and `freshness` are those of the oldest number in it.
    `forecast` is there when `freshness` is `forecast`: every count is older than four intervals of its source, and this is what is
    expected now, beside the old counts. `charging` is null where no charger is known. While waste collection needs a section of street
    its `state` is closed, until `closed_until`; `closures` are the windows that begin within the next 24 hours.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    position: PositionAnswer
    address: str
    kind: str
    access: str
    state: str
    capacity: dict[str, int]
    charging_stations: int | None
    invented: bool
    free: dict[str, int]
    as_of: str | None
    source: str | None
    freshness: Freshness
    forecast: ForecastAnswer | None
    charging: ChargingAnswer | None
    closed_until: str | None
    closed_for: str | None
    closures: list[ClosureAnswer]


class ArrivalAnswer(BaseModel):
    """What is expected at `arrives_at`; null: nothing was learnt of it yet. `state` is the car park's then; closed, the chance is 0."""

    state: str
    at: str
    since: str | None
    free: FreeAnswer | None
    chance: float | None
    categories: dict[str, SpacesAnswer]


class NearbyPlace(PlaceOnMap):
    """A car park with how far away it is, and what is expected there when `arrives_at` was asked for."""

    distance_m: int
    arrival: ArrivalAnswer | None = None


class SearchAnswer(BaseModel):
    """The nearest car parks. `as_of`: what the database knew at that instant is in the answer."""

    as_of: str
    datum: str
    places: list[NearbyPlace]


class OverviewAnswer(BaseModel):
    """Every car park by its id, 5,000 at most: `truncated` says that there are more. `as_of` as in a search."""

    as_of: str
    datum: str
    truncated: bool
    places: list[PlaceOnMap]


def _parameter(name: str, description: str, schema: dict[str, object], example: object = None) -> dict[str, object]:
    described = {"name": name, "in": "query", "required": name == "near", "description": description, "schema": schema}
    return described if example is None else {**described, "example": example}


def _bounds(limits: tuple[int, int, int]) -> dict[str, object]:
    return {"type": "integer", "minimum": limits[0], "maximum": limits[1], "default": limits[2]}


_PARAMETERS = [
    _parameter("near", "Longitude and latitude, with a comma between.", {"type": "string", "maxLength": 64}, "109.787,39.565"),
    _parameter("radius_m", "How far around, in metres.", _bounds(RADIUS_M), 1000),
    _parameter("limit", "How many at most.", _bounds(LIMIT), 20),
    _parameter(
        "arrives_at",
        "When you arrive, RFC 3339, up to 7 days ahead: each car park then says how likely a space is.",
        {"type": "string", "format": "date-time", "maxLength": 40},
    ),
    _parameter("datum", "Datum of `near`; answers are always WGS-84.", {"enum": list(geo.Datum), "default": "wgs84"}, "gcj02"),
]


async def nearest(request: Request) -> Response:
    """Sorted by distance, each with its free spaces and how old that number is."""
    search: Search = request.app.state.search
    given = _pairs(request.scope["query_string"])
    arrives_at = given.get("arrives_at")
    if arrives_at is None:
        return http.json_bytes_response(search.nearest(_near(given)))
    ctx: ParkingCtx = await http.current_ctx(request)
    asked = _near(given), instant_asked(arrives_at, ctx.clock.now(), "arrives_at")
    await _arrivals_limit(request)
    return http.json_bytes_response(await search.nearest_at(*asked))


router.add_api_route(
    "/places",
    nearest,
    response_model=SearchAnswer,
    dependencies=[Depends(auth.public)],
    openapi_extra={"parameters": _PARAMETERS},
    summary="Car parks near a point",
    route_class_override=DirectRoute,
)


@router.get(
    "/overview",
    response_model=OverviewAnswer,
    dependencies=[Depends(auth.public), Depends(limit("overview", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))],
    summary="Every car park of the city",
)
async def overview(request: Request) -> Response:
    """For a page that shows the whole city: read it once the stream of changes is open, then follow that. In gzip for whoever takes it."""
    search: Search = request.app.state.search
    return await compression.respond(request, await search.overview())


@router.get("/stream", dependencies=[Depends(auth.public)], summary="Changes of car parks as they come", response_class=Response)
async def stream(request: Request, last_event_id: Annotated[str | None, Header(max_length=64)] = None) -> Response:
    """Server-Sent Events: `place.changed` with a car park as the overview shows it, `indicator.changed` with a figure as the list of
    figures shows it, `ping` at least every 10 s; `reset`: events may be missing, read again.
    """
    search: Search = request.app.state.search
    return search.stream(last_event_id)


def _near(given: dict[str, str]) -> Near:
    """Raises Invalid with a pointer to each parameter that is wrong."""
    problems: list[dict[str, str]] = []
    radius_m = _whole(given, "radius_m", RADIUS_M, problems)
    limit = _whole(given, "limit", LIMIT, problems)
    at = _position(given, problems)
    if at is None or problems:
        raise Invalid("The search cannot be done like this.", errors=problems)
    return Near(at, float(radius_m), limit)


def _pairs(query: bytes) -> dict[str, str]:
    try:
        text = query.decode("ascii")
        if "%" not in text and "+" not in text:
            return {name: value for name, _, value in (pair.partition("=") for pair in text.split("&"))}
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError as error:
        raise Invalid("The query cannot be read.") from error


def _position(given: dict[str, str], problems: list[dict[str, str]]) -> geo.Position | None:
    near = given.get("near")
    try:
        if near is None:
            raise Invalid("Say `near=<longitude>,<latitude>`.")
        lon, comma, lat = near.partition(",")
        if not comma or len(near) > 64:
            raise Invalid("It is a longitude and a latitude with a comma between.")
        x, y = float(lon), float(lat)
        source = given.get("datum")
        if (source is None or source == "wgs84") and -180.0 <= x <= 180.0 and -90.0 <= y <= 90.0:
            return geo.Position(x, y)
        return geo.to_wgs84(x, y, geo.Datum.WGS84 if source is None else geo.datum(source))
    except ValueError:
        problems.append({"pointer": "/query/near", "detail": "It is a longitude and a latitude with a comma between."})
    except (geo.DatumMissing, geo.DatumUnknown) as error:
        problems.append({"pointer": "/query/datum", "detail": error.detail})
    except Invalid as error:
        problems.append({"pointer": "/query/near", "detail": error.detail})
    return None


def _whole(given: dict[str, str], name: str, limits: tuple[int, int, int], problems: list[dict[str, str]]) -> int:
    least, most, default = limits
    text = given.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 9 and least <= (value := int(text)) <= most:
        return value
    problems.append({"pointer": f"/query/{name}", "detail": f"It is a whole number from {least} to {most}."})
    return default
