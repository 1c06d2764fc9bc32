"""Pictures with logarithmic axes."""

import math
from xml.etree import ElementTree as ET

import pytest

from certvq.bench._svg import HEIGHT, WIDTH, Panel, picture

FLAT = Panel("one", "x (m)", "y (s)", {"a & b": [(1e3, 20.0), (1e5, 20.0)], "c": [(1e3, 70.0)]})
STEEP = Panel("two", "x (m)", "y (s)", {"c": [(2.0, 10.0), (4.0, 100.0), (8.0, 1000.0)]})


def drawn(*panels):
    """Return the groups of the panels; that the text is XML at all is tested by the way."""
    root = ET.fromstring(picture(panels, "x < y"))  # noqa: S314 (our own text)
    assert root.find("{*}title").text == "x < y"
    assert root.get("viewBox") == f"0 0 {WIDTH * len(panels)} {HEIGHT}"
    return root.findall("{*}g")


def texts(group):
    return [text.text for text in group.iter("{http://www.w3.org/2000/svg}text")]


def circles(group):
    found = group.iter("{http://www.w3.org/2000/svg}circle")
    return [(one.get("class"), float(one.get("cx")), float(one.get("cy"))) for one in found]


def test_axes_have_titles_units_and_numbers():
    group = drawn(FLAT)[0]
    assert {"one", "x (m)", "y (s)", "a & b", "c", "10³", "10⁵", "20", "50"} <= set(texts(group))


def test_equal_ratios_are_equal_distances_and_small_is_below():
    (_, x1, y1), (_, x2, y2), (_, x3, y3) = circles(drawn(STEEP)[0])
    assert math.isclose(x2 - x1, x3 - x2, abs_tol=0.11)
    assert math.isclose(y2 - y1, y3 - y2, abs_tol=0.11)
    assert y3 < y2 < y1 < HEIGHT
    assert 0 < x1 < x3 < WIDTH


def test_all_panels_have_one_scale_upwards():
    first, second = drawn(FLAT, STEEP)
    at = dict(zip([20.0, 20.0, 70.0], [y for _, _, y in circles(first)], strict=True))
    assert circles(second)[-1][2] < at[70.0] < at[20.0] < circles(second)[0][2]


def test_a_name_has_one_colour_and_follows_light_and_dark():
    first, second = drawn(FLAT, STEEP)
    assert [kind for kind, _, _ in circles(first)] == ["f0", "f0", "f1"]
    assert {kind for kind, _, _ in circles(second)} == {"f1"}
    text = picture([FLAT], "")
    assert "prefers-color-scheme: dark" in text
    assert 'class="paper"' in text


def height(group, name):
    found = group.iter("{http://www.w3.org/2000/svg}text")
    return next(float(text.get("y")) for text in found if text.text == name)


@pytest.mark.parametrize("short", [False, True])
def test_the_name_of_the_lower_line_is_below_all_of_it(short):
    upper = [(1.0, 30.0), (10.0, 300.0), (100.0, 3000.0)]
    lower = [(x, y / 3) for x, y in upper]
    group = drawn(Panel("", "", "", {"low": lower, "high": upper[:2] if short else upper}))[0]
    ends = [y for kind, _, y in circles(group) if kind == "f0"]
    assert height(group, "low") > ends[-1] + 10
    assert height(group, "high") < min(y for kind, _, y in circles(group) if kind == "f1")


def test_lines_that_share_no_place_are_named_apart():
    group = drawn(Panel("", "", "", {"a": [(1.0, 9.0)], "b": [(2.0, 1.0)]}))[0]
    (_, _, upper), (_, _, lower) = circles(group)
    assert height(group, "a") < upper < lower < height(group, "b")


def test_numbers_that_would_run_together_are_thinned():
    points = [(10_001.0 + 1000 * i, 1.0) for i in range(20)]
    shown = [text for text in texts(drawn(Panel("t", "x", "y", {"a": points}))[0]) if "," in text]
    assert 2 <= len(shown) < 10


@pytest.mark.parametrize("lines", [{}, {"a": []}])
def test_a_panel_without_points_says_so(lines):
    empty, full = drawn(Panel("one", "x", "y", lines), STEEP)
    assert texts(empty) == ["one", "x", "y", "not measured yet"]
    assert "not measured yet" not in texts(full)
