"""Who asks: what of the reservations a reader may see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnedBy:
    """A subject sees its own; the bearer of a signed link comes as its guest, and only to the link's reservation."""

    subject: str


@dataclass(frozen=True, slots=True)
class WholeCity:
    """The city's administration reads all; it holds and confirms nothing."""


Scope = OwnedBy | WholeCity
