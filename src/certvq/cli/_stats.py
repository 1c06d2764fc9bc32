"""`certvq stats`: how the codes of a data set are spread, and what they cost."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import DataSet, Json


def stats(
    data: DataSet,
    *,
    histogram: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Draw how often each code occurs; the page opens offline.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the codes of a token data set: usage, perplexity, entropy and rate.

    Example: certvq stats tokens --histogram codes.html
    """
    from certvq.cli._output import progress_bars, show_figures
    from certvq.tokens import token_stats, write_histogram

    with progress_bars() as progress:
        found = token_stats(data, progress=progress)
    if histogram is not None:
        write_histogram(found, histogram)
    show_figures(f"The tokens of {data}", found.to_json(), as_json=as_json)
