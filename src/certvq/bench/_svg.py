"""Panels with logarithmic axes as one SVG picture.

In: panels of named lines. Out: the text of an SVG that has its own background and follows the
reader's light or dark mode. Must not know what is measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH: Final = 380
HEIGHT: Final = 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 40, 54

_STYLE: Final = """
  .paper { fill: #ffffff } .ink { fill: #1c2024 } .grid { stroke: #d9dde2 }
  .line { fill: none; stroke-width: 2 } text { font: 12px system-ui, sans-serif }
  .title, .name { font-weight: 600 }
  .s0 { stroke: #1f5fbf } .f0 { fill: #1f5fbf } .s1 { stroke: #a8480a } .f1 { fill: #a8480a }
  .s2 { stroke: #0f7a4d } .f2 { fill: #0f7a4d }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14171a } .ink { fill: #e8eaed } .grid { stroke: #3a4047 }
    .s0 { stroke: #7fb3ff } .f0 { fill: #7fb3ff } .s1 { stroke: #ffad6b } .f1 { fill: #ffad6b }
    .s2 { stroke: #66d19e } .f2 { fill: #66d19e }
  }
"""
_COLOURS: Final = 3


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: above it.
        x_label: what goes to the right, with its unit.
        y_label: what goes up, with its unit.
        lines: points (x, y), both positive, x increasing, by the name written at the line; a name
            has the same colour in every panel.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]


def picture(panels: Sequence[Panel], description: str) -> str:
    """Draw panels beside each other, all with the same scale upwards.

    Args:
        panels: at least one; one without points says that it is empty.
        description: for those who do not see it.

    Returns:
        The SVG.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    heights = [y for panel in panels for points in panel.lines.values() for _, y in points]
    upwards = _Axis.over(heights, HEIGHT - _BOTTOM, _TOP)
    drawn = [
        f'<g transform="translate({WIDTH * place},0)">\n{_panel(panel, names, upwards)}\n</g>'
        for place, panel in enumerate(panels)
    ]
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img">\n'
        f"<title>{escape(description)}</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="paper" width="{width}" height="{HEIGHT}"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


@dataclass(frozen=True)
class _Axis:
    """Numbers from `low` to `high`, by their logarithms, to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        """Span all values with a margin of a twelfth of the length at either side."""
        low, high = (min(values), max(values)) if values else (1.0, 10.0)
        margin = max(high / low, 2.0) ** (1 / 10)
        return cls(low / margin, high * margin, start, end)

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def decades(self) -> list[float]:
        """Return powers of ten, with twice and five times of them where those are few."""
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = self._within([10.0**e for e in exponents])
        return (
            found
            if len(found) > 2
            else self._within([f * 10.0**e for e in exponents for f in (1, 2, 5)])
        )

    def _within(self, values: Sequence[float]) -> list[float]:
        return [value for value in values if self.low <= value <= self.high]


def _panel(panel: Panel, names: Sequence[str], upwards: _Axis) -> str:
    across = _Axis.over(
        [x for points in panel.lines.values() for x, _ in points], _LEFT, WIDTH - _RIGHT
    )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts = [_text(panel.title, middle, 22, "ink title", "middle")]
    parts.append(_text(panel.x_label, middle, HEIGHT - 14, "ink", "middle"))
    centre = (_TOP + HEIGHT - _BOTTOM) / 2
    turned = f' transform="rotate(-90 16 {centre:.1f})"'
    parts.append(_text(panel.y_label, 16, centre, "ink", "middle", turned))
    if not any(panel.lines.values()):
        return "\n".join([*parts, _text("not measured yet", middle, centre, "ink", "middle")])
    for value in upwards.decades():
        y = upwards(value)
        parts.append(_grid(_LEFT, y, WIDTH - _RIGHT, y))
        parts.append(_text(_number(value), _LEFT - 6, y + 4, "ink", "end"))
    for value in _marks(panel):
        x = across(value)
        parts.append(_grid(x, _TOP, x, HEIGHT - _BOTTOM))
        parts.append(_text(_number(value), x, HEIGHT - _BOTTOM + 16, "ink", "middle"))
    below = _lowest(panel)
    for name, points in panel.lines.items():
        if points:
            places = [(across(x), upwards(y)) for x, y in points]
            parts.append(_line(name, places, names.index(name) % _COLOURS, below=name == below))
    return "\n".join(parts)


def _line(name: str, places: Points, colour: int, *, below: bool) -> str:
    """Draw a line, its points and, at the last of them, its name."""
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path class="line s{colour}" d="{path}"/>']
    parts += [f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in places]
    x = places[-1][0]
    passed = _heights(places, x - 8 * len(name))
    y = max(passed) + 16 if below else min(passed) - 10
    parts.append(_text(name, x, y, f"f{colour} name", "end"))
    return "\n".join(parts)


def _heights(places: Points, left: float) -> list[float]:
    """Return how high a line is from `left` to its end, at its points and where it enters."""
    found = [places[-1][1]]
    for (x1, y1), (x2, y2) in zip(places[-2::-1], places[:0:-1], strict=True):
        if x1 <= left:
            return [*found, y1 + (y2 - y1) * (left - x1) / (x2 - x1)]
        found.append(y1)
    return found


def _lowest(panel: Panel) -> str | None:
    """Name the line whose name stands below it: the lower one where the others end."""
    lines = {name: dict(points) for name, points in panel.lines.items() if points}
    if len(lines) < 2:
        return None
    shared = set.intersection(*(set(points) for points in lines.values()))
    if not shared:
        return min(lines, key=lambda name: list(lines[name].values())[-1])
    return min(lines, key=lambda name: lines[name][max(shared)])


def _marks(panel: Panel) -> list[float]:
    """Return where points are, every second one where their numbers would run together."""
    values = sorted({x for points in panel.lines.values() for x, _ in points})
    space = (WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    widest = max(8 * len(_number(value)) for value in values)
    return values[:: math.ceil(widest / space)]


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(text: str, x: float, y: float, kind: str, anchor: str, more: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
        f"{escape(text)}</text>"
    )


def _number(value: float) -> str:
    """Write powers of ten from 1,000 on as such, other numbers in full."""
    exponent = round(math.log10(value))
    if value >= 1000 and math.isclose(value, 10.0**exponent):
        return "10" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
