"""Streams of sorted waste: what a truck, a site and a ticket are dedicated to. They are never mixed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Stream(StrEnum):
    """What is collected apart (GB/T 19095 and construction waste)."""

    RECYCLABLE = "recyclable"
    KITCHEN = "kitchen"
    HAZARDOUS = "hazardous"
    OTHER = "other"
    CONSTRUCTION = "construction"


HOUSEHOLD = frozenset({Stream.RECYCLABLE, Stream.KITCHEN, Stream.HAZARDOUS, Stream.OTHER})
"""The streams of households: construction waste has figures of its own."""

COLOURS: Mapping[Stream, str | None] = {
    Stream.RECYCLABLE: "PANTONE 647C",
    Stream.KITCHEN: "PANTONE 2259C",
    Stream.HAZARDOUS: "PANTONE 485C",
    Stream.OTHER: "PANTONE 7C",
    Stream.CONSTRUCTION: None,
}
"""The colour of a stream's containers and vehicles (GB/T 19095; Beijing 2020, annex): blue, green, red, black, none."""
