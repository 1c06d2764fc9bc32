"""`certvq bench`: certvq beside the kernels that people use, and how its time grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Json

bench = typer.Typer(
    no_args_is_help=True, help="Measure: time, memory and wrong codes, beside the peers."
)


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
    isa: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|all",
            help="Instruction set to measure as well, beside FAISS held to it; repeat it.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[bool, typer.Option(help="Measure the peak memory too.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Receives assign.json.", show_default=False),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Receives the tables as Markdown.", show_default=False),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE",
            help="Gets the same tables between bench:begin and bench:end, under this processor.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Time the search for nearest codes, and count wrong codes against the exact answer.

    Example: certvq bench assign --cell 16384x8192x32 --rounds 3

    On latents of a trained model: certvq bench assign --model runs/demo/model --kind latents

    Each instruction set of this machine: certvq bench assign --isa all

    Peers: faiss (with the better of two thresholds), faiss-expert (in a process with the fastest
    environment for FAISS), torch-addmm, torch-cdist, scikit-learn, vector-quantize-pytorch (the
    layer in eval mode) and vector-quantize-pytorch-train (in train mode). A peer that is not
    installed, or for which there is too little memory, is named. A ratio is a peer's time over
    certvq's, from the same run.

    A cell beside the ten: --cell 8192x8192x32

    Exit status 1: the independent checker does not confirm certvq's own answer.
    """
    from certvq._native import isas
    from certvq.bench import CELLS, BenchConfig, parse_cell, require_block, tables, update_block
    from certvq.bench import bench_assign as run
    from certvq.cli._output import progress_bars, show_bench

    _claim((_in_folder(out, "assign.json"), markdown), model)
    if update is not None:
        require_block(update)
    config = BenchConfig(
        cells=tuple(parse_cell(text) for text in cell or ()) or CELLS,
        kinds=tuple(kind or ()),
        model_dir=model,
        names=tuple(contender or ()),
        rounds=rounds,
        threads=threads,
        backend=backend,
        memory=memory,
        isas=tuple(isas()) if "all" in (isa or ()) else tuple(isa or ()),
    )
    with progress_bars() as progress:
        found = run(config, out=out, progress=progress)
    if markdown is not None:
        _write(markdown, tables(found))
    if update is not None:
        update_block(update, tables(found), section=found["cpu"])
    show_bench(found, as_json=as_json)
    if not all(result["confirmed"] for result in found["results"]):
        raise typer.Exit(1)


@bench.command(name="growth")
def bench_growth(  # noqa: PLR0913 (a command's options are its arguments)
    *,
    rows: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Repeat it.", show_default="1e3, 1e4, ... 1e7"),
    ] = None,
    codebook_size: Annotated[
        list[int] | None,
        typer.Option(metavar="K", help="Repeat it.", show_default="64, 256, ... 65536"),
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(metavar="D", help="Repeat it.", show_default="2, 4, ... 512"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 5,
    threads: Annotated[int, typer.Option(help="For every library.")] = 2,
    backend: Annotated[str, typer.Option(help="certvq's.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Receives growth.json.", show_default=False),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Receives the picture.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Time a row as N, K and D grow, beside FAISS where it is installed.

    N grows at K = 1024, D = 32, in blocks of 65536 rows of which only the search is timed; K at
    N = 16384, D = 32; D at N = 16384, K = 4096. FAISS is left out where it would take over 2 s.

    Example: certvq bench growth --out bench/results --svg docs/growth.svg
    """
    from certvq.bench import GrowthConfig, growth_picture
    from certvq.bench import bench_growth as run
    from certvq.cli._output import progress_bars, show_growth

    _claim((_in_folder(out, "growth.json"), svg), None)
    given = {"rows": rows, "codebook_sizes": codebook_size, "dims": dim}
    chosen = {name: tuple(values) for name, values in given.items() if values}
    config = GrowthConfig(**chosen, rounds=rounds, threads=threads, backend=backend)
    with progress_bars() as progress:
        found = run(config, out=out, progress=progress)
    if svg is not None:
        _write(svg, growth_picture(found))
    show_growth(found, as_json=as_json)


def _claim(outputs: Sequence[Path | None], model: Path | None) -> None:
    from certvq._files.claim import claim_file

    for path in outputs:
        if path is not None:
            claim_file(path, inputs=() if model is None else (model,))


def _in_folder(out: Path | None, name: str) -> Path | None:
    return (
        None if out is None or out.is_file() else out / name
    )  # a file is refused by the measuring


def _write(path: Path, text: str) -> None:
    from certvq._files.atomic import atomic_path

    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
