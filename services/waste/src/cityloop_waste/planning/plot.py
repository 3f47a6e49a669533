"""A plan for a file as a drawing: one SVG that needs nothing else, to be told apart also by who does not see all colours.

Routes have the eight colours of Okabe and Ito's set, then the same with another dash. Depot, sites and stops differ by their form; a
stop that nobody serves is crossed out. Lines are straight from place to place, whatever the distances of the file are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from cityloop_waste.planning.instances import FilePlan, Spot, SpotKind

MAP_PX = 900
LEGEND_PX = 260
MARGIN_PX = 30
TOP_PX = 64
FOOT_PX = 48
LINE_PX = 20
MOST_NAMED = 36
"""Routes that the legend has room for; of more it tells how many."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B2A86", "#000000")
"""Okabe and Ito (2008), with a violet instead of their yellow, which is hard to see on white paper."""
DASHES = ("", "7 4", "2 3", "10 3 2 3")
_INK, _PALE = "#1a1a1a", "#767676"
_UNSAFE = {number: " " for number in (*range(0x20), 0xFFFE, 0xFFFF) if number not in (0x9, 0xA, 0xD)}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written on a drawing: its title, a line of figures, the unit of the map, what each route comes to."""

    title: str
    figures: str
    unit: str
    routes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _View:
    """From the file's places to the paper; north is up."""

    west: float
    north: float
    px_a_unit: float
    height: int

    def x(self, spot: Spot) -> float:
        return round(MARGIN_PX + (spot.x - self.west) * self.px_a_unit, 1)

    def y(self, spot: Spot) -> float:
        return round(TOP_PX + (self.north - spot.y) * self.px_a_unit, 1)


