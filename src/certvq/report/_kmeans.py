"""The page of a codebook: how the inertia fell, and how large the cells are.

In: what `certvq.kmeans` found. Out: one HTML file that opens offline. Must not read the data.
"""

from pathlib import Path
from typing import Final

import numpy as np
import plotly.graph_objects as go

from certvq.cluster import KMeansResult, Stopped
from certvq.report._charts import Chart, figure_json, plain_figure
from certvq.report._page import write_page

_MOST_BARS: Final = 1024
_REASONS: Final = {
    Stopped.CONVERGED: "the codebook repeats itself",
    Stopped.TOLERANCE: "the inertia fell by less than the tolerance",
    Stopped.ITERATIONS: "all were done",
}


def write_kmeans_page(path: Path, found: KMeansResult, *, data: str) -> None:
    """Write the page of a codebook.

    Args:
        path: receives the page, whole or not at all.
        found: what is shown.
        data: what the rows came from, in words.

    Raises:
        OSError: the page cannot be written.
    """
    content = {"data": data, "figures": _figures(found), "charts": (_curve(found), _sizes(found))}
    write_page(path, "kmeans.html.j2", content)


def _figures(found: KMeansResult) -> list[tuple[str, str, str]]:
    first, last = found.history[0], found.inertia
    share = f"{1 - last / first:.1%} below the start" if first > 0 else "0 from the start on"
    moved = int(found.splits.sum())
    return [
        ("Rows", f"{int(found.counts.sum()):,}", ""),
        ("Codes", f"{len(found.counts):,}", f"{len(found.empty):,} of them with an empty cell"),
        ("Inertia", f"{last:.6g}", share),
        ("Iterations", f"{found.iterations:,}", _REASONS[found.stopped]),
        ("Codes moved", f"{moved:,}", "from empty cells to costly ones"),
    ]


def _curve(found: KMeansResult) -> Chart:
    figure = plain_figure(
        go.Scatter(
            x=list(range(len(found.history))),
            y=found.history,
            mode="lines+markers" if len(found.history) <= 60 else "lines",
            line={"color": "var(--accent)", "width": 2.5},
            hovertemplate="%{y:.6g}<extra>iteration %{x}</extra>",
        ),
        xaxis_title_text="iteration",
        yaxis_title_text="inertia",
    )
    text = (
        f"Line chart: the inertia falls from {found.history[0]:.6g} to {found.inertia:.6g} in "
        f"{found.iterations} iterations."
    )
    return Chart("inertia", "Inertia of each codebook", figure_json(figure), 260, text)


def _sizes(found: KMeansResult) -> Chart:
    ordered = np.sort(found.counts)[::-1]
    blocks = np.array_split(ordered, min(len(ordered), _MOST_BARS))
    ranks = 1 + np.cumsum([0, *map(len, blocks[:-1])])
    figure = plain_figure(
        go.Bar(
            x=ranks,
            y=[block.mean() for block in blocks],
            marker={"color": "var(--accent)", "line_width": 0},
            hovertemplate="%{y:,} rows<extra>rank %{x}</extra>",
        ),
        xaxis={"title_text": "cells, largest first", "showgrid": False},
        yaxis={"title_text": "rows", "rangemode": "tozero"},
        bargap=0,
    )
    text = (
        f"Bar chart: the largest of {len(ordered)} cells has {int(ordered[0])} rows, the middle "
        f"one {int(ordered[len(ordered) // 2])}, the smallest {int(ordered[-1])}."
    )
    return Chart("sizes", "Rows of each cell", figure_json(figure), 260, text)
