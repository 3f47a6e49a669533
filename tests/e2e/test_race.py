"""Promise 1 over HTTP: 500 people want 50 spaces, holds run out, a process is killed midway; exactly 50 are promised."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import replicas
from tests.e2e.processes import Process, embedded
from tests.integration.books import read_books
from tests.integration.traffic import Insistent, insistent
from tests.support import Servers, wait_until

SPACES = 50
RACERS = 500
HOLD_FOR_S = 10
PLACE = "race-1"
FORGETFUL = 3  # every third one who holds lets it run out, in the first round


@dataclass(frozen=True, slots=True)
class Course:
    """A city with one car park of 50 spaces, and who is killed midway."""

    people: Insistent
    database_url: str
    victims: Sequence[Process]


@asynccontextmanager
async def course(form: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Course]:
    """`cityloop dev` on SQLite, or two API replicas and two workers on PostgreSQL."""
    settings = {"CITYLOOP_PARKING_HOLD_FOR_S": str(HOLD_FOR_S), "CITYLOOP_SAMPLE": "off"}
    if form == "sqlite":
        async with embedded(folder, **settings) as process, insistent([process], process.settings) as people:
            yield Course(people, f"sqlite:///{folder / 'var' / 'parking.db'}", [process])
    else:
        stack: Servers = request.getfixturevalue("stack")
        async with replicas(folder, stack, **settings) as running, insistent(running.apis, running.settings) as people:
            yield Course(people, running.settings["CITYLOOP_PARKING_DATABASE_URL"], [running.apis[1], running.workers[0]])


@dataclass(slots=True)
class Race:
    """Who was told what, and how many answers there were."""

    at: Course
    starts_at: datetime
    answers: int = 0
    confirmed: set[int] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)

    async def run(self, racer: int, turn: int) -> str:
        """Wants a space and, with it, confirms, or forgets in the first round; answers what he was told last."""
        me = self.at.people.bearer("citizen", subject=f"racer-{racer}")
        stay = {
            "place_id": PLACE, "category": "standard", "starts_at": self.starts_at.isoformat(),
            "ends_at": (self.starts_at + timedelta(hours=2)).isoformat(),
        }  # fmt: skip
        made = await self.at.people.ask("POST", "/reservations", me, stay, key=f"hold-{racer}-{turn}")
        self.answers += 1
        if made.status_code == 409:
            assert made.json()["type"] == "urn:cityloop:problem:place-full", made.text
            return "full"
        assert made.status_code == 201, made.text
        where = f"/reservations/{made.json()['id']}"
        if turn == 1 and racer % FORGETFUL == 0:
            self.let_go.add(where)
            return "forgotten"
        answer = await self.at.people.ask("POST", f"{where}/confirmation", me, key=f"confirm-{racer}-{turn}")
        self.answers += 1
        if answer.status_code == 409:  # the kill took longer than the hold
            assert answer.json()["type"] == "urn:cityloop:problem:hold-expired", answer.text
            return "expired"
        assert answer.status_code == 200, answer.text
        self.confirmed.add(racer)
        return "confirmed"

    async def round(self, turn: int) -> Counter[str]:
        """Everybody who has no space tries at the same time."""
        return Counter(await asyncio.gather(*(self.run(racer, turn) for racer in range(RACERS) if racer not in self.confirmed)))

    async def kill_midway(self) -> None:
        """kill -9 after a part of the answers, and a new start."""
        for number, victim in enumerate(self.at.victims):
            after = RACERS // 5 * (number + 1)
            await self.past(after)
            victim.kill()
            victim.start()
            await victim.ready()

    async def past(self, answers: int) -> None:
        """Waits until so many answers were given."""
        await wait_until(lambda: self.answers >= answers, 120, every=0.005, what=f"{answers} answers were given")

    async def holds_have_ended(self) -> None:
        """Nobody's unconfirmed hold blocks a space any more."""

        async def none_held() -> bool:
            states = (await read_books(self.at.database_url)).states(PLACE)
            assert states["held"] == 0, states
            return True

        await wait_until(none_held, 3 * HOLD_FOR_S + 60, every=0.5, what="holds have run out")


@pytest.mark.timeout(600)
@pytest.mark.xdist_group("race-over-http")
@pytest.mark.parametrize("form", ["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
async def test_500_racers_for_50_spaces_with_a_kill_midway(form: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each of the 500 gets an answer, 50 of them a promise; one process dies under them and a third of the first holds runs out."""
    async with course(form, tmp_path, request) as at:
        operator = at.people.bearer("lot_operator", operator="race")
        body = {
            "name": "race", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84",
            "pools": [{"category": "standard", "capacity": SPACES}],
        }  # fmt: skip
        assert (await at.people.ask("PUT", f"/places/{PLACE}", operator, body)).status_code == 201
        race = Race(at, datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5))
        first, _ = await asyncio.gather(race.round(1), race.kill_midway())
        assert first["forgotten"] > 0
        assert first["full"] > 0
        for turn in range(2, 6):
            await race.holds_have_ended()
            if len(race.confirmed) == SPACES:
                break
            await race.round(turn)
        assert len(race.confirmed) == SPACES
        books = await read_books(at.database_url)
        books.check()
        promised = {row.subject for row in books.reservations if row.state == "confirmed"}
        assert promised == {f"racer-{racer}" for racer in race.confirmed}
        assert books.states(PLACE)["expired"] >= len(race.let_go)
        assert {row.booked for row in books.buckets if row.place_id == PLACE} == {SPACES}
        assert await race.run(min(set(range(RACERS)) - race.confirmed), 99) == "full"
