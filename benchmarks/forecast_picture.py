"""`make screenshots`: a day of an invented car park whose source goes silent, and what the forecast says of it, into docs/images."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.model import Model
from tests.support import REPOSITORY
from tests.unit.parking.availability_town import Town, at, rate, series

FILE = REPOSITORY / "docs" / "images" / "forecast.svg"
LEARNT_DAYS = 29  # four weeks, and a Tuesday is drawn
LOT = series(1)
SILENT, AGAIN, BEGIN, END = "10:10", "15:00", "06:00", "22:00"
STEP_MIN = 5
COUNTED_S = 600  # for so long it is counted again before the second forecast
WIDTH_PX, HEIGHT_PX, LEFT_PX, TOP_PX, BOTTOM_PX = 900, 380, 56, 64, 36
_INK, _PALE, _BLUE, _BAND, _GREEN = "#1a1a1a", "#8a8a8a", "#1f5fbf", "#c9dcf5", "#2f7d32"


def main() -> int:
    """Draws the day from the counts until a car park's source goes silent: what is expected, from when, and what came."""
    readings = Town(step_min=STEP_MIN).readings(LEARNT_DAYS + 1)
    day = [each for each in readings if each.series == LOT and at(LEARNT_DAYS, BEGIN) <= each.at <= at(LEARNT_DAYS, END)]
    silent, again = at(LEARNT_DAYS, SILENT), at(LEARNT_DAYS, AGAIN)
    model = Model(15)
    model.observe(each for each in readings if each.at < silent)
    first = _asked(model, SILENT, AGAIN)
    heard = (each for each in readings if silent <= each.at < again and (each.series != LOT or each.at >= again - COUNTED_S))
    model.observe(heard)
    FILE.write_text(_drawn(day, first, _asked(model, AGAIN, END)), encoding="utf-8")
    sys.stdout.write(f"{FILE.relative_to(REPOSITORY)}\n")
    return 0


def _asked(model: Model, begin: str, end: str) -> list[Forecast]:
    first, last = at(LEARNT_DAYS, begin), at(LEARNT_DAYS, end)
    questions = [Question(LOT, first + minutes * 60) for minutes in range(0, int((last - first) // 60) + 1, STEP_MIN)]
    return [each for each in model.forecast(questions) if each is not None]


def _drawn(day: Sequence[Reading], *spans: Sequence[Forecast]) -> str:
    silent, again = at(LEARNT_DAYS, SILENT), at(LEARNT_DAYS, AGAIN)
    parts = [_frame()]
    for span in spans:
        band = [(each.at, each.high) for each in span] + [(each.at, each.low) for each in reversed(span)]
        parts.append(f'<polygon points="{_points(band)}" fill="{_BAND}"/>')
        parts.append(_line([(each.at, each.rate) for each in span], _BLUE, "2"))
    counted = [(each.at, rate(each)) for each in day]
    parts.append(_line([each for each in counted if each[0] >= silent], _PALE, "1.5", "2 4"))
    parts.append(_line([each for each in counted if each[0] < silent], _INK, "2.5"))
    parts.append(_line([each for each in counted if again - COUNTED_S <= each[0] < again], _INK, "2.5"))
    for clock, word in ((SILENT, "source silent"), (AGAIN, "counted again")):
        x = _x(at(LEARNT_DAYS, clock))
        parts.append(_line([(at(LEARNT_DAYS, clock), 0.0), (at(LEARNT_DAYS, clock), 1.0)], _GREEN, "1", "6 4"))
        parts.append(f'<text x="{x + 5:.1f}" y="{TOP_PX + 12}" fill="{_GREEN}">{word}, {clock}</text>')
    body = "\n".join(parts)
    style = "<style>text{font:13px sans-serif}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img">\n{style}\n{body}\n</svg>\n'


def _line(points: Sequence[tuple[float, float]], colour: str, width: str, dashes: str = "none") -> str:
    return f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/>'


def _frame() -> str:
    lines = [
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="#ffffff"/>',
        f'<text x="{LEFT_PX}" y="22" fill="{_INK}">A car park whose source goes silent, and what is expected of it (invented town)</text>',
        f'<text x="{LEFT_PX}" y="44" fill="{_INK}">black: counted, blue: expected, with the 80 % interval, dotted: what came</text>',
    ]
    for percent in range(0, 101, 25):
        y = _y(percent / 100)
        lines.append(f'<line x1="{LEFT_PX}" y1="{y:.1f}" x2="{WIDTH_PX - 12}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        lines.append(f'<text x="{LEFT_PX - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_INK}">{percent} %</text>')
    for hour in range(6, 23, 2):
        x = _x(at(LEARNT_DAYS, f"{hour:02}:00"))
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT_PX - 12}" text-anchor="middle" fill="{_INK}">{hour:02}:00</text>')
    return "\n".join(lines)


def _points(line: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(stamp):.1f},{_y(value):.1f}" for stamp, value in line)


def _x(stamp: float) -> float:
    begin, end = at(LEARNT_DAYS, BEGIN), at(LEARNT_DAYS, END)
    return LEFT_PX + (stamp - begin) / (end - begin) * (WIDTH_PX - LEFT_PX - 24)


def _y(value: float) -> float:
    return HEIGHT_PX - BOTTOM_PX - value * (HEIGHT_PX - BOTTOM_PX - TOP_PX)


if __name__ == "__main__":
    sys.exit(main())
