"""Arguments and options that several commands share.

In: nothing. Out: annotated types for Typer.
"""

from pathlib import Path
from typing import Annotated

import typer

ModelDir = Annotated[
    Path, typer.Argument(metavar="MODEL_DIR", help="Folder of the model, such as run/model.")
]
Tokens = Annotated[Path, typer.Argument(metavar="TOKENS", help="The token file.")]
DataSet = Annotated[Path, typer.Argument(metavar="DIR", help="A token data set, or a token file.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
Canonical = Annotated[
    bool,
    typer.Option("--canonical", help="Make the codes that the network has over the real numbers."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Images to use; without it, the photographs that scikit-image and scikit-learn carry.",
        show_default=False,
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        metavar="1|3",
        help="Convert all images to grey (1) or colour (3).",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Of weights, crops and split.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
