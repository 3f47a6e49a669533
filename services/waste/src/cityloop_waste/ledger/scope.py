"""Who asks: what of the ledger a reader may see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SitesOf:
    """A site operator sees the loads of its own sites."""

    operator_id: str


@dataclass(frozen=True, slots=True)
class WholeCity:
    """Officers see every load."""


Scope = SitesOf | WholeCity
