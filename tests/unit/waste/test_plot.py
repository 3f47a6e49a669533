"""The drawing of a plan: well-formed, whole, needing nothing else, and to be told apart without all colours."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from cityloop_waste.planning import plot
from cityloop_waste.planning.instances import FilePlan, Spot, SpotKind
from cityloop_waste.planning.plot import Caption

SVG = "{http://www.w3.org/2000/svg}"
SPOTS = (
    Spot(0, SpotKind.DEPOT, 0, 0),
    Spot(1, SpotKind.STOP, 1000, 0),
    Spot(2, SpotKind.STOP, 1000, 500),
    Spot(3, SpotKind.STOP, -1000, 250),
    Spot(9, SpotKind.SITE, 0, 500),
)
PLAN = FilePlan(((1, 2, 9), (), (3, 9)))
CAPTION = Caption("a < day & a \x00 half", "cost 3 miles", "ft", ("1: 2 stops", "2: 0 stops", "3: 1 stop"))


def drawn(plan: FilePlan = PLAN, caption: Caption = CAPTION, spots: tuple[Spot, ...] = SPOTS) -> ET.Element:
    """The drawing, parsed."""
    return ET.fromstring(plot.svg(spots, plan, caption))


def points(line: ET.Element) -> list[tuple[float, float]]:
    """The vertices of a polyline."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_it_is_an_svg_that_needs_nothing_else() -> None:
    """No link, no font, no script, no style sheet; a title and what it tells, with nothing that XML does not bear."""
    root = drawn()
    assert root.tag == f"{SVG}svg"
    assert root.attrib["viewBox"].split()[2:] == [root.attrib["width"], root.attrib["height"]]
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "rect", "text", "g", "polyline", "polygon", "circle", "path", "line",
    }  # fmt: skip
    assert not any("href" in name for element in root.iter() for name in element.attrib)
    assert root.findtext(f"{SVG}title") == "a < day & a   half"
    assert root.findtext(f"{SVG}desc") == "cost 3 miles"


def test_every_place_and_every_route_is_there() -> None:
    """Routes that go out with their ways from and to the depot; stops, site and depot each in its form."""
    root = drawn()
    routes = root.findall(f"{SVG}g[@class='route']")
    assert [route.findtext(f"{SVG}title") for route in routes] == ["route 1", "route 3"]
    called, out, home = (points(line) for line in routes[0].findall(f"{SVG}polyline"))
    assert (len(called), out[1], home[0]) == (3, called[0], called[-1])
    assert out[0] == home[1]  # the depot
    assert len(root.findall(f"{SVG}circle[@class='stop']")) == 3
    assert len(root.findall(f"{SVG}polygon[@class='site']")) == 1
    assert len(root.findall(f"{SVG}rect[@class='depot']")) == 1
    assert root.findall(f"{SVG}path[@class='unserved']") == []


def test_north_is_up_and_nothing_leaves_the_paper() -> None:
    """More y in the file is less on paper; places lie within the map."""
    root = drawn()
    spots = {spot.findtext(f"{SVG}title"): spot for spot in root.findall(f"{SVG}circle[@class='stop']")}
    assert float(spots["2"].attrib["cy"]) < float(spots["1"].attrib["cy"])
    assert float(spots["3"].attrib["cx"]) < float(spots["1"].attrib["cx"])
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(0 < float(spot.attrib["cx"]) < width and 0 < float(spot.attrib["cy"]) < height for spot in spots.values())


def test_the_scale_is_as_long_as_it_says() -> None:
    """Two kilometres of map on 900 pixels: the bar of 200 is a tenth of them."""
    root = drawn()
    bar = root.find(f"{SVG}path[@class='scale']")
    assert bar is not None
    left, right = bar.attrib["d"].removeprefix("M").split("H")[0].split()[0], bar.attrib["d"].split("H")[1].split("V")[0]
    told = next(text.text for text in root.findall(f"{SVG}text") if text.text and text.text.endswith(" ft"))
    assert float(right) - float(left) == pytest.approx(float(told.split()[0].replace(",", "")) * 900 / 2000, abs=0.1)


def test_the_legend_names_routes_and_forms() -> None:
    """Each route that goes out, the depot, the site; and how many stops nobody serves, where there are any."""
    legend = [text.text for text in drawn().findall(f"{SVG}text[@class='legend']")]
    assert legend == ["1: 2 stops", "3: 1 stop", "depot", "unload site"]
    lacking = drawn(FilePlan(((1, 9),)), Caption("t", "f", "ft", ("1: 1 stop",)))
    assert len(lacking.findall(f"{SVG}path[@class='unserved']")) == 2
    assert "not served: 2" in [text.text for text in lacking.findall(f"{SVG}text[@class='legend']")]


def test_many_routes_differ_and_the_legend_says_how_many_more() -> None:
    """32 pairs of colour and dash; of 100 routes the legend names 36."""
    assert len({plot.style(number) for number in range(32)}) == 32
    spots = (SPOTS[0], *(Spot(number, SpotKind.STOP, number, number % 7) for number in range(1, 101)))
    root = drawn(FilePlan(tuple((number,) for number in range(1, 101))), Caption("t", "f", "u", [str(n) for n in range(100)]), spots)
    legend = [text.text for text in root.findall(f"{SVG}text[@class='legend']")]
    assert "and 64 routes more" in legend
    assert len(legend) == plot.MOST_NAMED + 2
    height = float(root.attrib["height"])
    assert all(float(text.attrib["y"]) < height for text in root.findall(f"{SVG}text"))


@pytest.mark.parametrize("cone", ["red", "green"])
def test_colours_can_be_told_apart_without_red_or_green(cone: str) -> None:
    """Seen without one kind of cone (Viénot, Brettel and Mollon 1999), any two of the eight still differ by a seventh of the scale."""
    seen = [without(cone, colour) for colour in plot.COLOURS]
    pairs = [(a, b) for number, a in enumerate(seen) for b in seen[:number]]
    assert min(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 for a, b in pairs) > 0.14


def without(cone: str, colour: str) -> tuple[float, ...]:
    """A colour as somebody without a cone sees it; parts of 1, as screens count them."""
    red, green, blue = ((int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5))
    share, rest = (0.11238, 0.00401) if cone == "red" else (0.29275, -0.02234)
    mixed = share * red + (1 - share) * green
    return tuple(max(0.0, part) ** (1 / 2.2) for part in (mixed, mixed, rest * (red - green) + blue))


@pytest.mark.parametrize("spots", [SPOTS[:1], (SPOTS[0], *(Spot(number, SpotKind.STOP, 0, 0) for number in range(1, 9)))])
def test_a_map_without_extent_is_drawn(spots: tuple[Spot, ...]) -> None:
    """All places at one point, or a depot alone."""
    root = drawn(FilePlan(()), Caption("t", "f", "u", ()), spots)
    assert "NaN" not in ET.tostring(root, encoding="unicode")
    assert len(root.findall(f"{SVG}rect[@class='depot']")) == 1


def test_places_that_no_file_has_are_passed_over() -> None:
    """A plan with faults is drawn as far as it can be."""
    root = drawn(FilePlan(((1, 77, 2),)), Caption("t", "f", "u", ("1: 2 stops",)))
    assert [len(points(line)) for line in root.findall(f"{SVG}g/{SVG}polyline")] == [2, 2, 2]
