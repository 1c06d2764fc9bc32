"""The style sheet: text stands out from its ground in both themes."""

import re
from importlib import resources
from itertools import product

import pytest

_SHEET = resources.files("certvq.report").joinpath("page.css").read_text(encoding="utf-8")
_COLOURS = {
    name: themes
    for name, *themes in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", _SHEET
    )
}
_PAIRS = [
    *product(("ink", "muted", "accent", "rival"), ("ground", "panel")),
    ("on-accent", "accent"),
    ("on-accent", "rival"),
    ("alarm", "alarm-ground"),
    ("alarm", "ground"),
    ("ink", "alarm-ground"),
]


def _luminance(colour):
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.rows(("text", "ground"), _PAIRS)
def test_contrast_is_that_of_wcag_aa(text, ground, theme):
    one, other = (_luminance(_COLOURS[name][theme]) for name in (text, ground))
    assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5


def test_every_colour_that_is_used_has_both_themes():
    assert set(re.findall(r"var\(--([\w-]+)\)", _SHEET)) <= set(_COLOURS)
