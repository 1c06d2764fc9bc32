"""A codebook as the Triton kernels want it, on their device.

In: distinct code vectors, exact float64 on the host. Out: `Tables`: float16 numbers in padded rows,
float32 offsets, the exact vectors, and the constants of the bounds. Must not import kernels.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from certvq import bounds
from certvq._triton._plan import Plan, plan
from certvq._types import Float64Array, Int64Array
from certvq.errors import DeviceMemoryError

_PADDING: Final = 2.0**120
"""Offset of the zeros that fill up the last tiles: their scores are below any threshold."""

_SAFE_SCALE: Final = 400

SMALLEST_SQDIST: Final = 2.0**-900
"""Below, a squared distance may have lost terms to underflow."""


@dataclass(frozen=True)
class Tables:
    """What the kernels read of a codebook.

    Attributes:
        plan: the shapes of the blocks.
        dim: D.
        distinct: how many code vectors, U.
        narrow: float16 (codes_padded, padded), ``c'``: centred and scaled.
        offsets: float32 (codes_padded,), ``|c'|^2 / 2``.
        vectors: (U, D) the numbers themselves, float32 where those hold them, else float64.
        lowest: int64 (U,), the index of each in the codebook of the user.
        centre: float64 (D,).
        constants: float64 (8,): scale, residual and norm of the codes, relative error of a score,
            factor less 1 and slack of distances (`certvq.bounds.farther_factor`), inverse scale,
            `SMALLEST_SQDIST`.
    """

    plan: Plan
    dim: int
    distinct: int
    narrow: torch.Tensor
    offsets: torch.Tensor
    vectors: torch.Tensor
    lowest: torch.Tensor
    centre: torch.Tensor
    constants: torch.Tensor

    def nbytes(self) -> int:
        """Return how many bytes of the device they take."""
        tensors = (self.narrow, self.offsets, self.vectors, self.lowest)
        return sum(tensor.nbytes for tensor in tensors)


def narrowed(scaled: Float64Array) -> Float64Array:
    """Round to float16, and to 0 what is below its least normal number; as float64."""
    kept = np.where(np.abs(scaled) < bounds.TENSOR_SMALLEST, 0.0, scaled)
    return kept.astype(np.float32).astype(np.float16).astype(np.float64)


def make_tables(vectors: Float64Array, lowest: Int64Array, device: torch.device) -> Tables | None:
    """Centre and scale a codebook, round it to float16 and measure what that changed.

    Args:
        vectors: float64 (U, D), distinct, on the host, at most 2**400.
        lowest: int64 (U,), their indices in the codebook of the user.
        device: where the kernels run.

    Raises:
        DeviceMemoryError: the device has too little memory for them.

    Returns:
        The tables, or None where the bounds do not cover the codebook: more dims than
        `certvq.bounds.TENSOR_DIM`, or a spread beyond ``2**-400 .. 2**400``.
    """
    distinct, dim = vectors.shape
    shapes = plan(dim, distinct)
    if shapes.padded > bounds.TENSOR_DIM:
        return None
    with np.errstate(all="ignore"):
        centre = vectors.mean(axis=0)
        centred = vectors - centre
        norm = float(bounds.norm_upper(np.einsum("kd,kd->k", centred, centred), dim).max())
        exponent = math.frexp(norm / bounds.TENSOR_CODE_NORM)[1] if centred.any() else 0
        if not (math.isfinite(norm) and abs(exponent) <= _SAFE_SCALE):
            return None
        scaled = np.ldexp(centred, -exponent)
        taken = narrowed(scaled)
        squares = np.einsum("kd,kd->k", taken, taken)
        left = scaled - taken
        residual = bounds.tensor_residual(np.einsum("kd,kd->k", left, left).max(), 1.0)
    code_norm = float(np.sqrt(squares.max()) * (1.0 + 2.0**-30))
    narrow = np.zeros((shapes.codes_padded, shapes.padded), dtype=np.float16)
    narrow[:distinct, :dim] = taken
    offsets = np.full(shapes.codes_padded, _PADDING, dtype=np.float32)
    offsets[:distinct] = 0.5 * squares
    constants = [
        math.ldexp(1.0, -exponent),
        float(residual),
        code_norm,
        bounds.tensor_relative_error(shapes.padded, shapes.names),
        bounds.farther_factor(dim) - 1.0,
        bounds.farther_slack(dim),
        math.ldexp(1.0, exponent),
        SMALLEST_SQDIST,
    ]
    with np.errstate(all="ignore"):
        single = vectors.astype(np.float32)
    exact = single if np.array_equal(single, vectors) else np.ascontiguousarray(vectors)
    try:
        return Tables(
            plan=shapes,
            dim=dim,
            distinct=distinct,
            narrow=torch.from_numpy(narrow).to(device),
            offsets=torch.from_numpy(offsets).to(device),
            vectors=torch.tensor(exact, device=device),
            lowest=torch.tensor(lowest, device=device),
            centre=torch.from_numpy(centre).to(device),
            constants=torch.tensor(constants, dtype=torch.float64, device=device),
        )
    except torch.OutOfMemoryError as error:
        needed = sum(array.nbytes for array in (narrow, offsets, exact, lowest))
        text = (
            f"backend 'triton' needs {needed} free bytes of device memory for {distinct} code "
            f"vectors of dim {dim}; free some, or assign tensors on the CPU ({error})"
        )
        raise DeviceMemoryError(text) from error
