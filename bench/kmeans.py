"""Time, inertia and memory of k-means from one start: certvq, FAISS, scikit-learn, SciPy.

In: sizes, kinds of data. Out: JSON, and a table. All begin with the same codes, drawn from the
rows, and do the same number of iterations, with two threads each. They take turns, and figures are
medians. certvq computes the inertia of the codebooks that the others return.

    python bench/kmeans.py --cell 100000x1024x32 --kind mixture --rounds 3

Latents of a model are a kind too, in the cell 100000x1024x32, whose last number must be the
model's: `--kind latents --model runs/demo/model`. `--what memory` measures how far each one raises
the memory of a process of its own above what the rows and the libraries take (Linux only);
`--what start` compares k-means++ with scikit-learn's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

import certvq
from certvq.bench import Cell, parse_cell
from certvq.bench._data import of_model
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
KINDS: Final = ("mixture", "uniform", "latents")
OWN: Final = "certvq"


def drawn(cell: Cell, kind: str, model: Path | None = None) -> Array:
    """Draw rows: around as many centres as there are codes, or none, or a model's latents."""
    if kind == "latents":
        if model is None:
            raise SystemExit("--kind latents needs --model")
        latents = of_model(model, cell.rows).latents
        if latents.shape[1] != cell.dim:
            raise SystemExit(f"latents have {latents.shape[1]} numbers, got a cell of {cell.dim}")
        return latents
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


def of_scipy(rows: Array, start: Array, iterations: int) -> Array:
    """SciPy's `kmeans2`, which leaves empty cells alone."""
    from scipy.cluster.vq import kmeans2

    return kmeans2(rows, start, iter=iterations, minit="matrix")[0].astype(np.float32)


RUNS: Final[dict[str, Run]] = {
    OWN: own,
    "faiss": of_faiss,
    "scikit-learn lloyd": of_scikit_learn("lloyd"),
    "scikit-learn elkan": of_scikit_learn("elkan"),
    "scipy": of_scipy,
}


def own_start(rows: Array, start: Array, iterations: int) -> Array:
    """`certvq.kmeans` without an iteration: k-means++, and the codes of all rows."""
    del iterations
    return certvq.kmeans(rows, len(start), iterations=0).codebook


def start_of_scikit_learn(rows: Array, start: Array, iterations: int) -> Array:
    """scikit-learn's greedy k-means++."""
    from sklearn.cluster import kmeans_plusplus

    del iterations
    return kmeans_plusplus(rows, len(start), random_state=0)[0]


STARTS: Final[dict[str, Run]] = {OWN: own_start, "scikit-learn": start_of_scikit_learn}


def inertia(rows: Array, codebook: Array) -> float:
    """Sum the squared distances to the nearest codes."""
    return float(certvq.assign(rows, codebook).sqdist.sum())


def problem(cell: Cell, kind: str, model: Path | None = None) -> tuple[Array, Array]:
    """Draw rows, and the codes to begin with."""
    rows = drawn(cell, kind, model)
    chosen = np.random.default_rng(1).choice(len(rows), cell.codebook_size, replace=False)
    return rows, np.ascontiguousarray(rows[np.sort(chosen)])


def measure(
    runs: dict[str, Run],
    cell: Cell,
    kind: str,
    *,
    rounds: int,
    iterations: int,
    model: Path | None = None,
) -> dict[str, object]:
    """Let all run in turn.

    Returns:
        For each: seconds, the ratio to certvq's, and the inertia as a ratio to certvq's.
    """
    rows, start = problem(cell, kind, model)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    ends = {}
    for _ in range(rounds):
        for name, run in runs.items():
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
            for name in runs
        },
    }


def grown(name: str, cell: Cell, kind: str, iterations: int) -> float:
    """Run one in this process, and return by how many MiB its memory rose at most (Linux)."""
    rows, start = problem(cell, kind)
    status = Path("/proc/self/status")

    def kib(what: str) -> int:
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what))

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kib("VmRSS")
    RUNS[name](rows, start, iterations)
    return (kib("VmHWM") - before) / 1024


def memory(cell: Cell, kind: str, *, threads: int, iterations: int) -> dict[str, object]:
    """Measure the memory of all, each in a process of its own.

    Returns:
        For each: MiB beside the rows and the libraries, and the ratio to certvq's.
    """
    asked = ["--cell", str(cell), "--kind", kind, "--threads", threads, "--iterations", iterations]
    found = {}
    for name in RUNS:
        command = [sys.executable, __file__, *map(str, asked), "--memory-of", name]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(ran.stdout)
    return {
        "cell": str(cell),
        "kind": kind,
        "contenders": {
            name: {"MiB": round(mib, 1), "ratio": round(mib / max(found[OWN], 0.1), 2)}
            for name, mib in found.items()
        },
    }


def table(results: list[dict]) -> str:
    """Write results as Markdown: the measure, and in brackets how many times that of certvq."""
    names = list(results[0]["contenders"])
    lines = [f"| N x K x D | data | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for result in results:
        each = [result["contenders"][name] for name in names]
        unit = next(iter(each[0]))
        cells = " | ".join(f"{one[unit]:g} ({one['ratio']:.1f})" for one in each)
        lines.append(f"| {result['cell'].replace('x', ' x ')} | {result['kind']} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", type=parse_cell, action="append", metavar="NxKxD")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--model", type=Path, help="of whose latents --kind latents are")
    parser.add_argument("--only", choices=RUNS, action="append", help="besides certvq")
    parser.add_argument("--what", choices=("iterations", "memory", "start"), default="iterations")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", choices=RUNS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of scikit-learn, that it did not converge
    runs = STARTS if given.what == "start" else RUNS
    if given.only:
        runs = {name: run for name, run in runs.items() if name in (OWN, *given.only)}
    small = drawn(Cell(64, 2, 2), "mixture")
    for run in runs.values():  # imports the libraries, so that their threads can be limited
        run(small, small[:2].copy(), 1)
    cells, kinds = given.cell or CELLS, given.kind or KINDS[:2]
    with thread_limit(given.threads):
        if given.memory_of is not None:
            print(grown(given.memory_of, cells[0], kinds[0], given.iterations))
            return
        results = [one(runs, given, cell, kind) for cell in cells for kind in kinds]
    if given.out is not None:
        given.out.write_text(json.dumps({**machine(given.threads), "results": results}, indent=2))
    print(table(results))


def one(runs: dict[str, Run], given: argparse.Namespace, cell: Cell, kind: str) -> dict:
    """Measure one problem as the command line says."""
    if given.what == "memory":
        return memory(cell, kind, threads=given.threads, iterations=given.iterations)
    return measure(
        runs, cell, kind, rounds=given.rounds, iterations=given.iterations, model=given.model
    )


if __name__ == "__main__":
    main()
