"""The contract suite: cases that every source of certified codes must pass, and others fail.

In: a function from latents and codebook to codes, or the name of a backend. Out: the cases that it
gets wrong, against exact integers, compared by ``==``. For authors of backends; certvq's own tests
run it on every backend. Must not import torch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from certvq._types import Array, Int64Array
from certvq.assign import assign
from certvq.assign._reference import reference_codes
from certvq.errors import CertVQError

_ROWS, _CODES, _DIM = 24, 17, 5


@dataclass(frozen=True)
class ContractCase:
    """Latents and a codebook whose codes are hard to get right.

    Attributes:
        name: what is hard about them.
        latents: (N, D).
        codebook: (K, D).
    """

    name: str
    latents: np.ndarray
    codebook: np.ndarray

    def expected(self) -> Int64Array:
        """Return the lowest nearest codes, by the specification on exact integers."""
        some, place = np.unique(self.latents, axis=0, return_inverse=True)
        return reference_codes(some, self.codebook)[place.ravel()]


def contract_cases(seed: int = 0, *, large: bool = False) -> Iterator[ContractCase]:
    """Yield the cases of the contract suite.

    Args:
        seed: of the random numbers in them.
        large: also many rows, many codes, many dims and long products of these, where a kernel may
            change its method; latents and codes lie around a mean, so that a sloppy one shows.

    Yields:
        Ties, near-ties one unit in the last place apart, offsets, extreme scales, duplicates,
        lattices, subnormals, overflow, thin shapes, every memory layout, in every float type that
        NumPy has.

    Example:
        >>> len({case.name for case in contract_cases()}) == len(list(contract_cases()))
        True
    """
    rng = np.random.default_rng(seed)
    for dtype in (np.float64, np.float32, np.float16):
        yield from _ordinary(rng, dtype)
        yield from _ties(rng, dtype)
        yield from _near_ties(rng, dtype)
    yield from _offsets(rng)
    yield from _scales(rng)
    yield from _shapes(rng)
    yield from _layouts(rng)
    if large:
        yield from _sizes(rng)


def failing_cases(codes_of: Callable[[Array, Array], Array], *, seed: int = 0) -> list[str]:
    """Run the contract suite on a function.

    Args:
        codes_of: takes latents (N, D) and codebook (K, D), returns codes (N,).
        seed: of the cases.

    Returns:
        The names of the cases that it got wrong or refused; empty if it keeps the contract.

    Example:
        >>> import certvq
        >>> failing_cases(lambda z, c: certvq.assign(z, c).codes)
        []
        >>> naive = failing_cases(lambda z, c: ((z[:, None] - c) ** 2).sum(2).argmin(1))
        >>> "near ties float32" in naive
        True
    """
    failing: list[str] = []
    for case in contract_cases(seed, large=True):
        try:
            with np.errstate(all="ignore"):
                codes = np.asarray(codes_of(case.latents, case.codebook))
        except CertVQError:
            failing.append(case.name)
            continue
        if not np.array_equal(codes, case.expected()):
            failing.append(case.name)
    return failing


def check_backend(name: str, *, seed: int = 0) -> list[str]:
    """Run the contract suite on a backend of `certvq.assign`.

    Args:
        name: as `certvq.assign` takes it.
        seed: of the cases.

    Returns:
        The names of the failing cases; empty if it keeps the contract.
    """
    return failing_cases(lambda z, c: assign(z, c, backend=name).codes, seed=seed)


def _ordinary(rng: np.random.Generator, dtype: type) -> Iterator[ContractCase]:
    name = np.dtype(dtype).name
    latents = rng.standard_normal((_ROWS, _DIM)).astype(dtype)
    codebook = rng.standard_normal((_CODES, _DIM)).astype(dtype)
    yield ContractCase(f"normal {name}", latents, codebook)
    yield ContractCase(f"latents are codes {name}", codebook[rng.integers(0, _CODES, 30)], codebook)
    yield ContractCase(f"float64 latents, {name} codebook", latents.astype(np.float64), codebook)
    with_twins = codebook[rng.integers(0, 4, 40)]
    yield ContractCase(f"duplicate codes {name}", latents, with_twins)


def _ties(rng: np.random.Generator, dtype: type) -> Iterator[ContractCase]:
    name = np.dtype(dtype).name
    lattice = rng.integers(-2, 3, (_ROWS, _DIM)).astype(dtype)
    yield ContractCase(f"lattice {name}", lattice, rng.integers(-2, 3, (60, _DIM)).astype(dtype))
    signs = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=dtype)
    zeros = np.array([[0.0, 0.0], [-0.0, 0.0], [0.0, -0.0]], dtype=dtype)
    yield ContractCase(f"all codes tie {name}", zeros, signs[[3, 1, 2, 0]])
    yield ContractCase(f"signed zeros {name}", zeros, zeros[[1, 0, 2]])
    codebook = rng.integers(-8, 9, (_CODES, _DIM)).astype(dtype)
    first, second = rng.integers(0, _CODES, (2, 40))
    midpoints = ((codebook[first] + codebook[second]) / 2).astype(dtype)
    yield ContractCase(f"midpoints {name}", midpoints, codebook)


def _near_ties(rng: np.random.Generator, dtype: type) -> Iterator[ContractCase]:
    name = np.dtype(dtype).name
    codebook = rng.standard_normal((6, _DIM)).astype(dtype)
    first, second = rng.integers(0, 6, (2, 200))
    middle = ((codebook[first] + codebook[second]) / np.dtype(dtype).type(2)).astype(dtype)
    toward = np.where(rng.random(middle.shape) < 0.5, -np.inf, np.inf).astype(dtype)
    yield ContractCase(f"near ties {name}", np.nextafter(middle, toward), codebook)
    base = rng.standard_normal((1, _DIM)).astype(dtype)
    bundle = np.repeat(base, 8, axis=0)
    bundle[np.arange(8), np.arange(8) % _DIM] = np.nextafter(bundle[0, 0], dtype(np.inf))
    latents = rng.standard_normal((_ROWS, _DIM)).astype(dtype)
    yield ContractCase(f"codes one ulp apart {name}", latents, bundle)


def _offsets(rng: np.random.Generator) -> Iterator[ContractCase]:
    for dtype in (np.float64, np.float32):
        for offset in (1e3, 1e8):
            name = f"offset {offset:g} {np.dtype(dtype).name}"
            latents = (rng.standard_normal((60, _DIM)) + offset).astype(dtype)
            codebook = (rng.standard_normal((_CODES, _DIM)) + offset).astype(dtype)
            yield ContractCase(name, latents, codebook)
            far = (rng.standard_normal((_CODES, _DIM)) * 1e-3).astype(dtype)
            yield ContractCase(f"{name}, codebook near 0", latents, far)
    tiny = 1.0 + rng.integers(0, 4, (_CODES, _DIM)) * 2.0**-50
    yield ContractCase("huge offset, gaps of some ulp", tiny[:9] + 2.0**-52, tiny)


def _scales(rng: np.random.Generator) -> Iterator[ContractCase]:
    latents, codebook = rng.standard_normal((_ROWS, _DIM)), rng.standard_normal((_CODES, _DIM))
    for dtype, scales in (
        (np.float64, (1e-308, 1e-320, 1e-160, 1e150, 1e160, 4e307)),
        (np.float32, (1e-38, 1e-44, 1e-20, 1e20, 8e37)),
        (np.float16, (1e-7, 1e4)),
    ):
        for scale in scales:
            name = f"scale {scale:g} {np.dtype(dtype).name}"
            small = (latents * scale).astype(dtype), (codebook * scale).astype(dtype)
            yield ContractCase(name, *small)
    spread = 2.0 ** rng.integers(-500, 500, (_ROWS, _DIM))
    yield ContractCase("coordinates of all magnitudes", latents * spread, codebook * 1e100)
    largest = np.finfo(np.float64).max
    corners = np.where(rng.random((8, _DIM)) < 0.5, -largest, largest)
    yield ContractCase("largest float64", corners, np.vstack([corners[::-1], corners * 0.5]))
    yield ContractCase("float64 latents far below", latents * 1e-300, codebook * 1e300)


def _shapes(rng: np.random.Generator) -> Iterator[ContractCase]:
    for rows, codes, dim in (
        (0, 3, 2),
        (5, 1, 3),
        (40, 9, 1),
        (3, 2, 67),
        (700, 3, 2),
        (2, 2500, 2),
    ):
        latents = rng.standard_normal((rows, dim)).astype(np.float32)
        codebook = rng.standard_normal((codes, dim)).astype(np.float32)
        yield ContractCase(f"shape {rows}x{codes}x{dim}", latents, codebook)


def _layouts(rng: np.random.Generator) -> Iterator[ContractCase]:
    shapes = (2 * _ROWS, 2 * _DIM), (9, _DIM)
    latents, codebook = (rng.standard_normal(shape) + 1e8 for shape in shapes)
    yield ContractCase("every other row and column", latents[::2, ::2], codebook)
    yield ContractCase("reversed", latents[::-1, :_DIM][:, ::-1], codebook[::-1])
    yield ContractCase("column order", np.asfortranarray(latents[:, :_DIM]), codebook)
    yield ContractCase("broadcast row", np.broadcast_to(latents[0, :_DIM], (7, _DIM)), codebook)
    frozen = latents[:, :_DIM].copy()
    frozen.flags.writeable = False
    yield ContractCase("read-only", frozen, codebook)
    yield ContractCase("byte-swapped", frozen.astype(">f8"), codebook.astype(">f4"))
    buffer = np.frombuffer(b"\0" + frozen.tobytes(), dtype=np.uint8)[1:]
    yield ContractCase("misaligned", buffer.view(np.float64).reshape(frozen.shape), codebook)


_SIZES = (
    *((1, 40, 8), (2, 33, 16), (24, 64, 32)),
    *((2100, 17, 64), (5000, 17, 3), (70000, 17, 2)),
    *((24, 1100, 8), (8, 5000, 8), (4, 66000, 2), (300, 4000, 5)),
    *((24, 17, 130), (24, 17, 260), (24, 17, 800)),
)
"""Sizes at which kernels are known, or likely, to take another method.

FAISS asks a BLAS from 20 rows and from 128,000 numbers on, torch's cdist from 26 rows or codes on;
others go by the width of a register, by 1024 or 4096 rows, codes or products, and by what a 16-bit
code holds.
"""


def _sizes(rng: np.random.Generator) -> Iterator[ContractCase]:
    """Yield what a kernel may take by another method, with few different rows."""
    for rows, codes, dim in _SIZES:
        count = min(rows, _ROWS, max(2, 40000 // (codes * dim)))  # exact integers take their time
        some = (rng.standard_normal((count, dim)) + 1000).astype(np.float32)
        codebook = (rng.standard_normal((codes, dim)) * 0.1 + 1000).astype(np.float32)
        name = f"{rows}x{codes}x{dim} at offset 1000 float32"
        latents = some[rng.integers(0, count, rows)]
        yield ContractCase(name, latents, codebook)
