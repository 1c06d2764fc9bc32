"""`certvq kmeans`: a codebook for latents in files."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Json


def kmeans(  # noqa: PLR0913 (a command's options are its arguments)
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...", help=".npy, .npz, .parquet or folders of .parquet; read as one."
        ),
    ],
    *,
    codes: Annotated[int, typer.Option(help="How many code vectors.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Receives the codebook, .safetensors or .npy.")
    ],
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of Parquet files, or array of .npz files.",
            show_default="the only one",
        ),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="WAY", help="k-means++, k-means|| or random.")
    ] = "k-means++",
    iterations: Annotated[int, typer.Option(help="At most.")] = 25,
    tolerance: Annotated[
        float, typer.Option(help="End when the inertia falls by no more than this share.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the start.")] = 0,
    metric: Annotated[str, typer.Option(help="euclidean or cosine.")] = "euclidean",
    empty: Annotated[
        str, typer.Option(metavar="WAY", help="Of cells without a row: split, keep or raise.")
    ] = "split",
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=".npy, (N,).", show_default="each row counts 1"),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds each iteration; if it exists, the run goes on from there.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Receives a page: inertia, sizes of cells.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find a codebook by k-means, the same one on every machine.

    Example: certvq kmeans latents.npy --codes 4096 --out codebook.safetensors

    Then: certvq assign latents.npy codebook.safetensors --out codes.npy
    """
    from certvq.cli._output import progress_bars, show_figures
    from certvq.jobs import kmeans_files

    with progress_bars() as progress:
        found = kmeans_files(
            data,
            out,
            codes,
            column=column,
            weights=weights,
            checkpoint=checkpoint,
            page=page,
            progress=progress,
            start=start,
            iterations=iterations,
            tolerance=tolerance,
            seed=seed,
            metric=metric,
            empty=empty,
        )
    show_figures(f"The codebook is in {out}", found, as_json=as_json)
