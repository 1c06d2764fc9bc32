"""Try certvq on random and adversarial numbers for as long as told, against an exact answer.

In: command-line options. Out: rows tried, rows by way of decision, wrong codes; exit status 1 and a
saved `.npz` where a code is wrong or a call fails. The exact answer is computed here, by nothing of
certvq: squared differences in float64 have a small relative error, which settles most rows; what
that leaves open is decided in whole numbers of any length. The compiled kernel takes another
instruction set and number of threads for each case.

    python bench/soak.py --seconds 60 --seed 1 --backend all
    python bench/soak.py --seed 1 --case 812          # one case again
"""

import argparse
import collections
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import certvq
from certvq._native import ISA_VARIABLE, isas

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import torch
except ImportError:
    torch = None
try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

Array = Any
BUDGET = 1 << 24
"""Squared differences in one case, about; adversarial cases have fewer."""
HARD_BUDGET = 1 << 19
SCALE = 500
"""Numbers are scaled to at most 2**SCALE: no square overflows, and few underflow."""


def exact_codes(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Return the lowest index among the nearest code vectors, for float64 numbers."""
    folded, lowest = fold(codebook)
    exponent = int(np.frexp(max(np.abs(latents).max(initial=0.0), np.abs(folded).max()))[1])
    z, c = np.ldexp(latents, SCALE - exponent), np.ldexp(folded, SCALE - exponent)
    codes = np.empty(len(z), np.int64)
    step = max(1, (1 << 17) // len(c))
    for start in range(0, len(z), step):
        rows = slice(start, start + step)
        near = candidates(z[rows], c)
        codes[rows] = near.argmax(1)
        for row in np.flatnonzero(near.sum(1) > 1):
            choice = np.flatnonzero(near[row])
            distances = exact_distances(latents[start + row], folded[choice])
            codes[start + row] = choice[distances.index(min(distances))]
    return lowest[codes]


def fold(codebook: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct code vectors in the order of their lowest indices, and those."""
    _, first = np.unique(codebook + 0.0, axis=0, return_index=True)
    lowest = np.sort(first)
    return codebook[lowest], lowest


def candidates(z: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Mark, in each row, every code vector that may be one of the nearest.

    With u = 2**-53, a computed distance is, relatively, within (D + 2) u (1 + small) of the true
    one: a rounding of each difference (twice, by the square), of each square, D - 1 of the sum.
    Scaling and squares may underflow, by less than D 2**(SCALE - 1070) in all, as all numbers are
    at most 2**SCALE.
    """
    total = np.zeros((len(z), len(c)))
    for column in range(z.shape[1]):
        difference = z[:, column, None] - c[None, :, column]
        difference *= difference
        total += difference
    relative = (z.shape[1] + 8) * 2.0**-52  # more than twice what is needed
    absolute = z.shape[1] * 2.0 ** (SCALE - 1060)
    best = total.min(1, keepdims=True)
    return total * (1 - relative) - absolute <= best * (1 + relative) + absolute


def exact_distances(latent: np.ndarray, vectors: np.ndarray) -> list[int]:
    """Return squared distances in whole numbers, in one common unit."""
    numbers = np.concatenate([latent[None], vectors])
    mantissas, exponents = np.frexp(numbers)
    lowest = int(exponents[numbers != 0].min(initial=2000))
    whole = np.ldexp(mantissas, 53).astype(np.int64).astype(object)
    shifts = np.where(numbers != 0, exponents - lowest, 0).astype(object)
    units = whole << shifts
    return [int(d) for d in ((units[1:] - units[0]) ** 2).sum(1)]


# Generators: (rng, N, K, D) -> latents and codebook in float64, rounded to their types later.

Numbers = tuple[np.ndarray, np.ndarray]


def normal(rng, n, k, d) -> Numbers:
    return rng.standard_normal((n, d)), rng.standard_normal((k, d))


def shifted(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    offset = 10.0 ** rng.uniform(-2, 9) * rng.choice([-1, 1], d)
    return z + offset, c + offset


def offset_1e8(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    return z + 1e8, c + 1e8


def scaled(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    scale = 2.0 ** rng.integers(-1060, 1000)
    return z * scale, c * scale


def clusters(rng, n, k, d) -> Numbers:
    c = rng.standard_normal((k, d))
    return c[rng.integers(0, k, n)] + 10.0 ** rng.uniform(-9, 0) * rng.standard_normal((n, d)), c


def duplicates(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    return z, c[rng.integers(0, max(1, k // 3), k)]


def permuted(rng, n, k, d) -> Numbers:
    """Code vectors are permutations of one; latents with equal entries are as near to all."""
    one = rng.standard_normal(d)
    c = np.array([rng.permutation(one) for _ in range(k)])
    z = np.repeat(rng.standard_normal((n, 1)), d, axis=1)
    nudged = rng.random(n) < 0.3
    z[nudged, 0] = np.nextafter(z[nudged, 0], 2)
    return z, c


def midpoints(rng, n, k, d) -> Numbers:
    """Latents lie halfway between two code vectors, as far as rounding lets them."""
    c = rng.standard_normal((k, d)).astype(np.float16).astype(np.float64)
    return (c[rng.integers(0, k, n)] + c[rng.integers(0, k, n)]) / 2, c


def grid(rng, n, k, d) -> Numbers:
    side = int(rng.integers(1, 5))
    z = rng.integers(-2 * side, 2 * side + 1, (n, d)) / 2
    return z, rng.integers(-side, side + 1, (k, d)).astype(float)


def subnormals(rng, n, k, d) -> Numbers:
    unit = rng.choice([2.0**-1074, 2.0**-149, 2.0**-133, 2.0**-24])
    z, c = rng.integers(-9, 10, (n, d)), rng.integers(-9, 10, (k, d))
    return z * unit, c * unit


def huge_code(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    c[rng.integers(k)] *= 10.0 ** rng.uniform(3, 300)
    return z, c


def huge_column(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    column, scale = rng.integers(d), 10.0 ** rng.uniform(3, 150)
    z[:, column] *= scale
    c[:, column] *= scale
    return z, c


def huge_latents(rng, n, k, d) -> Numbers:
    z, c = normal(rng, n, k, d)
    return z * 10.0 ** rng.uniform(3, 300), c


def mixed_latents(rng, n, k, d) -> Numbers:
    """Each latent has its own size, from far below that of the code vectors to far above."""
    z, c = normal(rng, n, k, d)
    return z * 10.0 ** rng.uniform(-12, 12, (n, 1)), c


def neighbours(rng, n, k, d) -> Numbers:
    """Code vectors differ by few units in the last place."""
    one = rng.standard_normal(d)
    steps = rng.integers(-3, 4, (k, d)) * np.spacing(np.abs(one).astype(np.float32))
    return one + rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-8, 2), one + steps


EASY = (normal, normal, clusters, scaled, mixed_latents)
HARD = (
    shifted,
    offset_1e8,
    duplicates,
    permuted,
    midpoints,
    grid,
    subnormals,
    huge_code,
    huge_column,
    huge_latents,
    neighbours,
)


@dataclass
class Case:
    """One call: what is given to certvq, and the same numbers in float64."""

    label: str
    latents: Array
    codebook: Array
    z: np.ndarray
    c: np.ndarray


def make_case(seed: int, number: int) -> Case:
    """Make a case; the same for the same seed and number."""
    rng = np.random.default_rng([seed, number])
    generators, budget = (EASY, BUDGET) if rng.random() < 0.5 else (HARD, HARD_BUDGET)
    generator: Callable[..., Numbers] = generators[rng.integers(len(generators))]
    n, k, d = shape(rng, budget)
    latents, codebook = generator(rng, n, k, d)
    z, how = given(rng, latents)
    c, how_codebook = given(rng, codebook)
    label = f"{generator.__name__} {n}x{k}x{d}, latents {how}, codebook {how_codebook}"
    return Case(label, z, c, as_float64(z), as_float64(c))


def shape(rng, budget: int) -> tuple[int, int, int]:
    """Draw sizes whose product is near the budget, small K and D more often than large ones.

    A tenth has few dims and many codes, where the kernel sorts the codebook.
    """
    if rng.random() < 0.1:
        d, k = int(rng.integers(1, 7)), round(2 ** rng.uniform(12, 14.2))
    else:
        d = max(1, round(2 ** rng.uniform(0, 6.5) - 0.5))
        k = max(1, round(2 ** rng.uniform(0, 11) - 0.5))
    n = min(1 << 17, max(1, budget // (k * d)))
    return (n if rng.random() < 0.8 else int(rng.integers(1, n + 1))), k, d


def given(rng, numbers: np.ndarray) -> tuple[Array, str]:
    """Round to a type and lay out in memory as some user might."""
    kinds = ["float64", "float32", "float32", "float16"]
    kinds += ["bfloat16"] * bool(ml_dtypes) + ["torch.bfloat16", "torch.float32"] * bool(torch)
    kind = str(rng.choice(kinds))
    layouts: dict[str, Callable[[Array], Array]] = {
        "contiguous": lambda x: x,
        "fortran": lambda x: x.T.clone().T if kind[:5] == "torch" else np.asfortranarray(x),
        "every second column": lambda x: wide(x, kind)[:, ::2],
        "reversed": lambda x: x.flip(0) if kind[:5] == "torch" else x[::-1].copy()[::-1],
    }
    layout = str(rng.choice(list(layouts)))
    return layouts[layout](rounded(numbers, kind)), f"{kind} {layout}"


def rounded(numbers: np.ndarray, kind: str) -> Array:
    """Round to a type, numbers beyond its range to its largest."""
    largest = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": sys.float_info.max}
    most = largest.get(kind.removeprefix("torch."), 3.3895313892515355e38)
    clipped = np.clip(numbers, -most, most)
    if kind[:5] == "torch":
        return torch.from_numpy(clipped).to(getattr(torch, kind[6:]))
    with np.errstate(under="ignore"):
        return clipped.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)


def wide(x: Array, kind: str) -> Array:
    if kind[:5] == "torch":
        return torch.stack([x, torch.ones_like(x)], 2).reshape(len(x), -1)
    return np.stack([x, np.ones_like(x)], 2).reshape(len(x), -1)


def as_float64(x: Array) -> np.ndarray:
    return x.to(torch.float64).numpy() if hasattr(x, "to") else x.astype(np.float64)


def run_case(case: Case, backend: str) -> tuple[np.ndarray, dict[str, int], str]:
    """Return the wrong rows, the ways of decision, and what was raised, if anything."""
    try:
        found = certvq.assign(case.latents, case.codebook, backend=backend)
    except Exception as error:  # noqa: BLE001 (no finite numbers may raise anything)
        return np.arange(len(case.z)), {}, f"{type(error).__name__}: {error}"
    wrong = np.flatnonzero(np.asarray(found.codes) != exact_codes(case.z, case.c))
    return wrong, found.counts(), ""


def save(case: Case, folder: Path, seed: int, number: int, backend: str) -> Path:
    """Write the numbers of a case, and the right codes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"soak-{seed}-{number}-{backend}.npz"
    right = exact_codes(case.z, case.c)
    np.savez(path, latents=case.z, codebook=case.c, codes=right, label=case.label)
    return path


def vary_machine(number: int) -> str:
    """Let the kernel use another instruction set and number of threads for each case."""
    names = isas()
    if not names:
        return ""
    os.environ[ISA_VARIABLE] = names[number % len(names)]
    os.environ["CERTVQ_NUM_THREADS"] = str(1 + number // len(names) % 3)
    return f"{os.environ[ISA_VARIABLE]}, {os.environ['CERTVQ_NUM_THREADS']} threads"


def fast_backends() -> list[str]:
    """Return the backends that can run here and are not slow on purpose."""
    return [name for name in certvq.backends() if name not in {"reference", "lean"} and runs(name)]


def runs(backend: str) -> bool:
    try:
        certvq.assign(np.zeros((1, 1)), np.zeros((1, 1)), backend=backend)
    except certvq.errors.BackendUnavailableError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Try cases until the time is over; 1 if any is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this case only")
    parser.add_argument("--backend", default="auto", help="a name, or all for every fast one")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="for wrong cases")
    options = parser.parse_args(arguments)
    backends = fast_backends() if options.backend == "all" else [options.backend]
    start, number, rows, wrong = time.perf_counter(), 0, 0, 0
    ways: collections.Counter[str] = collections.Counter()
    while number == 0 or time.perf_counter() - start < options.seconds:
        chosen = number if options.case is None else options.case
        machine = vary_machine(chosen)
        case = make_case(options.seed, chosen)
        for backend in backends:
            bad, counts, failure = run_case(case, backend)
            rows += len(case.z)
            wrong += len(bad)
            ways.update(counts)
            if len(bad) or failure:
                path = save(case, options.out, options.seed, chosen, backend)
                print(
                    f"WRONG: seed {options.seed} case {chosen}, {backend} {machine}: {case.label}"
                )
                print(f"  {len(bad)} rows, first {bad[:5].tolist()} {failure}; saved as {path}")
        number += 1
        if options.case is not None:
            break
    seconds = time.perf_counter() - start
    decided = ", ".join(f"{way} {count}" for way, count in ways.items())
    print(
        f"seed {options.seed}, backends {', '.join(backends)}: {number} cases, {rows} rows in "
        f"{seconds:.1f} s ({math.floor(rows / seconds)} rows/s); {decided}; {wrong} wrong codes"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
