"""`certvq decode`: a token file to images."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import ModelDir, Tokens


def decode(
    model_dir: ModelDir,
    tokens: Tokens,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the PNG files.")],
) -> None:
    """Decode a token file to PNG files, from the tokens and the model alone.

    Example: certvq decode runs/demo/model tokens.parquet --out pictures

    Exit status 2, with the others written: the file system does not take some names.
    """
    from certvq.cli._output import progress_bars, warn_skipped
    from certvq.jobs import decode_file

    with progress_bars() as progress:
        found = decode_file(model_dir, tokens, out, progress=progress)
    for path in found.paths:
        typer.echo(path)
    warn_skipped(found.skipped)
    if found.skipped:
        raise typer.Exit(2)
