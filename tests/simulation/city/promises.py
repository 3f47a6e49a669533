"""What the services have acknowledged, and what was sent: the first must be found in the tables, nothing beyond the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from tests.simulation import people


@dataclass(frozen=True, slots=True)
class Sent:
    """A T/CEC envelope as it was signed, and what it says: status numbers by connector at an instant."""

    operator_id: str
    fields: Mapping[str, str]
    at: datetime
    statuses: tuple[tuple[str, int], ...]

    @property
    def sig(self) -> str:
        return self.fields["Sig"]

    @property
    def seq(self) -> int:
        return int(self.fields["Seq"])


@dataclass(frozen=True, slots=True)
class Decision:
    """What an officer was told became of a link."""

    location_id: str
    place_id: str
    state: str
    since: datetime


@dataclass(slots=True)
class Promises:
    """`people.Promises` are those of reservations and counts. Versions of car parks and stations are kept with a part of their content."""

    people: people.Promises = field(default_factory=people.Promises)
    places: dict[tuple[str, int], tuple[str, str, int]] = field(default_factory=dict)
    stations: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    envelopes: dict[str, Sent] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    decisions: set[Decision] = field(default_factory=set)
    stocks: list[int] = field(default_factory=list)
    stocks_on: date | None = None
    estimates: dict[tuple[str, date], list[int]] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)
    publications: set[tuple[str, int]] = field(default_factory=set)
    withdrawals: set[str] = field(default_factory=set)
    wishes: Counter[tuple[str, str]] = field(default_factory=Counter)
    loads: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    tickets: set[tuple[str, str]] = field(default_factory=set)
