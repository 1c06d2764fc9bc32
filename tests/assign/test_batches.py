"""Codes do not depend on the batch: one set of latents handed over in many ways, every backend."""

import numpy as np
import pytest
import torch

import certvq
from certvq import _native
from certvq.assign._reference import reference_codes

ROWS, CODES, DIM = 70, 40, 6

BACKENDS = [
    *(("native", isa) for isa in _native.isas() or [""]),
    *((name, "") for name in certvq.backends() if name not in {"native", "triton", "lean"}),
    ("float32", ""),
]
"""Each backend, the native one under each instruction set of the processor. Lean, which takes
minutes for a call, is left out; Triton's interpreter has fewer ways in `test_triton.py`."""


def float32_argmin(latents, codebook):
    """Propose codes that are often wrong, and others in another batch: centred at its mean."""
    rows, codes = (
        each.double().numpy() if isinstance(each, torch.Tensor) else np.float64(each)
        for each in (latents, codebook)
    )
    rows = np.clip(rows, -1e4, 1e4)
    centre = rows.mean(axis=0)
    rows, codes = np.float32(rows - centre), np.float32(codes - centre)
    return ((codes * codes).sum(1) - 2 * rows @ codes.T).argmin(1)


@pytest.fixture(params=BACKENDS, ids=lambda each: "-".join(filter(None, each)))
def codes_of(request, monkeypatch):
    """Give a function from latents and codebook to the codes of one backend."""
    name, isa = request.param
    if isa:
        monkeypatch.setenv("CERTVQ_ISA", isa)
    if name == "float32":
        certvq.register_backend(name, float32_argmin)

    def codes_of(latents, codebook):
        return np.asarray(certvq.assign(latents, codebook, backend=name).codes)

    yield codes_of
    if name == "float32":
        certvq.unregister_backend(name)


def hard(rng, dtype):
    """Give latents around a mean, half-way between code vectors, and exactly tied ones."""
    codebook = (rng.standard_normal((CODES, DIM)) + 30).astype(dtype)
    codebook[-8:] = rng.integers(29, 32, (8, DIM))
    codebook[3] = codebook[-1]
    left, right = codebook[rng.integers(0, CODES, (2, ROWS))].astype(np.float64)
    latents = ((left + right) / 2).astype(dtype)
    latents[::3] = (rng.standard_normal((len(latents[::3]), DIM)) + 30).astype(dtype)
    latents[1::3] = np.nextafter(latents[1::3], dtype(np.inf))
    latents[5::9] = rng.integers(58, 64, (len(latents[5::9]), DIM)) / 2
    return latents, codebook


def pieces(size):
    def split(latents, codes_of):
        return np.concatenate(
            [codes_of(latents[at : at + size]) for at in range(0, len(latents), size)]
        )

    return split


def overlapping(latents, codes_of):
    """Each piece sees the end of the one before."""
    found = []
    for at in range(0, len(latents), 10):
        before = min(at, 5)
        found.append(codes_of(latents[at - before : at + 10])[before:])
    return np.concatenate(found)


def padded(latents, codes_of):
    rows = np.concatenate([latents, np.zeros((31, DIM), latents.dtype)])
    return codes_of(rows)[: len(latents)]


def beside_extremes(latents, codes_of):
    """Among rows so large and so small that a shared scale would not hold."""
    limits = np.finfo(latents.dtype)
    loud = np.full((7, DIM), limits.max / 4)
    quiet = np.full((7, DIM), limits.smallest_subnormal)
    rows = np.concatenate([loud, latents, quiet]).astype(latents.dtype)
    return codes_of(rows)[7:-7]


def beside_others(latents, codes_of):
    """Each row twice, with a different neighbour on either side."""
    order = np.random.default_rng(5).permutation(len(latents))
    codes = codes_of(np.stack([latents, latents[order]], axis=1).reshape(-1, DIM))
    assert (codes[1::2] == codes[::2][order]).all()
    return codes[::2]


def shuffled(latents, codes_of):
    order = np.random.default_rng(6).permutation(len(latents))
    codes = np.empty(len(latents), dtype=np.int64)
    codes[order] = codes_of(latents[order])
    return codes


def backwards(latents, codes_of):
    return codes_of(latents[::-1])[::-1]


def strided(latents, codes_of):
    """Every other row and column of a larger array, the rest of which is NaN."""
    wide = np.full((2 * len(latents), 2 * DIM), np.nan, dtype=latents.dtype)
    wide[::2, 1::2] = latents
    return codes_of(wide[::2, 1::2])


def by_columns(latents, codes_of):
    return codes_of(np.asfortranarray(latents))


def as_tensor(latents, codes_of):
    return codes_of(torch.from_numpy(latents.copy()).T.contiguous().T)


WAYS = {
    **{f"pieces of {size}": pieces(size) for size in (1, 2, 3, 7, 64)},
    "overlapping": overlapping,
    "padded": padded,
    "beside extremes": beside_extremes,
    "beside others": beside_others,
    "shuffled": shuffled,
    "backwards": backwards,
    "strided": strided,
    "by columns": by_columns,
    "as tensor": as_tensor,
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_codes_do_not_depend_on_the_batch(codes_of, dtype, rng):
    latents, codebook = hard(rng, dtype)
    expected = reference_codes(latents, codebook)
    assert (codes_of(latents, codebook) == expected).all()
    for name, way in WAYS.items():
        codes = way(latents, lambda rows: codes_of(rows, codebook))
        assert (codes == expected).all(), name


def test_bfloat16_codes_do_not_depend_on_the_batch(codes_of, rng):
    latents, codebook = (torch.from_numpy(each).bfloat16() for each in hard(rng, np.float32))
    expected = reference_codes(latents.double().numpy(), codebook.double().numpy())
    for size in (len(latents), 1, 2, 3, 7, 64):
        codes = [codes_of(each, codebook) for each in latents.split(size)]
        assert (np.concatenate(codes) == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_argmin_in_float32_fails_this_test(dtype, rng):
    """The latents are hard enough: what is proposed is wrong, and differs between the ways."""
    latents, codebook = hard(rng, dtype)
    found = [way(latents, lambda rows: float32_argmin(rows, codebook)) for way in WAYS.values()]
    assert max((codes != reference_codes(latents, codebook)).sum() for codes in found) > 0
    assert len({codes.tobytes() for codes in found}) > 3
