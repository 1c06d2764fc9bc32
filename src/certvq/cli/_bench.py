"""`certvq bench assign`: certvq beside the kernels that people use."""

from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Json

bench = typer.Typer(
    no_args_is_help=True, help="Measure: time, memory and wrong codes, beside the peers."
)


@bench.callback()
def _only_commands() -> None:
    """Keep `assign` a command of its own: with one command and no callback Typer would drop it."""


@bench.command(name="assign")
def bench_assign(  # noqa: PLR0913 (a command's options are its arguments)
    *,
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="NxKxD", help="Latents x codes x dim; repeat it.", show_default="ten"),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="normal, sphere, latents or offset-latents; repeat it.",
            show_default="all, without a model the first two",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a model, for the latents.", show_default=False),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(help="Peer to measure beside certvq; repeat it.", show_default="all"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 5,
    threads: Annotated[int, typer.Option(help="For every library.")] = 2,
    backend: Annotated[str, typer.Option(help="certvq's.")] = "auto",
    memory: Annotated[bool, typer.Option(help="Measure the peak memory too.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Receives assign.json.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Time the search for nearest codes, and count wrong codes against the exact answer.

    Example: certvq bench assign --cell 16384x8192x32 --rounds 3

    On latents of a trained model: certvq bench assign --model runs/demo/model --kind latents

    Peers: faiss, torch-addmm, torch-cdist, scikit-learn, vector-quantize-pytorch; one that is not
    installed is named. A ratio is a peer's time over certvq's, from the same run.

    Exit status 1: the independent checker does not confirm certvq's own answer.
    """
    from certvq.bench import CELLS, BenchConfig, parse_cell
    from certvq.bench import bench_assign as run
    from certvq.cli._output import progress_bars, show_bench

    config = BenchConfig(
        cells=tuple(parse_cell(text) for text in cell or ()) or CELLS,
        kinds=tuple(kind or ()),
        model_dir=model,
        names=tuple(contender or ()),
        rounds=rounds,
        threads=threads,
        backend=backend,
        memory=memory,
    )
    with progress_bars() as progress:
        found = run(config, out=out, progress=progress)
    show_bench(found, as_json=as_json)
    if not all(result["confirmed"] for result in found["results"]):
        raise typer.Exit(1)
