"""Time and memory of each layer's forward and backward in train mode, beside the original's class.

In: options. Out: for each cell milliseconds and peak bytes of both, and their ratios, as JSON, and
as a table in a page. Time: one process, the two in turn, medians of rounds, each round begun by
another one and with an untimed call before the timed one. Memory: by how much a fresh process grows
at most in one forward and backward, after one to warm up; the median of three processes.

    python bench/layers.py --rounds 5 --out bench/results/layers.json
    python bench/layers.py --update docs/layers.md     # write the table, too
    python bench/layers.py --cells FSQ-16384           # one cell
    python bench/layers.py --tokens 256 --repeat 20 --threads 1   # small batches, in loops

A forward and backward is that of ``(vectors * weights).sum() + loss`` for latents that want a
gradient; optimisers are left out. Of `RandomProjectionQuantizer`, which learns nothing, it is the
codes that are measured.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

import vector_quantize_pytorch as original

import certvq.nn as vq
from certvq._files.atomic import atomic_path
from certvq.bench._markdown import update_block
from certvq.bench._memory import high_water, reset_high_water
from pairs import MODEST, Pair, Sizes, pairs

SIDES = ("certvq", "original")
PAUSE = 0.05
"""Seconds before a measurement: idle threads of a pool spin for about so long."""

PROCESSES = 3
"""In which memory is measured: what an allocator keeps differs from one to the next."""

TOKENS = 16384
"""In the cells of `MODEST` sizes."""

MAP = 16
"""Tokens along a side of a map."""

SHAPES = ((8192, 8192, 32), (16384, 1024, 64), (65536, 512, 64))
"""N x K x D of the cells of `VectorQuantize`, both sides with their library's defaults."""


@dataclass(frozen=True)
class Cell:
    """What is measured: a pair and a number of tokens."""

    name: str
    tokens: int
    pair: Pair


def cells(tokens: int = TOKENS) -> dict[str, Cell]:
    """Return all cells by name.

    Args:
        tokens: in the cells of `MODEST` sizes; `SHAPES` say how many theirs have.
    """
    found = [
        Cell(f"VectorQuantize-{rows}x{size}x{dim}", rows, plain(size, dim))
        for rows, size, dim in SHAPES
    ]
    if tokens != TOKENS:
        found = [Cell(f"VectorQuantize-{tokens}", tokens, pairs(MODEST)["VectorQuantize"])]
    found += [
        Cell(f"{name}-{tokens}", tokens, pair)
        for name, pair in pairs(MODEST).items()
        if name != "VectorQuantize"
    ]
    found.append(Cell(f"RandomProjectionQuantizer-{tokens}", tokens, projected(MODEST)))
    return {cell.name: cell for cell in found}


def plain(size: int, dim: int) -> Pair:
    """Return the layers with the defaults of their libraries."""
    return Pair(
        "VectorQuantize",
        dim,
        lambda layout, g: vq.VectorQuantize(dim, size, layout=layout, generator=g),
        lambda: original.VectorQuantize(dim=dim, codebook_size=size),
    )


def projected(sizes: Sizes) -> Pair:
    """Return the frozen layers that make targets, whose codes are all that is asked of them."""
    return Pair(
        "RandomProjectionQuantizer",
        sizes.dim,
        lambda layout, g: vq.RandomProjectionQuantizer(
            sizes.dim, sizes.codebook_size, sizes.dim // 4, layout=layout, generator=g
        ),
        lambda: original.RandomProjectionQuantizer(
            dim=sizes.dim, codebook_size=sizes.codebook_size, codebook_dim=sizes.dim // 4
        ),
    )


