"""Sends the counts of a file to a running service, as its car parks would have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import orjson

from cityloop_common.clock import Clock, rfc3339
from cityloop_common.errors import CityLoopError, Forbidden, Unauthenticated, Unavailable
from cityloop_parking.observations.birmingham import INTERVAL_S, SOURCE, BadRow, CountRow, invented_position, place_number
from cityloop_parking.places.domain import MOST_SPACES

REQUEST_WITHIN_S = 30.0
PATIENCE_S = 120.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 10, 86_400
MOST_LISTED = 1_000
CONNECTIONS = 32
_TRY_AGAIN = frozenset({409, 429, 502, 503, 504})  # 409: the write did not get its turn
_IS_THERE = frozenset({200, 201, 412, 428})  # the last two: somebody else has made it since
Progress = Callable[[int, int, str], None]


class ReplayRefused(CityLoopError):
    """The service does not take what the replay needs it to take."""

    slug, status, title = "replay-refused", 400, "The replay cannot go on"


@dataclass(frozen=True, slots=True)
class Timetable:
    """Turns the file's stamps into stamps of today: `origin` in the file is `begins_at`, and time passes `speed` times faster."""

    origin: datetime
    begins_at: datetime
    speed: float

    def at(self, observed_at: datetime) -> datetime:
        """The stamp that a count gets."""
        return self.begins_at + (observed_at - self.origin) / self.speed

    @property
    def interval_s(self) -> int:
        """How often a car park reports on this timetable."""
        return min(LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, round(INTERVAL_S / self.speed)))


def compressed(rows: Sequence[CountRow], *, speed: float, now: datetime) -> Timetable:
    """The first row is now, all later ones come `speed` times as fast."""
    return Timetable(rows[0].observed_at, now, speed)


def backfilled(rows: Sequence[CountRow], *, now: datetime) -> Timetable:
    """The last row is now, all earlier ones keep their distance from it."""
    return Timetable(rows[-1].observed_at, now, 1.0)


@dataclass(slots=True)
class Report:
    """What became of the rows: rows = current + superseded + rejected (by the reader or by the service)."""

    rows: int
    rejected: list[BadRow]
    current: int = 0
    superseded: int = 0
    retries: int = 0
    places: int = 0
    places_created: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Rows that have their outcome."""
        return self.current + self.superseded + len(self.rejected)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why rows were not taken, the most frequent reason first."""
        return Counter(each.reason for each in self.rejected).most_common()

    def view(self) -> dict[str, object]:
        """As JSON, with the first thousand rejected rows."""
        told: dict[str, object] = {name: getattr(self, name) for name in ("rows", "current", "superseded")}
        told |= {"rejected": len(self.rejected), "retries": self.retries, "places": self.places, "places_created": self.places_created}
        listed = sorted(self.rejected, key=lambda each: each.row)[:MOST_LISTED]
        return {**told, "seconds": round(self.seconds, 2), "reasons": dict(self.reasons), "rejected_rows": listed}


