"""`certvq audit`: are these codes the nearest ones?"""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Channels, Json

_ARRAY = {"metavar": "FILE", "show_default": False}


def audit(  # noqa: PLR0913 (a command's options are its arguments)
    model_dir: Annotated[
        Path | None, typer.Argument(metavar="MODEL_DIR", help="Folder of the model.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Argument(metavar="TOKENS", help="Token file or token data set.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGES...", help="Its images, or its sources.")
    ] = None,
    *,
    latents: Annotated[Path | None, typer.Option(help=".npy, (N, D).", **_ARRAY)] = None,
    codebook: Annotated[
        Path | None, typer.Option(help=".npy, (K, D), or a folder of a model.", **_ARRAY)
    ] = None,
    codes: Annotated[Path | None, typer.Option(help=".npy, integers (N,).", **_ARRAY)] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Inputs of a token data set to try.", show_default="all of them"),
    ] = None,
    channels: Channels = None,
    as_json: Json = False,
) -> None:
    """Audit codes by exact arithmetic: each must be the lowest of the nearest ones.

    Of a token file: certvq audit runs/demo/model tokens.parquet photographs

    Of a token data set, which is made again and compared:
    certvq audit MODEL tokens SOURCES --rows 100

    Of arrays: certvq audit --latents z.npy --codebook c.npy --codes codes.npy

    Prints the row, the code, the nearest code and the excess squared distance of each violation.
    The latents of a token file are computed anew from the images.

    Exit status 1: there is a violation.
    """
    from certvq.cli._output import progress_bars, show_set_audit, show_violations, warn_skipped

    if model_dir and tokens and images and _is_data_set(tokens):
        from certvq.tokenize import audit_set

        with progress_bars() as progress:
            made = audit_set(str(model_dir), tokens, images, rows=rows, progress=progress)
        show_set_audit(made.to_json(), as_json=as_json)
        if not made.ok:
            raise typer.Exit(1)
        return
    if rows is not None:
        raise typer.BadParameter("is for a token data set", param_hint="--rows")
    with progress_bars() as progress:
        if model_dir and tokens and images and not (latents or codebook or codes):
            from certvq.jobs import audit_tokens

            found = audit_tokens(model_dir, tokens, images, channels=channels, progress=progress)
        elif latents and codebook and codes and not model_dir:
            from certvq.jobs import audit_arrays  # needs NumPy alone

            found = audit_arrays(latents, codebook, codes, progress=progress)
        else:
            text = "give MODEL_DIR TOKENS IMAGES..., or all of --latents, --codebook and --codes"
            raise typer.BadParameter(text)
    warn_skipped(found.skipped)
    show_violations(found.to_json(), as_json=as_json)
    if not found.ok:
        raise typer.Exit(1)


def _is_data_set(tokens: Path) -> bool:
    from certvq.tokens import is_data_set

    return is_data_set(tokens)
