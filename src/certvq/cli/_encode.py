"""`certvq encode`: images to a token file."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Canonical, Channels, Json, ModelDir


def encode(
    model_dir: ModelDir,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Files or folders.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The token file to write.")],
    channels: Channels = None,
    canonical: Canonical = False,
    as_json: Json = False,
) -> None:
    """Encode images to certified tokens.

    The codes of a model with one codebook are audited by exact arithmetic. The file of any other,
    and of canonical codes, is a token data set of one part.

    Example: certvq encode runs/demo/model photographs --out tokens.parquet

    The same codes on every machine: certvq encode MODEL photographs --out FILE --canonical

    Exit status 1: the audit found a wrong code.
    """
    from certvq.cli._output import progress_bars, show_figures, warn_skipped
    from certvq.jobs import encode_images

    with progress_bars() as progress:
        options = {"channels": channels, "canonical": canonical}
        found = encode_images(model_dir, images, out, progress=progress, **options)
    warn_skipped(found.skipped)
    show_figures(f"The tokens are in {out}", found.figures, as_json=as_json)
    if found.figures.get("audit_violations"):
        raise typer.Exit(1)