def svg(spots: Sequence[Spot], plan: FilePlan, caption: Caption) -> str:
    """The drawing. Routes may name any of the spots; what a route names and no spot is, it passes over."""
    by_id = {spot.id: spot for spot in spots}
    view = _view(spots, rows=min(len(plan.routes), MOST_NAMED) + 8)
    width, height = MARGIN_PX * 3 + MAP_PX + LEGEND_PX, view.height
    paper = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif" font-size="13">'
    )
    parts = [
        paper,
        f'<title id="title">{_text(caption.title)}</title>',
        f'<desc id="desc">{_text(caption.figures)}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN_PX}" y="28" font-size="18" fill="{_INK}">{_text(caption.title)}</text>',
        f'<text x="{MARGIN_PX}" y="48" fill="{_INK}">{_text(caption.figures)}</text>',
        *_routes(view, spots[0], by_id, plan),
        *_spots(view, spots, plan),
        *_scale(view, caption.unit),
        *_legend(spots, plan, caption),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def style(number: int) -> tuple[str, str]:
    """Colour and dash of a route, counted from 0; 32 differ."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def _view(spots: Sequence[Spot], *, rows: int) -> _View:
    west, east = min(spot.x for spot in spots), max(spot.x for spot in spots)
    south, north = min(spot.y for spot in spots), max(spot.y for spot in spots)
    longest = max(east - west, north - south) or 1.0
    px_a_unit = MAP_PX / longest
    drawn = math.ceil((north - south) * px_a_unit) + TOP_PX + FOOT_PX
    return _View(west, north, px_a_unit, max(drawn, TOP_PX + LINE_PX * rows + FOOT_PX))


def _routes(view: _View, depot: Spot, by_id: Mapping[int, Spot], plan: FilePlan) -> Iterator[str]:
    for number, route in enumerate(plan.routes):
        called = [by_id[place] for place in route if place in by_id]
        if not called:
            continue
        colour, dash = style(number)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        drawn = f'fill="none" stroke="{colour}" stroke-linejoin="round"{dashed}'
        yield f'<g class="route"><title>route {number + 1}</title>'
        yield f'<polyline points="{_points(view, called)}" {drawn} stroke-width="2"/>'
        for ends in ((depot, called[0]), (called[-1], depot)):  # the ways out and home, which all routes have, are paler
            yield f'<polyline points="{_points(view, ends)}" {drawn} stroke-width="1" stroke-opacity="0.45"/>'
        yield "</g>"


def _points(view: _View, spots: Sequence[Spot]) -> str:
    return " ".join(f"{view.x(spot):g},{view.y(spot):g}" for spot in spots)


def _spots(view: _View, spots: Sequence[Spot], plan: FilePlan) -> Iterator[str]:
    """Stops first, so that the depot and the sites are not covered."""
    served = {place for route in plan.routes for place in route}
    radius = 2.5 if len(spots) <= 500 else 1.8
    for spot in sorted(spots, key=lambda each: (each.kind is not SpotKind.STOP, each.kind is SpotKind.DEPOT)):
        x, y = view.x(spot), view.y(spot)
        if spot.kind is SpotKind.STOP and spot.id in served:
            yield f'<circle class="stop" cx="{x:g}" cy="{y:g}" r="{radius}" fill="{_INK}"><title>{spot.id}</title></circle>'
        else:
            yield _mark(spot.kind, x, y, f"{spot.kind.value} {spot.id}")


def _mark(kind: SpotKind, x: float, y: float, title: str) -> str:
    """A depot (square), a site (triangle), or a stop that nobody serves (cross)."""
    told = f"<title>{_text(title)}</title>"
    if kind is SpotKind.DEPOT:
        return f'<rect class="depot" x="{x - 7:g}" y="{y - 7:g}" width="14" height="14" fill="{_INK}" stroke="#ffffff">{told}</rect>'
    if kind is SpotKind.SITE:
        corners = f"{x:g},{y - 9:g} {x + 8:g},{y + 6:g} {x - 8:g},{y + 6:g}"
        return f'<polygon class="site" points="{corners}" fill="#ffffff" stroke="{_INK}" stroke-width="2">{told}</polygon>'
    arms = f"M{x - 5:g} {y - 5:g}L{x + 5:g} {y + 5:g}M{x - 5:g} {y + 5:g}L{x + 5:g} {y - 5:g}"
    return f'<path class="unserved" d="{arms}" stroke="#D55E00" stroke-width="2.5">{told}</path>'


def _scale(view: _View, unit: str) -> Iterator[str]:
    """A bar of a round length, about a fifth of the map."""
    fifth = MAP_PX / 5 / view.px_a_unit
    power = 10.0 ** math.floor(math.log10(fifth))
    length = max(step * power for step in (1, 2, 5) if step * power <= fifth * 1.000001)
    y = view.height - 20
    right = MARGIN_PX + length * view.px_a_unit
    yield f'<path class="scale" d="M{MARGIN_PX} {y - 6}V{y}H{right:.1f}V{y - 6}" fill="none" stroke="{_INK}" stroke-width="1.5"/>'
    yield f'<text x="{right + 8:.1f}" y="{y}" fill="{_INK}">{length:,.10g} {_text(unit)}</text>'


def _legend(spots: Sequence[Spot], plan: FilePlan, caption: Caption) -> Iterator[str]:
    left = MARGIN_PX * 2 + MAP_PX
    rows = [(number, told) for number, told in enumerate(caption.routes) if plan.routes[number]]
    y = TOP_PX + 10
    for number, told in rows[:MOST_NAMED]:
        colour, dash = style(number)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        yield f'<line x1="{left}" y1="{y - 4}" x2="{left + 34}" y2="{y - 4}" stroke="{colour}" stroke-width="3"{dashed}/>'
        yield f'<text class="legend" x="{left + 44}" y="{y}" fill="{_INK}">{_text(told)}</text>'
        y += LINE_PX
    if len(rows) > MOST_NAMED:
        yield f'<text class="legend" x="{left + 44}" y="{y}" fill="{_PALE}">and {len(rows) - MOST_NAMED} routes more</text>'
        y += LINE_PX
    served = {place for route in plan.routes for place in route}
    marks = [(SpotKind.DEPOT, "depot")]
    marks += [(SpotKind.SITE, "unload site")] if any(spot.kind is SpotKind.SITE for spot in spots) else []
    missing = sum(1 for spot in spots if spot.kind is SpotKind.STOP and spot.id not in served)
    marks += [(SpotKind.STOP, f"not served: {missing}")] if missing else []
    for kind, told in marks:
        y += LINE_PX
        yield _mark(kind, left + 17, y - 4, told).replace('class="', 'class="key-')
        yield f'<text class="legend" x="{left + 44}" y="{y}" fill="{_INK}">{_text(told)}</text>'


def _text(told: str) -> str:
    """Text for XML: mark-up is none, and what XML forbids is a blank."""
    return escape(told.translate(_UNSAFE))
