"""Silent places are looked at within each minute, and told of when they are expected otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cityloop_parking.availability.answers import Answers, Ask
from cityloop_parking.availability.outlook import Outlook, Spaces
from cityloop_parking.search.domain import OUTLOOK_FOR_S, LiveCount, Parts, Shown, continues, shown
from cityloop_parking.search.index import SearchIndex
from cityloop_parking.search.outlooks import Outlooks

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
PLACES = 600


def place(number: int, *, version: int = 1, counted_ago: timedelta = timedelta(hours=2)) -> Shown:
    """A car park that is silent when nobody counts for an hour."""
    facts: Mapping[str, Any] = {
        "id": f"op-{number}", "name": "可汗街", "lon": 109.78 + number / 10_000, "lat": 39.56, "state": "open", "kind": "surface",
        "capacity": {"standard": 100},
    }  # fmt: skip
    counts = (LiveCount("standard", 40, 100, (NOW - counted_ago).timestamp(), "gate", 900),)
    return shown(facts, Parts(counts=counts), version=version)


def outlook(at: datetime, *, mean: float = 60.0) -> Outlook:
    spaces = Spaces(100, mean, 40.0, 80.0, 0.99)
    return Outlook(at, NOW - timedelta(hours=2), spaces, {"standard": spaces})


class Told:
    """Answers of a forecaster whose numbers stay as they are, until `mean` is another."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.mean = 60.0

    async def ask(self, asks: Sequence[Ask]) -> list[Outlook | None]:
        self.asked += [each.place_id for each in asks]
        return [outlook(each.at, mean=self.mean) for each in asks]


async def test_looks_are_spread_over_the_minute_and_only_numbers_are_told() -> None:
    """Once each minute every silent place, never more than a few at once; nothing is told until something else is expected."""
    index, told = SearchIndex(), Told()
    for number in range(PLACES):
        index.put(place(number))
    outlooks = Outlooks(cast(Answers, told))
    assert len(await outlooks.look(index, outlooks.due(index, NOW.timestamp(), NOW.timestamp()), NOW)) == PLACES
    for minute in range(3):
        told.asked.clear()
        told.mean = 60.0 + (minute == 2)
        changed: list[Shown] = []
        for second in range(1, 61):
            now = NOW + timedelta(minutes=minute, seconds=second)
            due = outlooks.due(index, now.timestamp() - 1, now.timestamp())
            assert len(due) <= PLACES / 60 + 1
            changed += await outlooks.look(index, due, now)
        if minute:
            assert Counter(told.asked) == {f"op-{number}": 1 for number in range(PLACES)}
        assert len({each.id for each in changed}) == (PLACES if minute == 2 else 0)
    newest = [entry.outlook for entry in index.in_order()]
    assert all(each is not None and now - each.at <= timedelta(minutes=1) for each in newest)


async def test_a_place_that_is_counted_again_is_not_looked_at() -> None:
    """Also one that the round had before it; its old outlook is taken away."""
    index, told = SearchIndex(), Told()
    for number in range(PLACES):
        index.put(place(number))
    outlooks = Outlooks(cast(Answers, told))
    await outlooks.look(index, outlooks.due(index, NOW.timestamp(), NOW.timestamp()), NOW)
    index.put(place(7, version=2, counted_ago=timedelta()))
    told.asked.clear()
    for second in range(1, 122):
        now = NOW + timedelta(seconds=second)
        await outlooks.look(index, outlooks.due(index, now.timestamp() - 1, now.timestamp()), now)
    assert "op-7" not in told.asked
    entry = index.entry("op-7")
    assert entry is not None
    assert entry.outlook is None


def test_one_that_is_shown_no_more_is_not_continued() -> None:
    """A page that stopped showing it must hear of the next, though it says the same."""
    for after_s, is_continued in ((60, True), (OUTLOOK_FOR_S, True), (OUTLOOK_FOR_S + 1, False)):
        assert continues(outlook(NOW), outlook(NOW + timedelta(seconds=after_s))) is is_continued
    assert not continues(outlook(NOW), outlook(NOW, mean=60.1))
