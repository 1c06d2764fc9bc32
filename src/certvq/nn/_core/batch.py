"""Refuse training batches that would destroy the state of a quantizer.

In: tokens. Out: nothing, or a named error. Must not change any state.
"""

import math

import torch

from certvq.errors import NonFiniteError
from certvq.nn._core.finite import all_rows, finite_error, largest
from certvq.nn._torch.modes import transforming


def check_batch(
    tokens: torch.Tensor,
    codebook: torch.Tensor,
    statistics: torch.dtype,
    *,
    where: str = "training",
) -> NonFiniteError | None:
    """Look for numbers that training cannot use.

    Beside NaN and infinity these are numbers so large that sums of squares over the batch, or code
    vectors, could overflow: with all magnitudes at most ``sqrt(max / (4 N D))`` the sum over the
    batch of ``(z - c)^2 <= (2 max|z|)^2`` stays below ``max``.

    Args:
        tokens: (N, D).
        codebook: (K, D).
        statistics: type of number of the running averages, or of the sums.
        where: what cannot use them, for the error.

    Returns:
        The error, or None.
    """
    error = finite_error(codebook, "codebook")
    if transforming():
        tokens = all_rows(tokens)
    if error is not None or not tokens.numel():
        return error
    limit = min(
        math.sqrt(torch.finfo(statistics).max / (4 * tokens.numel())),
        torch.finfo(codebook.dtype).max / 4,
    )
    if largest(tokens) <= limit:  # so they are finite, too
        return None
    error = finite_error(tokens, "latents")
    if error is not None:
        return error
    row, column = map(int, torch.nonzero(tokens.abs() > limit)[0])
    return NonFiniteError(
        f"latents in {where} must be at most {limit:.3g} in magnitude, so that sums over the "
        f"batch stay finite, got {float(tokens[row, column]):.3g} at row {row}, column {column}; "
        "scale them down, or use .double()"
    )
