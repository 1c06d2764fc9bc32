"""`certvq verify`: is this data set as it was written?"""

from typing import Annotated

import typer

from certvq.cli._options import DataSet, Json


def verify(
    data: DataSet,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove bad parts; the job, run again, makes them anew."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the checksums, digests, ranges and keys of a token data set; no model is needed.

    Example: certvq verify tokens

    Exit status 1: a part is wrong or missing, or a key is there twice.
    """
    from certvq.cli._output import progress_bars, show_verified
    from certvq.tokens import verify_tokens

    with progress_bars() as progress:
        found = verify_tokens(data, repair=repair, progress=progress)
    show_verified(found.to_json(), as_json=as_json)
    if not found.ok:
        raise typer.Exit(1)
