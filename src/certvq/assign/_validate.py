"""Refuse what the contract does not cover, before anything is computed.

In: arrays of any library that `_arrays` knows. Out: nothing, or a named error with the numbers.
Must not import backends.
"""

import numpy as np

from certvq._native import ieee754
from certvq._types import Array
from certvq.assign._arrays import dtype_name, is_torch, to_host, wrapper_of
from certvq.errors import DTypeError, FloatEnvironmentError, NonFiniteError, ShapeError

FLOATS = ("float64", "float32", "bfloat16", "float16")


def require_matrix(array: Array, name: str) -> None:
    """Require a two-dimensional array of floats.

    Args:
        array: what the user gave.
        name: what to call it in the error.

    Raises:
        ShapeError: its rank is not 2, or its rows have no entry.
        DTypeError: its numbers are not float64, float32, bfloat16 or float16.
    """
    _require_numbers(array, name)
    if len(array.shape) != 2:
        text = (
            f"{name} must have two axes (rows, dim), got shape {tuple(array.shape)}; "
            f"reshape it, for example to (-1, dim)"
        )
        raise ShapeError(text)
    if array.shape[1] == 0:
        text = f"{name} must have at least one column, got shape {tuple(array.shape)}"
        raise ShapeError(text)
    if dtype_name(array) not in FLOATS:
        text = f"{name} must be one of {', '.join(FLOATS)}, got {dtype_name(array)}; convert it"
        raise DTypeError(text)


def _require_numbers(array: Array, name: str) -> None:
    if not is_torch(array):
        return
    kind = "nested" if array.is_nested else "quantized" if array.is_quantized else str(array.layout)
    if kind != "torch.strided" or array.is_meta:
        how = {"nested": ".to_padded_tensor(0) of it", "quantized": ".dequantize() of it"}
        text = (
            f"{name} must be a dense tensor with numbers, got a {kind} one on {array.device}; "
            f"take {'one elsewhere' if array.is_meta else how.get(kind, '.to_dense() of it')}"
        )
        raise DTypeError(text)
    if (wrapper := wrapper_of(array)) is not None:
        text = f"{name} must be a dense tensor with numbers, got a {wrapper}; {UNWRAP}"
        raise DTypeError(text)


UNWRAP = "take .full_tensor() or .to_local() of a DTensor, .get_data() of a MaskedTensor"
"""What to do with the tensors that `certvq.assign._arrays.wrapper_of` names."""


def require_finite(array: Array, name: str) -> None:
    """Require that no entry is NaN or infinite.

    Args:
        array: NumPy array or torch tensor, (N, D).
        name: what to call it in the error.

    Raises:
        NonFiniteError: naming the first bad row and column and how many entries are bad.
    """
    if is_torch(array) and array.device.type == "cpu":
        array = to_host(array)  # torch's threads hang in a child that was forked
    if is_torch(array):
        import torch

        finite = torch.isfinite(array)
        if bool(finite.all()):
            return
        bad = torch.nonzero(~finite)
        first, count = (int(i) for i in bad[0]), len(bad)
    else:
        if np.isfinite(array).all():
            return
        bad = np.argwhere(~np.isfinite(array))
        first, count = (int(i) for i in bad[0]), len(bad)
    row, column = first
    value = float(array[row, column])
    text = (
        f"{name} must be finite, got {value} at row {row}, column {column} "
        f"({count} bad entries in all); find where they arise before quantizing"
    )
    raise NonFiniteError(text)


def require_codebook(codebook: Array) -> None:
    """Require a matrix of floats with at least one row.

    Raises:
        ShapeError: wrong rank, no row or no column.
        DTypeError: numbers that are not floats.
    """
    require_matrix(codebook, "codebook")
    if codebook.shape[0] == 0:
        text = f"codebook must have at least one row, got shape {tuple(codebook.shape)}"
        raise ShapeError(text)


def require_width(latents: Array, dim: int) -> None:
    """Require a matrix of floats with `dim` columns.

    Raises:
        ShapeError: wrong rank or width.
        DTypeError: numbers that are not floats.
    """
    require_matrix(latents, "latents")
    if latents.shape[1] != dim:
        text = (
            f"latents and codebook must have the same dim, got latents "
            f"{tuple(latents.shape)} and a codebook of dim {dim}"
        )
        raise ShapeError(text)


def require_latents(latents: Array, dim: int) -> None:
    """Require a finite matrix with `dim` columns.

    Raises:
        ShapeError: wrong rank or width.
        DTypeError: numbers that are not floats.
        NonFiniteError: NaN or infinity.
    """
    require_width(latents, dim)
    require_finite(latents, "latents")


def require_codes(codes: Array, rows: int, codebook_size: int) -> np.ndarray:
    """Read codes as int64 on the host.

    Args:
        codes: integers (N,), of any library.
        rows: N.
        codebook_size: K.

    Returns:
        int64 (N,).

    Raises:
        ShapeError: not one code per row.
        DTypeError: not integers, or a tensor that is sparse or has no numbers.
        CodeRangeError: a code outside ``range(codebook_size)``; the first is named.
    """
    from certvq.errors import CodeRangeError

    _require_numbers(codes, "codes")
    if is_torch(codes) and (codes.is_floating_point() or codes.is_complex()) and rows:
        text = f"codes must be integers, got {dtype_name(codes)}"
        raise DTypeError(text)
    host = np.asarray(codes.detach().cpu() if is_torch(codes) else codes)
    if host.shape != (rows,):
        text = f"codes must have shape ({rows},), one for each latent, got {host.shape}"
        raise ShapeError(text)
    if host.dtype.kind not in "iu" and rows:
        text = f"codes must be integers, got {host.dtype}"
        raise DTypeError(text)
    bad = np.flatnonzero((host < 0) | (host >= codebook_size))
    if bad.size:
        text = (
            f"codes must lie in range({codebook_size}), got {host[bad[0]]} at row {bad[0]} "
            f"({bad.size} bad codes in all)"
        )
        raise CodeRangeError(text)
    return host.astype(np.int64)


def require_ieee754() -> None:
    """Require gradual underflow and rounding to nearest in this thread.

    Raises:
        FloatEnvironmentError: subnormal numbers are flushed to zero, or another rounding mode is
            set; both are often switched on by a library that was loaded for speed.
    """
    if ieee754():
        return
    tiny64 = np.array([5e-324]) * np.array([1.0])
    tiny32 = np.array([1e-45], dtype=np.float32).astype(np.float64)
    if tiny64[0] == 0.0 or tiny32[0] == 0.0:
        text = (
            "subnormal numbers must be kept (IEEE 754), but this thread flushes them to zero; "
            "switch that off, for example with torch.set_flush_denormal(False), before other "
            "threads are started: they keep the setting that they were started with"
        )
        raise FloatEnvironmentError(text)
    ones = np.array([1.0, -1.0, 1.0])
    nudged = ones + np.array([2.0**-53, -(2.0**-53), 1.5 * 2.0**-53])
    if nudged.tolist() != [1.0, -1.0, 1.0 + 2.0**-52]:
        text = "the rounding mode must be to nearest; reset it (fesetround(FE_TONEAREST))"
        raise FloatEnvironmentError(text)
