"""`certvq encode`: images to a token file."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Channels, Json, ModelDir


def encode(
    model_dir: ModelDir,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Files or folders.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The token file to write.")],
    channels: Channels = None,
    as_json: Json = False,
) -> None:
    """Encode images to certified tokens.

    The codes of a model with one codebook are audited by exact arithmetic. The file of any other
    is a token data set of one part.

    Example: certvq encode runs/demo/model photographs --out tokens.parquet

    Exit status 1: the audit found a wrong code.
    """
    from certvq.cli._output import progress_bars, show_figures, warn_skipped
    from certvq.jobs import encode_images

    with progress_bars() as progress:
        found = encode_images(model_dir, images, out, channels=channels, progress=progress)
    warn_skipped(found.skipped)
    show_figures(f"The tokens are in {out}", found.figures, as_json=as_json)
    if found.figures.get("audit_violations"):
        raise typer.Exit(1)
