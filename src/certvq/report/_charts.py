"""The charts of the page, as plotly figures without a theme.

In: a `Run`. Out: `Chart`s: JSON whose colours are CSS variables such as `var(--accent)`, which
`page.js` replaces by those of the theme in force. Must not know the template.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go

from certvq._types import Float64Array, Int64Array, UInt8Array
from certvq.report._colours import hexadecimal
from certvq.runs._read import Photo, Run

_MOST_BARS = 1024
_MOST_POINTS = 400
_LONGEST_LABEL = 18
_LINES = {  # how each split is drawn: colour and width
    "train": ("var(--quiet)", 1.5),
    "validation": ("var(--accent)", 2.5),
}
_FEW_POINTS = 30
_SCALES = {
    "log": {"type": "log", "tickformat": "~g"},
    "linear": {"rangemode": "tozero"},
    "share": {"rangemode": "tozero", "tickformat": ".0%"},
}


class Curves(Protocol):
    """What holds the lines of `metrics.jsonl`."""

    @property
    def metrics(self) -> tuple[dict[str, Any], ...]:
        """The lines."""
        ...


@dataclass(frozen=True)
class Chart:
    """A figure for the page: plotly's JSON, the height in CSS pixels, and what it shows."""

    name: str
    title: str
    figure: str
    height: int
    description: str


def code_histogram(counts: Int64Array, colours: UInt8Array) -> Chart:
    """Draw how often each code occurs, most frequent first, each bar in the colour of its code.

    Args:
        counts: (codebook_size,).
        colours: (codebook_size, 3) RGB; beyond 1024 codes a bar stands for several neighbours.
    """
    order = np.argsort(-counts, kind="stable")
    blocks = np.array_split(order, min(len(order), _MOST_BARS))
    ranks = 1 + np.cumsum([0, *map(len, blocks[:-1])])
    heights = np.array([counts[block].mean() for block in blocks])
    even = float(counts.mean())
    figure = plain_figure(
        go.Bar(
            x=ranks,
            y=heights,
            text=[_bar_name(block) for block in blocks],
            textposition="none",
            marker={"color": hexadecimal(colours[order[ranks - 1]]), "line_width": 0},
            hovertemplate="%{text}: %{y:,} tokens<extra>rank %{x}</extra>",
        ),
        xaxis={"title_text": "code vectors, most frequent first", "showgrid": False},
        # from half a token on: a bar of one token is seen, and a code that never occurs has none
        yaxis={"title_text": "tokens", "range": [-0.3, np.log10(max(even, heights[0], 1)) + 0.05]},
        bargap=0,
    )
    figure.update_yaxes(_SCALES["log"], dtick=1)
    figure.add_hline(y=even, line={"color": "var(--muted)", "width": 1, "dash": "dot"})
    description = (
        f"Bar chart: {int((counts > 0).sum())} of {len(counts)} codes occur, the most frequent one "
        f"{int(counts.max())} times; if all were equally frequent, each would occur {even:.1f} "
        "times."
    )
    return Chart("histogram", "How often each code occurs", figure_json(figure), 280, description)


def _bar_name(codes: Int64Array) -> str:
    return f"code {codes[0]}" if len(codes) == 1 else f"mean of {len(codes)} codes"


def loss_charts(run: Curves) -> tuple[Chart, ...]:
    """Draw the curves of `metrics.jsonl`; a chart without a single number is left out."""
    equal = all(row.get("codebook_loss") == row.get("commitment_loss") for row in run.metrics)
    losses = ["codebook_loss"] if equal else ["codebook_loss", "commitment_loss"]
    charts = (
        _curves(run, ["reconstruction_mse"], "Reconstruction error (mean squared)", "log"),
        _curves(run, losses, "Codebook loss and commitment loss", "log"),
        _curves(run, ["perplexity"], "Perplexity", "linear"),
        _curves(run, ["usage"], "Share of code vectors in use", "share"),
    )
    return tuple(chart for chart in charts if chart is not None)