def prepare(cell: Cell, side: str) -> Callable[[], Any]:
    """Make a layer and its latents, and return one forward and backward; call it once before."""
    torch.manual_seed(0)
    ours = cell.pair.ours(
        "b c h w" if cell.pair.maps else "b n d", torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(1)
    latents, weights = (latents_of(cell, width, generator) for width in (cell.pair.dim, ours.width))
    if isinstance(ours, vq.RandomProjectionQuantizer):
        find = ours.encode if side == "certvq" else cell.pair.theirs()
        return lambda: find(latents)
    layer = (ours if side == "certvq" else cell.pair.adapted()).train()
    latents.requires_grad_()

    def step() -> None:
        latents.grad = None
        layer.zero_grad(set_to_none=True)
        vectors, _, loss = layer(latents)
        ((vectors * weights).sum() + loss).backward()

    return step


def latents_of(cell: Cell, features: int, generator: torch.Generator) -> torch.Tensor:
    """Draw numbers for all tokens of a cell, (b, n, features) or (b, features, h, w)."""
    if cell.pair.maps:
        return torch.randn(cell.tokens // MAP**2, features, MAP, MAP, generator=generator)
    return torch.randn(1, cell.tokens, features, generator=generator)


def times(cell: Cell, rounds: int, repeat: int = 1) -> dict[str, list[float]]:
    """Measure both sides in turn, in seconds.

    Args:
        cell: what is measured.
        rounds: how often.
        repeat: calls of a side in a round, of which the median counts; there is a pause before
            them, and between them none.
    """
    steps = {side: prepare(cell, side) for side in SIDES}
    for step in steps.values():
        step()
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            steps[side]()
            time.sleep(PAUSE)
            found[side].append(statistics.median(_seconds(steps[side]) for _ in range(repeat)))
    return found


def _seconds(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def growth(cell: Cell, side: str) -> int | None:
    """Measure by how many bytes this process grows in one forward and backward."""
    step = prepare(cell, side)
    step()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what the allocator keeps of the first call would hide the second's
        trim(0)
    before = reset_high_water()
    step()
    after = high_water()
    return None if before is None or after is None else max(0, after - before)


def peak(cell: Cell, side: str, threads: int) -> int | None:
    """Take the median of `growth` in fresh processes; None where it failed or is not told."""
    found = [_growth_elsewhere(cell, side, threads) for _ in range(PROCESSES)]
    known = [size for size in found if size is not None]
    return statistics.median_low(known) if len(known) == PROCESSES else None


def _growth_elsewhere(cell: Cell, side: str, threads: int) -> int | None:
    command = [sys.executable, str(Path(__file__)), "--growth", cell.name, side]
    tokens = TOKENS if cell.name in cells() else cell.tokens
    command += ["--threads", str(threads), "--tokens", str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else None


def measure(cell: Cell, *, rounds: int, threads: int, repeat: int = 1) -> dict[str, Any]:
    """Measure the time of a cell, and where calls are not repeated, the memory, too."""
    found = times(cell, rounds, repeat)
    seconds = {side: statistics.median(found[side]) for side in SIDES}
    memory = {side: peak(cell, side, threads) if repeat == 1 else None for side in SIDES}
    ours, theirs = (memory[side] for side in SIDES)
    return {
        "cell": cell.name,
        "milliseconds": {side: 1e3 * seconds[side] for side in SIDES},
        "fastest": {side: 1e3 * min(found[side]) for side in SIDES},
        "speed": seconds["original"] / seconds["certvq"],
        "peak_bytes": memory,
        "memory": None if ours is None or theirs is None else theirs / max(1, ours),
    }


def table(results: list[dict[str, Any]], rounds: int, threads: int, tokens: int = TOKENS) -> str:
    """Write results as Markdown."""
    heads = ["cell", "ms", "original's", "times as fast", "peak MiB", "original's", "times less"]
    lines = [heads, ["---"] * len(heads)]
    digits = ".1f" if tokens >= 4096 else ".3f"
    for one in results:
        memory = [one["peak_bytes"][side] for side in SIDES]
        lines.append(
            [
                one["cell"],
                *(f"{one['milliseconds'][side]:{digits}}" for side in SIDES),
                f"{one['speed']:.1f}",
                *("" if size is None else f"{size / 2**20:.1f}" for size in memory),
                "" if one["memory"] is None else f"{one['memory']:.1f}",
            ]
        )
    text = (
        f"Forward and backward in train mode, medians of {rounds} rounds, {threads} threads, torch "
        f"{torch.__version__}; the cells of other families have {tokens} tokens."
    )
    return text + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure the cells and write the table; exit status 1 if a family is slower."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of all families but for SHAPES")
    parser.add_argument("--cells", nargs="+", help="names of cells, as the table has them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="calls in a round; no memory then")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("bench/results/layers.json"))
    parser.add_argument("--update", type=Path, help="page to write the table into")
    parser.add_argument("--growth", nargs=2, metavar=("CELL", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    known = cells(options.tokens)
    unknown = set(options.cells or ()) - set(known)
    if unknown:
        parser.error(f"--cells must be among {', '.join(known)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    if options.growth:
        name, side = options.growth
        print(json.dumps(growth(known[name], side)))
        return 0
    how = {"rounds": options.rounds, "threads": options.threads, "repeat": options.repeat}
    results = []
    for name in options.cells or known:
        results.append(measure(known[name], **how))
        print(f"{name}: {results[-1]['speed']:.2f} times as fast", file=sys.stderr)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"torch": torch.__version__, "tokens": options.tokens, **how}
    with atomic_path(options.out) as partial:
        partial.write_text(json.dumps({**record, "results": results}, indent=1) + "\n")
    text = table(results, options.rounds, options.threads, options.tokens)
    print(text)
    if options.update:
        update_block(options.update, text)
    return int(any(one["speed"] < 1.0 for one in results))


if __name__ == "__main__":
    sys.exit(main())
