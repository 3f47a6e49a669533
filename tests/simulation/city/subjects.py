"""What a client keeps of each service's stream, and the answer that it begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.simulation.listening import Subject

WHOLE = {
    "parking": "/parking/v1/places?near=109.788,39.56&radius_m=20000&limit=100",
    "charging": "/charging/v1/locations?limit=100",
    "waste": "/waste/v1/plans?limit=1000",
}


def subjects(hosts: Callable[[str], Sequence[str]], dispatcher: str) -> dict[str, Subject]:
    """The three services' streams; only plans need a token to be read."""
    found: dict[str, Subject] = {}
    for name, event, read, take in (
        ("parking", "place.changed", read_places, take_place),
        ("charging", "evse.changed", read_locations, take_evse),
        ("waste", "plan.changed", read_plans, take_plan),
    ):
        stream = f"/{name}/v1/stream"
        found[name] = Subject(hosts(stream), stream, event, WHOLE[name], read, take, dispatcher if name == "waste" else "")
    return found


def read_places(answer: Any) -> dict[str, Any]:
    """Car parks of a search by id."""
    return dict(take_place(place) for place in answer["places"])


def take_place(place: Mapping[str, Any]) -> tuple[str, Any]:
    """What of a car park does not age while nothing happens."""
    return str(place["id"]), {name: place[name] for name in ("state", "closed_until", "free", "charging")}


def read_locations(answer: Any) -> dict[str, Any]:
    """Statuses of EVSEs that were reported, by uid."""
    return {evse["uid"]: evse["status"] for location in answer["locations"] for evse in location["evses"] if evse["as_of"] is not None}


def take_evse(told: Mapping[str, Any]) -> tuple[str, Any]:
    """The status of an EVSE."""
    return str(told["evse_uid"]), told["status"]


def read_plans(answer: Any) -> dict[str, Any]:
    """State and number of plans by id."""
    return {plan["id"]: (plan["state"], plan["version"]) for plan in answer["plans"]}


def take_plan(told: Mapping[str, Any]) -> tuple[str, Any]:
    """State and number of a plan."""
    return str(told["plan_id"]), (told["state"], told["version"])
