"""The tokens of a run over the real numbers, for the page.

In: a `Run`. Out: figures in words, and the chart of margins; None where the run has none. Must not
know the template.
"""

from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array
from certvq.report._charts import Chart, figure_json, plain_figure
from certvq.report._words import count, percent
from certvq.runs._read import Run

_POINTS = 400
_DASHES = ("dot", "dash", "dashdot")


@dataclass(frozen=True)
class RunRow:
    """One rounded run: its name, how many codes are the canonical ones, and what share."""

    name: str
    same: str
    other: str
    share: str
    moved: str


@dataclass(frozen=True)
class CanonicalView:
    """What the page says of canonical codes.

    Attributes:
        tokens: how many are decided.
        open: how many are not.
        rungs: names and counts of how they were decided.
        least: the least margin.
        rows: rounded runs.
        chart: the margins of all tokens; None where the run does not hold them.
    """

    tokens: str
    open: int
    rungs: tuple[tuple[str, str], ...]
    least: str
    rows: tuple[RunRow, ...]
    chart: Chart | None


def canonical_view(run: Run) -> CanonicalView | None:
    """Put the canonical codes of a run into words and a chart."""
    found = run.summary.canonical
    if found is None:
        return None
    total = run.summary.codes_total
    rows = tuple(
        RunRow(
            name,
            count(total - each.other_codes),
            count(each.other_codes),
            percent(each.other_codes / max(1, total)),
            f"{each.moved:.2g}",
        )
        for name, each in found.runs.items()
    )
    known = [photo.margin.ravel() for photo in run.photos if photo.margin is not None]
    margins = np.concatenate([np.zeros(0), *known])
    left = found.decided_by["open"]
    return CanonicalView(
        tokens=count(total - left),
        open=left,
        rungs=tuple((way.upper(), count(n)) for way, n in found.decided_by.items()),
        least=f"{found.least_margin:.2g}",
        rows=rows,
        chart=_margin_chart(margins, {n: each.moved for n, each in found.runs.items()}),
    )


def _margin_chart(margins: Float64Array, moved: dict[str, float]) -> Chart | None:
    """Draw which share of tokens has a margin below x, and how far rounded runs move latents."""
    ordered = np.sort(margins[(margins > 0) & np.isfinite(margins)])
    if not ordered.size:
        return None
    ranks = np.unique(np.geomspace(1, ordered.size, _POINTS).round().astype(np.int64))
    figure = plain_figure(
        xaxis={"title_text": "margin of a token, in units of the latents", "type": "log"},
        yaxis={"title_text": "share of tokens with less", "type": "log"},
    )
    figure.update_xaxes(tickformat=".0e", dtick=1)
    figure.update_yaxes(tickformat="~p", dtick=1)
    figure.add_scatter(
        x=ordered[ranks - 1],
        y=ranks / margins.size,
        name="margins",
        mode="lines",
        line={"color": "var(--accent)", "width": 2.5},
    )
    lines = [(name, far) for name, far in moved.items() if far > 0]
    for (name, far), dash in zip(lines, _DASHES, strict=False):
        figure.add_scatter(
            x=[far, far],
            y=[1 / margins.size, 1],
            name=f"{name} moves latents",
            mode="lines",
            line={"color": "var(--muted)", "width": 1.5, "dash": dash},
        )
    description = (
        f"Line chart: the margins of {ordered.size:,} tokens go from {ordered[0]:.2g} to "
        f"{ordered[-1]:.2g}, with the median {float(np.median(ordered)):.2g}; "
        + "; ".join(f"{name} moves a latent by {far:.2g} in the median" for name, far in lines)
        + "."
    )
    return Chart("margins", "Margins of the canonical codes", figure_json(figure), 320, description)
