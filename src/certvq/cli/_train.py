"""`certvq train`: train a model on photographs."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Channels, Data, Json, Overwrite


def train(  # noqa: PLR0913 (a command's options are its arguments)
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run directory to write.")],
    data: Data = None,
    channels: Channels = None,
    model: Annotated[
        str | None, typer.Option(help="small or published.", show_default="small")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Maximum number of steps.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit, unless --steps is given.", show_default="150")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Crops per step.", show_default="16")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of crops, px.", show_default="64")] = None,
    codebook_size: Annotated[
        int | None, typer.Option(help="Codes, K.", show_default="the model's")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Of code vectors, D.", show_default="the model's")
    ] = None,
    downsampling: Annotated[
        int | None, typer.Option(help="Pixels per token, px.", show_default="the model's")
    ] = None,
    quantizer: Annotated[
        str | None, typer.Option(help="vq, residual or fsq.", show_default="vq")
    ] = None,
    num_quantizers: Annotated[
        int | None, typer.Option(help="Codebooks of residual.", show_default="4")
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Of each feature of fsq.", show_default="8,5,5,5"),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the schedule.", show_default="0.004")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32-true or bf16-mixed.", show_default="32-true")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, crops and split.", show_default="0")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a VQ-VAE on photographs, measure it on some that are held out, and write its page.

    Example: certvq train --out runs/mine --data photographs --seconds 600

    Several codebooks, or a grid: certvq train --out runs/rvq --quantizer residual
    --num-quantizers 8, or --quantizer fsq --levels 8,5,5,5

    Continue it: certvq train --out runs/mine --data photographs --seconds 900 --resume
    (options that you leave out keep their earlier values)
    """
    from certvq.cli._output import progress_bars, show_figures, warn_skipped
    from certvq.jobs import train_config, train_run
    from certvq.report import write_report

    config = train_config(
        out,
        resume=resume,
        model=model,
        steps=steps,
        seconds=seconds,
        batch_size=batch_size,
        crop=crop,
        codebook_size=codebook_size,
        dim=dim,
        downsampling=downsampling,
        quantizer=quantizer,
        num_quantizers=num_quantizers,
        levels=None if levels is None else _numbers(levels),
        learning_rate=learning_rate,
        precision=precision,
        seed=seed,
    )
    with progress_bars() as progress:
        found = train_run(
            out,
            config,
            data=data,
            channels=channels,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
        figures = found.figures()  # first, as a damaged log is named in its own words
        page = write_report(found.files.root, progress=progress)
    warn_skipped(found.skipped)
    title = f"The model is in {found.files.model}, the page is {page}"
    show_figures(title, figures, as_json=as_json)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError as error:
        wanted = f"must be whole numbers with commas between them, got {text!r}"
        raise typer.BadParameter(wanted, param_hint="--levels") from error
