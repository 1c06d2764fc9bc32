"""The picture of a growth record: time per row over N, over K and over D.

In: a record of `certvq.bench.bench_growth`. Out: the text of an SVG. Must not measure.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

from certvq.errors import BackendUnavailableError

_LETTERS: Final = {"rows": "N", "codebook_size": "K", "dim": "D"}
_LABELS: Final = {
    "rows": "latents N (rows)",
    "codebook_size": "codebook size K (code vectors)",
    "dim": "dimension D (numbers per row)",
}


def growth_picture(record: Mapping[str, Any]) -> str:
    """Draw nanoseconds per row over N, over K and over D, on one logarithmic scale.

    Args:
        record: what `bench_growth` returned.

    Returns:
        The SVG; the same record gives the same text.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendUnavailableError(
            "a picture of growth requires matplotlib, which is not installed; "
            "install it with `pip install 'certvq[bench]'`"
        ) from error
    # Text stays text, and ids do not change from one run to the next.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "certvq", "font.size": 9}):
        figure = Figure(figsize=(4 * len(record["panels"]), 3.5), layout="constrained")
        row = figure.subplots(1, len(record["panels"]), sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, record["panels"], strict=True):
            _draw(axes, panel)
        row[0].set_ylabel("time per row (ns)")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": _describe(record)})
    return text.getvalue()


def _draw(axes: Any, panel: Mapping[str, Any]) -> None:
    grows, points = panel["grows"], panel["points"]
    for place, name in enumerate(
        sorted({name for point in points for name in point["contenders"]})
    ):
        line = [
            (point[grows], entry["nanoseconds_per_row"])
            for point in points
            if "nanoseconds_per_row" in (entry := point["contenders"].get(name, {}))
        ]
        if line:
            axes.plot(*zip(*line, strict=True), marker="o", color=f"C{place}", label=name)
    if axes.lines:
        axes.legend()
    fixed = (
        [f"{_LETTERS[key]} = {points[0][key]:,}" for key in _LETTERS if key != grows]
        if points
        else []
    )
    axes.set(xscale="log", yscale="log", xlabel=_LABELS[grows], title=", ".join(fixed))
    axes.grid(alpha=0.4)


def _describe(record: Mapping[str, Any]) -> str:
    return (
        f"Nanoseconds per row on {record['cpu']}, {record['threads']} threads, "
        f"{record['date'][:10]}: over N, over K and over D"
    )
