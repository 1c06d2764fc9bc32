"""`certvq export`: a data set for another loader."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import DataSet


def export(
    data: DataSet,
    *,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="npy, webdataset, mds or datasets.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Absent, or empty.")],
) -> None:
    """Write a token data set as arrays of NumPy, WebDataset, MDS or a Hugging Face data set.

    Example: certvq export tokens --to webdataset --out shards
    """
    from certvq.cli._output import progress_bars
    from certvq.tokens import export_tokens

    with progress_bars() as progress:
        export_tokens(data, out, to, progress=progress)
    typer.echo(out)
