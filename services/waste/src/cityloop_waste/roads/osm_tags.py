"""What OpenStreetMap's tags mean for a collection truck: where it may drive, how fast, and how heavy it may be.

Tags as the project's wiki describes them; the speeds are our own, for trucks of 12 to 18 t in a town. docs/concepts/roads.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from cityloop_waste.roads.domain import HEAVIEST_LIMIT_KG

Tags = Mapping[str, str]

KMH = {
    "motorway": 80,
    "motorway_link": 40,
    "trunk": 70,
    "trunk_link": 40,
    "primary": 50,
    "primary_link": 35,
    "secondary": 45,
    "secondary_link": 30,
    "tertiary": 40,
    "tertiary_link": 30,
    "unclassified": 35,
    "residential": 25,
    "road": 25,
    "living_street": 15,
    "service": 15,
}
"""Classes of `highway` that a truck may use, and what it drives there when no sign says less."""
FASTEST_TRUCK_KMH = 80
_NARROW_CLASSES = {"living_street", "service"}
_MAY_BE_NARROW = {"residential", "unclassified", "road"}
_NARROW_M = 5.0
_NOT_FOR_TRUCKS = {"parking_aisle", "drive-through", "emergency_access"}
_ACCESS = ("hgv", "goods", "motor_vehicle", "vehicle", "access")  # the first that is there counts
_CLOSED = {"no", "agricultural", "forestry", "emergency", "military", "bus", "psv"}  # private yards are where containers stand
_KMH_OF = {"walk": 7, "CN:urban": 50, "CN:rural": 70, "CN:motorway": 120}
_SPEED = re.compile(r"(\d{1,3})(?:\.\d+)?\s*(km/h|kmh|kph|mph)?")
_MASS = re.compile(r"(\d{1,6}(?:\.\d+)?)\s*(t|kg|st|lbs?)?")
_KG = {None: 1000.0, "t": 1000.0, "kg": 1.0, "st": 907.18474, "lb": 0.45359237, "lbs": 0.45359237}
_LENGTH = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*(m)?")


class Direction(StrEnum):
    """In which direction of a way traffic flows."""

    BOTH = "both"
    ALONG = "along"
    AGAINST = "against"


def for_trucks(tags: Tags) -> bool:
    """Whether a truck may use a way at all."""
    if tags.get("highway") not in KMH or tags.get("area") == "yes" or tags.get("service") in _NOT_FOR_TRUCKS:
        return False
    if tags.get("oneway") in {"reversible", "alternating"} and tags.get("highway") != "service":
        return False  # nobody knows when it leads where
    return next((tags[key] for key in _ACCESS if key in tags), "yes") not in _CLOSED


def direction(tags: Tags) -> Direction:
    """`oneway`, or what roundabouts and motorways are without saying it."""
    said = tags.get("oneway")
    if said in {"-1", "reverse"}:
        return Direction.AGAINST
    if said in {"yes", "true", "1"}:
        return Direction.ALONG
    implied = tags.get("junction") in {"roundabout", "circular"} or tags.get("highway") == "motorway"
    return Direction.ALONG if implied and said is None else Direction.BOTH


def speed_kmh(tags: Tags) -> int:
    """What a truck drives there: what the signs say, as far as it can; else the usual of the class."""
    allowed = [kmh for key in ("maxspeed:hgv", "maxspeed") if (kmh := _kmh(tags.get(key, ""))) is not None]
    return min(allowed[0], FASTEST_TRUCK_KMH) if allowed else KMH[tags["highway"]]


def max_mass_kg(tags: Tags) -> int | None:
    """The heaviest vehicle that signs allow, the least of several; None where none says a mass."""
    said = [_kg(tags[key]) for key in ("maxweight", "maxweightrating", "maxweightrating:hgv") if key in tags]
    return min((kg for kg in said if kg is not None), default=None)


def narrow(tags: Tags) -> bool:
    """Whether a crew takes containers from both sides: yards, alleys, roads of one lane or less than 5 m."""
    highway = tags["highway"]
    if highway in _NARROW_CLASSES:
        return True
    width = _LENGTH.fullmatch(tags.get("width", "").strip())
    return highway in _MAY_BE_NARROW and (tags.get("lanes") == "1" or (width is not None and float(width[1]) < _NARROW_M))


def restriction(tags: Tags) -> str | None:
    """A relation's `no` or `only`, when it holds for trucks at all hours; else None."""
    said = tags.get("restriction:hgv") or tags.get("restriction", "")
    if "hgv" in re.split(r"\s*;\s*", tags.get("except", "")) or not said.startswith(("no_", "only_")):
        return None
    return said.split("_", 1)[0]


def _kmh(text: str) -> int | None:
    text = text.split(";", maxsplit=1)[0].strip()
    if text in _KMH_OF:
        return _KMH_OF[text]
    found = _SPEED.fullmatch(text)
    if found is None:
        return None
    kmh = round(int(found[1]) * (1.609344 if found[2] == "mph" else 1))
    return kmh if kmh > 0 else None


def _kg(text: str) -> int | None:
    found = _MASS.fullmatch(text.strip())
    kg = 0 if found is None else round(float(found[1]) * _KG[found[2]])
    return kg if 0 < kg <= HEAVIEST_LIMIT_KG else None
