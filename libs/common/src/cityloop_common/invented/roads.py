"""The streets of the invented city: an irregular grid of eight roads and six streets, lanes in its blocks, a ring, two ways out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cityloop_common.geo import Position
from cityloop_common.invented.shapes import MARK, MARK_EN, Metres, Street, between, chance, metres, position

Node = tuple[int, int]  # column from the west, row from the south

_ROADS = (  # north-south: 路; metres east of the centre
    ("苏勒德路", "Sulede Road", -1900),
    ("银杏路", "Ginkgo Road", -1300),
    ("云杉路", "Spruce Road", -760),
    ("鸿雁路", "Swan Goose Road", -330),
    ("马头琴路", "Horsehead Fiddle Road", 330),
    ("沙柳路", "Sand Willow Road", 820),
    ("白鹿路", "White Deer Road", 1370),
    ("金驼路", "Golden Camel Road", 1900),
)
_STREETS = (  # east-west: 街; metres north of the centre
    ("南苑街", "South Garden Street", -1420),
    ("红柳街", "Red Willow Street", -810),
    ("通格朗街", "Tonggelang Street", -190),
    ("可汗街", "Khan Street", 230),
    ("书院街", "Academy Street", 905),
    ("北辰街", "North Star Street", 1430),
)
_LEAN_X, _LEAN_Y = 0.05, -0.03  # the grid is not quite square
_MISSING = {  # (from, to): parks, the stadium and the town's round corners
    ((0, 4), (0, 5)),
    ((0, 5), (1, 5)),
    ((7, 0), (7, 1)),
    ((6, 0), (7, 0)),
    ((1, 1), (1, 2)),
    ((2, 3), (2, 4)),
    ((2, 4), (2, 5)),
    ((5, 1), (5, 2)),
    ((6, 4), (6, 5)),
    ((5, 0), (6, 0)),
    ((3, 0), (3, 1)),
}
_THROUGH = {  # streets with car parks along them that are older than this map
    ((3, 2), (4, 2)): Position(109.7889, 39.5633),
    ((3, 3), (4, 3)): Position(109.7845, 39.5671),
    ((4, 4), (5, 4)): Position(109.7927, 39.5733),
}
_NORTHBOUND, _SOUTHBOUND, _EASTBOUND, _WESTBOUND = 3, 4, 3, 2  # columns and rows of the centre that are one-way
_CENTRE_COLUMNS = range(2, 6)
_LIGHT = {  # pieces with an old bridge or a weak culvert, kg
    ((1, 1), (2, 1)): 12_000,
    ((5, 3), (5, 4)): 12_000,
    ((6, 2), (7, 2)): 12_000,
    ((2, 0), (3, 0)): 8_000,
}
_AVENUES = {"红柳街", "书院街", "云杉路", "沙柳路"}
_RING = (  # name of the quarter from here on, metres east and north, the crossing that a street leads to from here
    ("环城北路", "North Ring Road", -1230, 1830, (1, 5)),
    ("环城北路", "North Ring Road", -780, 1930, None),
    ("环城北路", "North Ring Road", -260, 1970, (3, 5)),
    ("环城北路", "North Ring Road", 800, 1960, (5, 5)),
    ("环城北路", "North Ring Road", 1420, 1860, None),
    ("环城东路", "East Ring Road", 2060, 1610, (7, 5)),
    ("环城东路", "East Ring Road", 2360, 1290, None),
    ("环城东路", "East Ring Road", 2470, 830, (7, 4)),
    ("环城东路", "East Ring Road", 2510, 150, (7, 3)),
    ("环城东路", "East Ring Road", 2490, -330, None),
    ("环城东路", "East Ring Road", 2410, -890, (7, 1)),
    ("环城南路", "South Ring Road", 2230, -1370, None),
    ("环城南路", "South Ring Road", 1780, -1760, None),
    ("环城南路", "South Ring Road", 1320, -1900, (6, 0)),
    ("环城南路", "South Ring Road", 760, -1970, (5, 0)),
    ("环城南路", "South Ring Road", -420, -1960, (3, 0)),
    ("环城南路", "South Ring Road", -1360, -1850, (1, 0)),
    ("环城南路", "South Ring Road", -1850, -1720, None),
    ("环城西路", "West Ring Road", -2190, -1460, (0, 0)),
    ("环城西路", "West Ring Road", -2420, -1130, None),
    ("环城西路", "West Ring Road", -2480, -690, (0, 1)),
    ("环城西路", "West Ring Road", -2530, -90, (0, 2)),
    ("环城西路", "West Ring Road", -2480, 980, (0, 4)),
    ("环城北路", "North Ring Road", -2240, 1420, None),
    ("环城北路", "North Ring Road", -1790, 1680, None),
)
_LANES = (  # from the middle of one piece to the middle of another, or a way into the block; kg
    ("铁匠巷", "Blacksmith Lane", ((2, 2), (3, 2)), ((2, 3), (3, 3)), 8_000),
    ("奶食巷", "Dairy Lane", ((4, 2), (5, 2)), ((4, 3), (5, 3)), 8_000),
    ("槐花巷", "Locust Blossom Lane", ((4, 3), (5, 3)), ((4, 3), (4, 4)), 12_000),
    ("柳荫巷", "Willow Shade Lane", ((1, 3), (2, 3)), ((1, 4), (2, 4)), None),
    ("杏林巷", "Apricot Grove Lane", ((3, 1), (4, 1)), ((3, 2), (3, 1)), 8_000),
    ("马市巷", "Horse Market Lane", ((5, 2), (6, 2)), ((5, 3), (6, 3)), None),
    ("毡房巷", "Felt Tent Lane", ((5, 4), (6, 4)), ((5, 5), (6, 5)), None),
    ("清泉巷", "Clear Spring Lane", ((0, 2), (0, 3)), ((1, 2), (1, 3)), None),
    ("星光巷", "Starlight Lane", ((1, 0), (1, 1)), Metres(210, -40), None),
    ("松涛巷", "Pine Wind Lane", ((6, 3), (7, 3)), Metres(-30, 260), None),
    ("百草巷", "Hundred Herbs Lane", ((3, 4), (3, 5)), Metres(-260, 30), None),
    ("月泉巷", "Moon Spring Lane", ((4, 0), (4, 1)), Metres(220, -60), None),
)
_ONE_WAY_LANES = {"铁匠巷", "马市巷"}
_WAYS_OUT = (
    ("工业路", "Industry Road", (Metres(1780, -1760), Metres(2160, -2010), Metres(2560, -2120))),
    ("工业路", "Industry Road", (Metres(2560, -2120), Metres(2880, -2180), Metres(3160, -2130))),
    ("循环路", "Closed Loop Road", (Metres(2560, -2120), Metres(2650, -1830), Metres(2880, -1640))),
    ("北山路", "North Hill Road", (Metres(2060, 1610), Metres(2330, 1880), Metres(2760, 2080), Metres(3080, 2360))),
)
WAYS_OUT = frozenset(name for name, _, _ in _WAYS_OUT)


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    name_en: str
    points: tuple[Metres, ...]
    speed_kmh: int
    oneway: bool = False
    max_mass_kg: int | None = None


@cache
def streets() -> tuple[Street, ...]:
    """All pieces of streets, in the order of their ids."""
    pieces = (*_grid(), *_to_the_ring(), *_ring(), *_lanes(), *_ways_out())
    return tuple(
        Street(
            id=f"st{number:03d}",
            name=piece.name + MARK,
            name_en=piece.name_en + MARK_EN,
            line=tuple(position(at) for at in piece.points),
            oneway=piece.oneway,
            speed_kmh=piece.speed_kmh,
            max_mass_kg=piece.max_mass_kg,
        )
        for number, piece in enumerate(pieces, 1)
    )


def _crossing(node: Node) -> Metres:
    column, row = node
    x, y = _ROADS[column][2], _STREETS[row][2]
    return Metres(
        x + _LEAN_X * y + 90 * (chance(f"crossing {column} {row} x") - 0.5),
        y + _LEAN_Y * x + 70 * (chance(f"crossing {column} {row} y") - 0.5),
    )


def _middle(a: Node, b: Node) -> Metres:
    """The vertex between two crossings, where a lane may begin; a little off the straight line."""
    if through := _THROUGH.get((a, b)):
        return metres(through)
    (ax, ay), (bx, by) = _crossing(a), _crossing(b)
    at = between(Metres(ax, ay), Metres(bx, by), 0.4 + 0.2 * chance(f"middle {a} {b}"))
    bend = 0.05 * (chance(f"bend {a} {b}") - 0.5)
    return Metres(at.x - bend * (by - ay), at.y + bend * (bx - ax))


def _grid() -> Iterator[_Piece]:
    for row, (name, name_en, _) in enumerate(_STREETS):
        for column in range(len(_ROADS) - 1):
            a, b = (column, row), (column + 1, row)
            central = column in _CENTRE_COLUMNS and column + 1 in _CENTRE_COLUMNS
            if (a, b) not in _MISSING:
                yield _between_crossings(name, name_en, a, b, _along_row(row) if central else 0)
    for column, (name, name_en, _) in enumerate(_ROADS):
        for row in range(len(_STREETS) - 1):
            a, b = (column, row), (column, row + 1)
            if (a, b) not in _MISSING:
                yield _between_crossings(name, name_en, a, b, _along_column(column))


def _along_row(row: int) -> int:
    return (row == _EASTBOUND) - (row == _WESTBOUND)


def _along_column(column: int) -> int:
    return (column == _NORTHBOUND) - (column == _SOUTHBOUND)


def _between_crossings(name: str, name_en: str, a: Node, b: Node, way: int) -> _Piece:
    """`way`: 1 is one-way from a to b, -1 from b to a, 0 both ways."""
    points = (_crossing(a), _middle(a, b), _crossing(b))
    speed = 50 if name in _AVENUES else 30 if way else 40
    return _Piece(name, name_en, points[::-1] if way < 0 else points, speed, way != 0, _LIGHT.get((a, b)))


def _to_the_ring() -> Iterator[_Piece]:
    for _, _, x, y, node in _RING:
        if node is not None:
            column, row = node
            east_west = column in {0, len(_ROADS) - 1}
            name, name_en, _ = _STREETS[row] if east_west else _ROADS[column]
            yield _Piece(name, name_en, (_crossing(node), Metres(x, y)), 50)


def _ring() -> Iterator[_Piece]:
    """The ring, clockwise, cut wherever another street meets it."""
    meets = {way[0] for _, _, way in _WAYS_OUT} | {Metres(x, y) for _, _, x, y, node in _RING if node is not None}
    name, name_en, points = "", "", list[Metres]()
    for quarter, quarter_en, x, y, _ in (*_RING, _RING[0]):
        at = Metres(x, y)
        points.append(at)
        if at in meets and len(points) > 1:
            yield _Piece(name, name_en, tuple(points), 60)
            points = [at]
        if len(points) == 1:
            name, name_en = quarter, quarter_en


def _lanes() -> Iterator[_Piece]:
    for name, name_en, start, end, max_mass_kg in _LANES:
        a = _middle(*start)
        b = Metres(a.x + end.x, a.y + end.y) if isinstance(end, Metres) else _middle(*min(end, end[::-1]))
        bend = Metres(0.06 * (b.y - a.y), -0.06 * (b.x - a.x))
        middle = between(a, b, 0.5)
        points = (a, Metres(middle.x + bend.x, middle.y + bend.y), b)
        yield _Piece(name, name_en, points, 20, name in _ONE_WAY_LANES, max_mass_kg)


def _ways_out() -> Iterator[_Piece]:
    for name, name_en, points in _WAYS_OUT:
        yield _Piece(name, name_en, points, 60)
