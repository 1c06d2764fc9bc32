"""`certvq decode`: a token file or a token data set to images, or sounds."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import ModelDir, Tokens


def decode(
    model_dir: ModelDir,
    tokens: Tokens,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the files.")],
    keys: Annotated[
        list[str] | None,
        typer.Option("--keys", help="Of a token data set; may be given again.", show_default="all"),
    ] = None,
) -> None:
    """Decode tokens to PNG or WAV files, from the tokens and the model alone.

    Example: certvq decode runs/demo/model tokens.parquet --out pictures

    Of a token data set: certvq decode models/encodec tokens --out sounds --keys speech/0001

    Exit status 2, with the others written: the file system does not take some names.
    """
    from certvq.cli._output import progress_bars, warn_skipped
    from certvq.tokens import is_data_set

    with progress_bars() as progress:
        if is_data_set(tokens):
            from certvq.tokenize import decode_set

            found = decode_set(str(model_dir), tokens, out, keys=keys, progress=progress)
        elif keys:
            raise typer.BadParameter("is for a token data set", param_hint="--keys")
        else:
            from certvq.jobs import decode_file

            found = decode_file(model_dir, tokens, out, progress=progress)
    for path in found.paths:
        typer.echo(path)
    warn_skipped(found.skipped)
    if found.skipped:
        raise typer.Exit(2)
