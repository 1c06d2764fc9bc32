"""`certvq assign`: the nearest codes of latents in a file."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Json


def assign(
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help=".npy, (N, D).")],
    codebook: Annotated[
        Path, typer.Argument(metavar="CODEBOOK", help=".npy, (K, D), or a folder of a model.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Receives the codes, .npy, (N,).")],
    backend: Annotated[str, typer.Option(help="Changes the speed, never a code.")] = "auto",
    as_json: Json = False,
) -> None:
    """Assign the nearest code to each latent, certified over the real numbers.

    Example: certvq assign latents.npy codebook.npy --out codes.npy
    """
    from certvq.cli._output import progress_bars, show_figures
    from certvq.jobs import assign_file

    with progress_bars() as progress:
        found = assign_file(latents, codebook, out, backend=backend, progress=progress)
    show_figures(f"The codes are in {out}", found, as_json=as_json)
