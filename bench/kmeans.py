"""Time and inertia of k-means from one start: certvq, FAISS, scikit-learn.

In: sizes, kinds of data. Out: JSON, and a table. All begin with the same codes, drawn from the
rows, and do the same number of iterations, with two threads each. They take turns, and figures are
medians. certvq computes the inertia of the codebooks that the others return.

    python bench/kmeans.py --cell 100000x1024x32 --kind mixture --rounds 3
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

import certvq
from certvq.bench import Cell, parse_cell
from certvq.bench._report import machine
from certvq.bench._threads import thread_limit

Array: TypeAlias = NDArray[np.float32]
Run: TypeAlias = Callable[[Array, Array, int], Array]
"""Rows (N, D), the codes at the start (K, D) and iterations to a codebook (K, D)."""

CELLS: Final = (
    Cell(100_000, 1024, 32),
    Cell(300_000, 256, 16),
    Cell(60_000, 4096, 64),
    Cell(1_000_000, 64, 8),
    Cell(2_000_000, 16, 2),
)
KINDS: Final = ("mixture", "uniform")
OWN: Final = "certvq"


def drawn(cell: Cell, kind: str) -> Array:
    """Draw rows: around as many centres as there are codes, or without any."""
    rng = np.random.default_rng(0)
    if kind == "uniform":
        return rng.random((cell.rows, cell.dim), np.float32)
    centres = rng.standard_normal((cell.codebook_size, cell.dim), np.float32)
    rows = centres[rng.integers(0, len(centres), cell.rows)]
    return rows + 0.3 * rng.standard_normal(rows.shape, np.float32)


def own(rows: Array, start: Array, iterations: int) -> Array:
    """`certvq.kmeans`, which leaves empty cells alone as the original Lloyd does."""
    return certvq.kmeans(
        rows, len(start), start=start, iterations=iterations, empty="keep"
    ).codebook


def of_faiss(rows: Array, start: Array, iterations: int) -> Array:
    """FAISS `Kmeans` on all rows; it stops early unless it is told not to."""
    import faiss

    options = {
        "niter": iterations,
        "max_points_per_centroid": len(rows),
        "min_points_per_centroid": 1,
    }
    if hasattr(faiss.ClusteringParameters(), "early_stop_threshold"):
        options["early_stop_threshold"] = -1
    found = faiss.Kmeans(rows.shape[1], len(start), **options)
    found.train(rows, init_centroids=start)
    return found.centroids


def of_scikit_learn(algorithm: str) -> Run:
    """Return scikit-learn's `KMeans` by Lloyd's or Elkan's algorithm."""

    def run(rows: Array, start: Array, iterations: int) -> Array:
        from sklearn.cluster import KMeans

        found = KMeans(
            len(start), init=start, n_init=1, max_iter=iterations, tol=0.0, algorithm=algorithm
        )
        return found.fit(rows).cluster_centers_.astype(np.float32)

    return run


RUNS: Final[dict[str, Run]] = {
    OWN: own,
    "faiss": of_faiss,
    "scikit-learn lloyd": of_scikit_learn("lloyd"),
    "scikit-learn elkan": of_scikit_learn("elkan"),
}


def inertia(rows: Array, codebook: Array) -> float:
    """Sum the squared distances to the nearest codes."""
    return float(certvq.assign(rows, codebook).sqdist.sum())


def measure(cell: Cell, kind: str, *, rounds: int, iterations: int) -> dict[str, object]:
    """Let all run in turn.

    Returns:
        For each: seconds, the ratio to certvq's, and the inertia as a ratio to certvq's.
    """
    rows = drawn(cell, kind)
    chosen = np.random.default_rng(1).choice(len(rows), cell.codebook_size, replace=False)
    start = np.ascontiguousarray(rows[np.sort(chosen)])
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    ends = {}
    for _ in range(rounds):
        for name, run in RUNS.items():
            begin = time.perf_counter()
            ends[name] = run(rows, start, iterations)
            seconds[name].append(time.perf_counter() - begin)
    times = {name: statistics.median(each) for name, each in seconds.items()}
    base = inertia(rows, ends[OWN])
    return {
        "cell": str(cell),
        "kind": kind,
        "contenders": {
            name: {
                "seconds": round(times[name], 3),
                "ratio": round(times[name] / times[OWN], 2),
                "inertia": round(inertia(rows, ends[name]) / base, 5),
            }
            for name in RUNS
        },
    }


def table(results: list[dict]) -> str:
    """Write results as Markdown: seconds, and in brackets how many times as long as certvq."""
    lines = [f"| N x K x D | data | {' | '.join(RUNS)} |", "| --- " * (len(RUNS) + 2) + "|"]
    for result in results:
        each = [result["contenders"][name] for name in RUNS]
        cells = " | ".join(f"{one['seconds']:g} ({one['ratio']:.1f})" for one in each)
        lines.append(f"| {result['cell'].replace('x', ' x ')} | {result['kind']} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=parse_cell, action="append", metavar="NxKxD")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of scikit-learn, that it did not converge
    small = Cell(64, 2, 2)
    for run in RUNS.values():  # imports the libraries, so that their threads can be limited
        run(drawn(small, "mixture"), drawn(small, "mixture")[:2].copy(), 1)
    with thread_limit(given.threads):
        results = [
            measure(cell, kind, rounds=given.rounds, iterations=given.iterations)
            for cell in given.cell or CELLS
            for kind in given.kind or KINDS
        ]
    if given.out is not None:
        given.out.write_text(json.dumps({**machine(given.threads), "results": results}, indent=2))
    print(table(results))


if __name__ == "__main__":
    main()
