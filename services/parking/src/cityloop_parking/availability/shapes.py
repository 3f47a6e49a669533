"""How what is expected looks as JSON, wherever it is told."""

from __future__ import annotations

from pydantic import BaseModel


class FreeAnswer(BaseModel):
    """Free spaces: the mean, and the bounds that hold them in eight of ten cases."""

    mean: float
    low: float
    high: float


class SpacesAnswer(BaseModel):
    """What is expected of spaces. `chance` is that of at least one free space, 0 to 1."""

    free: FreeAnswer
    chance: float


class ForecastAnswer(SpacesAnswer):
    """What is expected of a car park at the instant `at`, starting from the count of `since`: the bounds widen with the time between.

    The whole is what a car driver looks for, without motorcycles' spaces.
    """

    at: str
    since: str
    categories: dict[str, SpacesAnswer]
