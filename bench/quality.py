"""What does each family make of the same photographs, beside the original's class?

In: options. Out: held-out PSNR and usage of an autoencoder around each quantizer, as JSON, and as a
table in a page. Both sides of a pair have the same encoder and decoder, initialised alike, the same
crops in the same order and the same number of steps; only the quantizer differs. A seed decides the
initialisation and the crops.

    python bench/quality.py --steps 800 --seeds 5 --out bench/results/quality.json
    python bench/quality.py --update docs/quality.md     # write the table, too

Cells that the JSON already holds for the same number of steps are not trained again, unless
`--again` asks for it. The table has every family of which the JSON holds all the seeds, so that one
family alone can be trained anew:

    python bench/quality.py --families "VectorQuantize, cosine" --again --update docs/quality.md
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from scipy import stats

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "examples")]

import train_a_quantizer as example

from certvq._files.atomic import atomic_path
from certvq.bench._markdown import update_block
from pairs import SMALL, Pair, pairs

SIDES = ("certvq", "original")
CONFIDENCE = 0.95


def cell(pair: Pair, side: str, *, seed: int, steps: int, photographs: tuple[list, list]) -> dict:
    """Train and measure one side of a pair with one seed."""
    torch.manual_seed(seed)
    ours = pair.ours("b c h w", torch.Generator().manual_seed(seed))
    quantizer = ours if side == "certvq" else pair.on_maps()
    torch.manual_seed(seed)
    model = example.Autoencoder(quantizer, pair.dim, ours.width)
    train, heldout = photographs
    done = example.fit(model, train, seed=seed, seconds=math.inf, most_steps=steps)
    figures = example.measure(model, heldout, ours.codebook_size, done)
    return {
        "family": pair.name,
        "side": side,
        "seed": seed,
        "steps": done,
        "psnr": figures.psnr,
        "usage": figures.usage,
        "perplexity": figures.perplexity,
    }


def wanted(names: Iterable[str], seeds: int, steps: int) -> Iterable[tuple[str, str, int, int]]:
    """List the cells of a run; the two sides of a seed are neighbours."""
    for seed in range(seeds):
        for name in names:
            for side in SIDES:
                yield name, side, seed, steps


def key(one: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """Return what tells a cell from others."""
    return one["family"], one["side"], one["seed"], one["steps"]


def complete(
    cells: list[dict[str, Any]], names: Iterable[str], seeds: int, steps: int
) -> list[dict[str, Any]]:
    """Choose the cells of the families that have them all, family by family."""
    by_key = {key(one): one for one in cells}
    chosen = []
    for name in names:
        keys = list(wanted([name], seeds, steps))
        if all(each in by_key for each in keys):
            chosen += [by_key[each] for each in keys]
    return chosen


def load(path: Path) -> list[dict[str, Any]]:
    """Read the cells of an earlier run, if there was one."""
    return json.loads(path.read_text())["cells"] if path.exists() else []


def save(path: Path, cells: list[dict[str, Any]]) -> None:
    """Write all cells, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cells": cells}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def worse(ours: list[float], theirs: list[float]) -> bool:
    """Say whether ours is lower beyond the noise of the seeds.

    The two have the same seeds, so that their differences are compared with 0: lower is what the
    one-sided t-test of paired samples calls so with 95 % confidence.
    """
    if len(ours) < 2:
        return False
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    spread = statistics.stdev(differences)
    mean = statistics.fmean(differences)
    if spread == 0.0:
        return mean < 0.0
    critical = stats.t.ppf(CONFIDENCE, len(ours) - 1)
    return mean < -critical * spread / math.sqrt(len(ours))


def table(cells: list[dict[str, Any]]) -> str:
    """Write cells as Markdown, a row for each family."""
    by_family: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for one in sorted(cells, key=lambda one: one["seed"]):
        sides = by_family.setdefault(one["family"], {side: [] for side in SIDES})
        sides[one["side"]].append(one)
    heads = [
        "family",
        "PSNR, dB",
        "original's",
        "usage, %",
        "original's",
        "worse beyond seed noise",
    ]
    lines = [heads, ["---"] * len(heads)]
    for family, sides in by_family.items():
        row = [family]
        verdicts = []
        for name, factor in (("psnr", 1.0), ("usage", 100.0)):
            figures = [[factor * one[name] for one in sides[side]] for side in SIDES]
            row += [spread(each) for each in figures]
            if worse(*figures):
                verdicts.append({"psnr": "PSNR"}.get(name, name))
        lines.append([*row, ", ".join(verdicts) or "no"])
    seeds = len({one["seed"] for one in cells})
    steps = ", ".join(str(step) for step in sorted({one["steps"] for one in cells}))
    text = (
        f"Mean and standard deviation over {seeds} seeds, after {steps} steps of "
        f"{example.BATCH} crops of {example.CROP} x {example.CROP} pixels; "
        f"{SMALL.bits} bits for each token of {example.STRIDE} x {example.STRIDE} pixels."
    )
    return text + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: list[float]) -> str:
    """Write a mean and a standard deviation."""
    if not values:
        return ""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} ± {deviation:.2f}"


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, then write the table; exit status 1 if a family is worse."""
    known = pairs(SMALL)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", nargs="+", choices=known, default=list(known))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("bench/results/quality.json"))
    parser.add_argument("--again", action="store_true", help="train what the JSON holds, too")
    parser.add_argument("--update", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cases = list(wanted(options.families, options.seeds, options.steps))
    old = set(cases) if options.again else set()
    cells = [one for one in load(options.out) if key(one) not in old]
    have = {key(one) for one in cells}
    missing = [case for case in cases if case not in have]
    photographs = example.photographs()
    for number, (name, side, seed, steps) in enumerate(missing, 1):
        one = cell(known[name], side, seed=seed, steps=steps, photographs=photographs)
        cells.append(one)
        save(options.out, cells)
        print(
            f"[{number}/{len(missing)}] {name}, {side}, seed {seed}: {one['psnr']:.2f} dB, "
            f"usage {one['usage']:.1%}",
            file=sys.stderr,
        )
    text = table(complete(cells, known, options.seeds, options.steps))
    print(text)
    if options.update:
        update_block(options.update, text)
    return int(any(line.split(" | ")[-1] != "no |" for line in text.splitlines()[4:]))


if __name__ == "__main__":
    sys.exit(main())