def _curves(run: Curves, keys: list[str], title: str, scale: str) -> Chart | None:
    figure = plain_figure(xaxis_title_text="step", yaxis=_SCALES[scale], hovermode="x unified")
    drawn: list[Float64Array] = []
    ends: list[str] = []
    for key, dash in zip(keys, ("solid", "dot"), strict=False):
        for split, (colour, width) in _LINES.items():
            steps, values = _series(run.metrics, split, key)
            if not steps.size:
                continue
            label = split if len(keys) == 1 else f"{key.removesuffix('_loss')}, {split}"
            line = {"color": colour, "width": width, "dash": dash}
            mode = "lines+markers" if len(steps) <= _FEW_POINTS else "lines"
            figure.add_scatter(x=steps, y=values, name=label, mode=mode, line=line)
            drawn.append(values)
            ends.append(f"{label} ends at {values[-1]:.4g}")
    if not ends:
        return None
    if scale == "log":
        figure.update_yaxes(dtick=_log_step(np.concatenate(drawn)))
    description = f"Line chart over the training steps: {title}; {'; '.join(ends)}."
    return Chart(keys[0], title, figure_json(figure), 260, description)


def _log_step(values: Float64Array) -> str | int:
    """Label a decade at 1, 2 and 5 where there are few of them, otherwise at 1 alone."""
    positive = values[values > 0]
    few = not positive.size or positive.max() < 200 * positive.min()
    return "D2" if few else 1


def _series(
    metrics: Sequence[dict[str, Any]], split: str, key: str
) -> tuple[Float64Array, Float64Array]:
    rows = [
        (row["step"], row[key])
        for row in metrics
        if row["split"] == split and isinstance(row.get(key), int | float)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    blocks = np.array_split(table, min(len(table), _MOST_POINTS)) if len(table) else []
    means = np.array([block.mean(axis=0) for block in blocks]).reshape(-1, 2)
    return means[:, 0], means[:, 1]


def codec_bars(run: Run, photos: Sequence[Photo]) -> Chart:
    """Draw the PSNR of `photos`, and of all held-out ones together, beside the k-means codec."""
    figures = [photo.figures for photo in photos]
    labels = [*(_short(photo.key) for photo in figures), "all pixels"]
    ours = [*(photo.psnr for photo in figures), run.summary.psnr_heldout]
    rivals = [*(photo.psnr_kmeans for photo in figures), run.summary.psnr_kmeans]
    places = list(range(len(labels)))
    figure = plain_figure(
        # numbers as places: two long names may be the same once they are cut
        yaxis={"tickvals": places, "ticktext": labels, "autorange": "reversed", "showgrid": False},
        xaxis={"title_text": "PSNR in dB (more is better)", "rangemode": "tozero"},
        bargap=0.35,
        bargroupgap=0.08,
    )
    figure.update_yaxes(tickfont_color="var(--ink)")
    _add_bars(figure, places, ours, "this model", "var(--accent)")
    if any(rival is not None for rival in rivals):
        _add_bars(figure, places, rivals, "k-means codec", "var(--rival)")
    description = (
        f"Bar chart of the PSNR of this model and of the k-means codec for {len(figures)} "
        "photographs and for all pixels together; the table below has the same figures."
    )
    title = "PSNR, photograph by photograph"
    return Chart("codec", title, figure_json(figure), 90 + 56 * len(labels), description)


def _add_bars(
    figure: go.Figure, places: list[int], values: Sequence[float | None], name: str, colour: str
) -> None:
    figure.add_bar(
        y=places,
        x=values,
        name=name,
        orientation="h",
        marker_color=colour,
        texttemplate="%{x:.1f}",
        textposition="inside",
        insidetextfont={"color": "var(--on-accent)", "size": 12},
        constraintext="none",
        hovertemplate=f"%{{x:.2f}} dB<extra>{name}</extra>",
    )


def _short(label: str) -> str:
    """Cut a label; plotly would take `<b>` in it for markup."""
    cut = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return html.escape(cut, quote=False)


def plain_figure(*traces: Any, **layout: Any) -> go.Figure:
    """Make a figure in the colours of the page."""
    axis = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "title_font": {"color": "var(--muted)", "size": 13},
        "tickfont_color": "var(--muted)",
        "automargin": True,
        "fixedrange": True,
    }
    figure = go.Figure(traces, layout={"template": "none"})
    figure.update_layout(
        xaxis=axis,
        yaxis=axis,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"bgcolor": "var(--panel)", "font_color": "var(--ink)"},
        legend={"orientation": "h", "x": 0, "y": 1.04, "yanchor": "bottom"},
        dragmode=False,
    )
    return figure.update_layout(**layout)


def figure_json(figure: go.Figure) -> str:
    """Return plotly's JSON of a figure."""
    return str(figure.to_json())  # without an engine argument it is a text, whatever the stub says
