"""`certvq demo`: the main job, from photographs to certified tokens and back."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Channels, Data, Json, Overwrite, Seed


def demo(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Receives model, tokens and page.")],
    data: Data = None,
    channels: Channels = None,
    seconds: Annotated[float, typer.Option(help="Time to train for.")] = 190.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train, turn held-out photographs into certified tokens and back, and show it.

    Every code is audited by exact arithmetic, and the tokens are decoded from their file alone.
    A run that is in DIR already is gone on with; a finished one is not trained again.

    Example: certvq demo --out runs/demo

    Exit status 1: the audit found a wrong code, or decoding did not give back the very pixels.
    """
    from certvq.cli._output import progress_bars, show_figures, warn_skipped
    from certvq.jobs import demo_config, run_demo

    with progress_bars() as progress:
        found = run_demo(
            out,
            data=data,
            config=demo_config(seconds=seconds, seed=seed),
            channels=channels,
            overwrite=overwrite,
            progress=progress,
        )
    warn_skipped(found.skipped)
    show_figures(f"The page is {found.files.report}", found.summary.to_json(), as_json=as_json)
    if not found.summary.ok:
        raise typer.Exit(1)
