"""`certvq tokenize`: images, sounds or latents to a token data set."""

from pathlib import Path
from typing import Annotated, Any

import typer

from certvq.cli._options import Canonical, Json


def tokenize(  # noqa: PLR0913 (a command's options are its arguments)
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a model, .npy codebook, or module:function of your own.",
        ),
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders, globs; .parquet, .tar, .npy and .npz are shards.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the token data set.")],
    column: Annotated[
        str | None,
        typer.Option(help="Of Parquet, WebDataset or .npz.", show_default="the one that fits"),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            metavar="1|2|3",
            help="Convert images; of sounds, 1 mixes down and 2 repeats mono.",
            show_default=False,
        ),
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Scale and cut images to a square.", show_default=False),
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Convert sounds to the model's rate.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(help="Cut sounds into windows of this length.", show_default=False),
    ] = None,
    quantizers: Annotated[
        int | None,
        typer.Option(help="Codebooks of a residual codec.", show_default="the model's own"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    threads: Annotated[int, typer.Option(help="Of the processor for a forward pass.")] = 1,
    group: Annotated[int, typer.Option(help="Inputs of one shape in a forward pass.")] = 1,
    canonical: Canonical = False,
    files_per_part: Annotated[int, typer.Option(help="Single files of a part.")] = 1000,
    batch_size: Annotated[
        int, typer.Option(help="Inputs a worker takes at once; changes no byte.")
    ] = 16,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first input that cannot be used.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make parts again that are damaged.")
    ] = False,
    engine: Annotated[str, typer.Option(metavar="local|ray", help="Where to work.")] = "local",
    concurrency: Annotated[
        int | None, typer.Option(help="Workers.", show_default="as many as there are cores")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster.", show_default="one started here")
    ] = None,
    gpus: Annotated[float, typer.Option(help="Of each Ray worker.")] = 0.0,
    retries: Annotated[int, typer.Option(help="Of a part whose Ray worker died.")] = 3,
    as_json: Json = False,
) -> None:
    """Make a token data set, or finish one: the same command goes on where it was ended.

    Example: certvq tokenize runs/demo/model photographs --out tokens

    Sounds: certvq tokenize models/encodec_24khz 'speech/*.flac' --out tokens --resample

    Long ones, cut: certvq tokenize models/encodec_24khz recordings --out tokens --seconds 30

    On a cluster: certvq tokenize MODEL shards --out tokens --engine ray --address auto --gpus 1

    With --json: a line for each part, then one for the whole set.
    """
    from certvq.cli._job_bar import job_bar
    from certvq.cli._output import show_figures
    from certvq.tokenize import tokenize as run

    with job_bar(as_json=as_json) as watch:
        found = run(
            model,
            sources,
            out,
            column=column,
            channels=channels,
            resize=resize,
            resample=resample,
            seconds=seconds,
            quantizers=quantizers,
            device=device,
            threads=threads,
            group=group,
            canonical=canonical,
            files_per_part=files_per_part,
            batch_size=batch_size,
            strict=strict,
            repair=repair,
            engine=_engine(engine, concurrency, address=address, gpus=gpus, retries=retries),
            watch=watch,
        )
    show_figures(f"The tokens are in {out}", found.figures(), as_json=as_json)


def _engine(name: str, concurrency: int | None, **of_ray: Any) -> Any:
    from certvq.tokenize import LocalEngine, RayEngine

    if name == "ray":
        return RayEngine(concurrency=concurrency, **of_ray)
    if name != "local":
        raise typer.BadParameter(f"must be local or ray, got {name}", param_hint="--engine")
    if of_ray["address"] is not None or of_ray["gpus"]:
        raise typer.BadParameter("is for --engine ray", param_hint="--address, --gpus")
    return LocalEngine(concurrency)
