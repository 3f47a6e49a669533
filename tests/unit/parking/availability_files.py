"""Files of counts for tests: a town's fortnights in 5-minute steps, with what sensors do to them."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta, timezone

HEADER = "place,capacity,occupied,at"
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
SHANGHAI = timezone(timedelta(hours=8))


def town(*, places: int, days: int, step_min: int = 5, seed: int = 7) -> list[str]:
    """Rows of a town whose car parks fill in the morning and empty in the evening, less so at the weekend; in the order of time."""
    rng = random.Random(seed)
    size = [rng.randrange(40, 600) for _ in range(places)]
    drift = [0.0] * places
    rows: list[str] = []
    for step in range(days * 1440 // step_min):
        at = BEGIN.replace(tzinfo=SHANGHAI) + timedelta(minutes=step * step_min)
        hour, weekend = at.hour + at.minute / 60, at.weekday() > 4
        for place in range(places):
            drift[place] = 0.995 * drift[place] + rng.gauss(0, 0.004)
            bell = math.exp(-(((hour - 13 - place % 3) / 3.5) ** 2))
            rate = min(max(0.08 + (0.45 if weekend else 0.8) * bell + drift[place], 0), 1)
            stamp = at + timedelta(seconds=rng.randrange(0, 40))
            rows.append(f"P{place:02},{size[place]},{round(rate * size[place])},{stamp.isoformat()}")
    return rows


def broken(rows: list[str], *, seed: int = 11) -> tuple[list[str], int]:
    """The same with gaps, rows twice and out of order, and one in 200 unreadable; how many are."""
    rng = random.Random(seed)
    unreadable = (
        *("P00,100,,{at}", "P01,100,NaN,{at}", "P00,0,5,{at}", "P01,100,2147483647,{at}"),
        *("P00,100,5,soon", '"P00,100,5,{at}', "P00"),
    )
    out: list[str] = []
    bad = 0
    for row in rows:
        if rng.random() < 0.03:
            continue
        out.append(row)
        if rng.random() < 0.01:
            out.append(row)
        if rng.random() < 0.005:
            out.append(rng.choice(unreadable).format(at=row.rsplit(",", 1)[1]))
            bad += 1
    for _ in range(len(out) // 50):
        one = rng.randrange(len(out) - 30)
        other = one + rng.randrange(30)
        out[one], out[other] = out[other], out[one]
    return out, bad


def csv_bytes(rows: list[str], header: str = HEADER) -> bytes:
    """The file."""
    return "\n".join([header, *rows, ""]).encode()