class Replay:
    """One run: a stream for each car park, in its order; the streams go side by side."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, *, operator_id: str, progress: Progress) -> None:
        self._client = client
        self._clock = clock
        self._operator_id = operator_id
        self._progress = progress
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def run(self, rows: Sequence[CountRow], bad: Sequence[BadRow], timetable: Callable[[], Timetable]) -> Report:
        """Creates the car parks that are missing, then sends. The timetable is asked for when the sending begins.

        Raises ReplayRefused, Unauthenticated, Forbidden, Unavailable (nothing answered for two minutes).
        """
        report = Report(rows=len(rows) + len(bad), rejected=list(bad))
        streams: dict[str, list[CountRow]] = {}
        for row in rows:
            streams.setdefault(row.code, []).append(row)
        report.places = len(streams)
        try:
            async with asyncio.TaskGroup() as group:
                for code, stream in streams.items():
                    group.create_task(self._ensure_place(code, max(row.capacity for row in stream), report))
            began = self._clock.monotonic()
            times = timetable() if rows else None
            async with asyncio.TaskGroup() as group:
                for stream in streams.values():
                    assert times is not None
                    group.create_task(self._send_all(stream, times, report))
        except ExceptionGroup as failed:
            raise _first(failed) from failed
        report.seconds = self._clock.monotonic() - began
        return report

    def _path(self, code: str) -> str:
        return f"/parking/v1/places/{quote(f'{self._operator_id}-{place_number(code)}', safe='')}"

    async def _ensure_place(self, code: str, capacity: int, report: Report) -> None:
        answer = await self._ask("GET", self._path(code), None, report)
        if answer.status_code == 200:
            return
        position = invented_position(code)
        body = {
            "name": f"{code} (replayed)",
            "position": {"lon": position.lon, "lat": position.lat},
            "datum": "wgs84",
            "pools": [{"category": "standard", "capacity": min(MOST_SPACES, max(0, capacity))}],
            "invented": True,
        }
        answer = await self._ask("PUT", self._path(code), body, report)
        if answer.status_code not in _IS_THERE:
            raise ReplayRefused(f"the car park {code} cannot be created: {_reason(answer)}")
        report.places_created += answer.status_code == 201

    async def _send_all(self, stream: Sequence[CountRow], times: Timetable, report: Report) -> None:
        for row in stream:
            at = times.at(row.observed_at)
            wait = (at - self._clock.now()) / timedelta(seconds=1)
            if wait > 0:
                await self._clock.sleep(wait)
            count = {"category": "standard", "occupied": row.occupied, "capacity": row.capacity}
            body = {"observed_at": rfc3339(at), "source": SOURCE, "interval_s": times.interval_s, "counts": [count]}
            _note(row, await self._ask("POST", f"{self._path(row.code)}/observations", body, report), report)
            self._progress(report.done, report.rows, f"{len(report.rejected)} rejected" if report.rejected else "")

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None, report: Report) -> httpx.Response:
        """One request, again while the service does not answer or asks to wait; sending a count twice changes nothing."""
        content = None if body is None else orjson.dumps(body)
        wait_s, gives_up_at = FIRST_WAIT_S, self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                async with self._turns, asyncio.timeout(REQUEST_WITHIN_S):
                    answer = await self._client.request(method, path, content=content, headers={"content-type": "application/json"})
                trouble = f"HTTP {answer.status_code}" if answer.status_code in _TRY_AGAIN else ""
                asked_s = float(answer.headers["retry-after"]) if answer.headers.get("retry-after", "").isdigit() else 0.0
            except (httpx.RequestError, TimeoutError) as error:
                trouble, asked_s = str(error) or type(error).__name__, 0.0
            if not trouble:
                return _allowed(answer)
            left_s = gives_up_at - self._clock.monotonic()
            if left_s <= 0:
                raise Unavailable(f"{self._client.base_url} has not answered for {PATIENCE_S:.0f} s: {trouble}")
            report.retries += 1
            self._progress(report.done, report.rows, f"trying again: {trouble}")
            await self._clock.sleep(min(left_s, max(asked_s, wait_s)))
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)


def _allowed(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == 401:
        raise Unauthenticated(f"the service does not take the token: {_reason(answer)}")
    if answer.status_code == 403:
        raise Forbidden(_reason(answer))
    return answer


def _note(row: CountRow, answer: httpx.Response, report: Report) -> None:
    if answer.status_code != 201:
        report.rejected.append(BadRow(row.row, _reason(answer)))
    elif orjson.loads(answer.content)["outcome"] == "superseded":
        report.superseded += 1
    else:
        report.current += 1


def _reason(answer: httpx.Response) -> str:
    """The problem's title, or what is wrong with which field; never the values, so that reasons can be counted."""
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return f"HTTP {answer.status_code}"
    errors = problem.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return f"{errors[0].get('pointer', '')}: {errors[0].get('detail', problem.get('title'))}"
    return str(problem.get("title") or f"HTTP {answer.status_code}")


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
