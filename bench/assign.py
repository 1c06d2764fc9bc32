"""Time `certvq.assign` against the uncertified kernels that people use, and count wrong codes.

In: command-line options. Out: a table, and JSON in bench/results. Every contender runs in the same
process, on the same numbers, in alternating rounds; a figure is the median of the rounds. Wrong
codes are counted against certvq's answer, which the independent checker confirms on a sample.

    python bench/assign.py --cell 16384x8192x32 --rounds 5
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch
from sklearn.metrics import pairwise_distances_argmin

import certvq

CELLS = ("16384x8192x32", "65536x512x64", "16384x1024x256", "16384x8192x8")
SAMPLE = 256

Contender = Callable[[np.ndarray, np.ndarray], np.ndarray]


def certvq_numpy(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return certvq.assign(latents, codebook, backend="numpy").codes


def certvq_torch(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    tensors = torch.from_numpy(latents), torch.from_numpy(codebook)
    return certvq.assign(*tensors, backend="torch").codes.numpy()


def scikit_learn(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return pairwise_distances_argmin(latents, codebook)


def faiss_flat(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)
    return index.search(latents, 1)[1][:, 0]


def torch_addmm(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    z, c = torch.from_numpy(latents), torch.from_numpy(codebook)
    return torch.addmm(-0.5 * (c * c).sum(1), z, c.T).max(1).indices.numpy()


def torch_cdist(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    z, c = torch.from_numpy(latents), torch.from_numpy(codebook)
    return torch.cdist(z, c).argmin(1).numpy()


CONTENDERS: dict[str, Contender] = {
    "certvq numpy": certvq_numpy,
    "certvq torch": certvq_torch,
    "scikit-learn": scikit_learn,
    "faiss IndexFlatL2": faiss_flat,
    "torch addmm + max": torch_addmm,
    "torch cdist + argmin": torch_cdist,
}


def measure(cell: str, rounds: int, offset: float) -> dict[str, object]:
    """Time every contender on one cell, in alternating rounds."""
    rows, codes, dim = (int(part) for part in cell.split("x"))
    rng = np.random.default_rng(0)
    latents = (rng.standard_normal((rows, dim)) + offset).astype(np.float32)
    codebook = (rng.standard_normal((codes, dim)) + offset).astype(np.float32)
    certified = certvq.assign(latents, codebook)
    sample = rng.choice(rows, min(SAMPLE, rows), replace=False)
    confirmed = certvq.audit(latents[sample], codebook, certified.codes[sample]).ok
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    wrong: dict[str, int] = {}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            start = time.perf_counter()
            found = contender(latents, codebook)
            times[name].append(time.perf_counter() - start)
            wrong[name] = int((found != certified.codes).sum())
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "cell": cell,
        "offset": offset,
        "decided_by": certified.counts(),
        "sample_confirmed_by_checker": confirmed,
        "milliseconds": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "times_certvq_numpy": {
            n: round(v / medians["certvq numpy"], 3) for n, v in medians.items()
        },
        "wrong_codes": wrong,
    }


def main() -> None:
    """Measure the cells and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", action="append", help="NxKxD, may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--offset", type=float, default=0.0, help="added to all numbers")
    parser.add_argument("--out", type=Path, default=Path("bench/results/assign.json"))
    options = parser.parse_args()
    results = []
    for cell in options.cell or CELLS:
        result = measure(cell, options.rounds, options.offset)
        results.append(result)
        print(f"\n{cell} float32, offset {options.offset:g}, {result['decided_by']}")
        for name, milliseconds in result["milliseconds"].items():
            ratio, wrong = result["times_certvq_numpy"][name], result["wrong_codes"][name]
            print(f"  {name:22} {milliseconds:9.2f} ms  {ratio:6.2f} x  {wrong:6} wrong")
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
