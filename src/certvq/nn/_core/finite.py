"""Refuse latents that no code is nearest to, in one pass over healthy ones.

In: tokens. Out: the same, or a named error. Must not know of quantizers.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch

from certvq.assign._validate import require_finite, require_ieee754
from certvq.errors import NonFiniteError
from certvq.nn._torch.float64 import widest
from certvq.nn._torch.modes import beneath, exporting, holds_numbers, transforming
from certvq.nn._torch.tracing import required


def finite_error(numbers: torch.Tensor, name: str = "latents") -> NonFiniteError | None:
    """Look for NaN and infinity.

    Args:
        numbers: (N, D).
        name: what to call them in the error.

    Returns:
        The error, which names the first row and column, or None. Under `torch.func.vmap` the
        rows are those of all samples, one sample after the other.

    Raises:
        FloatEnvironmentError: subnormal numbers are flushed in this thread, or the rounding mode
            was changed: then comparisons see other numbers than those that were given.

    Cost: one pass, and no memory where all is well.
    """
    require_ieee754()
    if transforming():
        numbers = all_rows(numbers)
    if not numbers.numel() or math.isfinite(largest(numbers)):
        return None
    try:  # NumPy cannot share the memory of tensors within transformations
        require_finite(np.array(numbers.tolist()) if transforming() else numbers, name)
    except NonFiniteError as error:
        return error
    return None


def all_rows(numbers: torch.Tensor) -> torch.Tensor:
    """Return the rows of all samples of `torch.func.vmap`, to look at; else those given (N, D)."""
    return beneath(numbers).reshape(-1, numbers.shape[-1])


def largest(numbers: torch.Tensor) -> float:
    """Return the greatest magnitude; NaN if there is one."""
    low, high = torch.aminmax(numbers)
    if numbers.device.type == "cpu":
        return max(abs(low.item()), abs(high.item()))  # if one is NaN, both are
    ends = torch.stack([low, high]).to(widest(numbers.device)).abs()
    return float(ends.max())


def largest_of(tensors: Iterable[torch.Tensor]) -> float:
    """Return the greatest magnitude in several tensors; 0 for none, NaN if there is one.

    Cost: one pass over each, and one wait for the device.
    """
    if transforming():
        tensors = [beneath(tensor) for tensor in tensors]
    ends = [
        torch.stack(torch.aminmax(t.detach())).to(widest(t.device)) for t in tensors if t.numel()
    ]
    return float(torch.stack(ends).abs().max()) if ends else 0.0


def require_finite_latents(tokens: torch.Tensor) -> torch.Tensor:
    """Return the tokens, none of which is NaN or infinite.

    Args:
        tokens: (N, D) floats.

    Returns:
        The tokens; while a compiler traces, with a zero added to them.

    Raises:
        NonFiniteError: naming the first bad row and column.
    """
    if exporting():
        fine = tokens.detach().abs() <= torch.finfo(tokens.dtype).max
        return tokens + required(fine).to(tokens.dtype)
    if torch.compiler.is_compiling():
        return tokens + finite_operator(tokens.detach())
    if not holds_numbers(tokens):
        finite_operator(tokens.detach())
        return tokens
    error = finite_error(tokens.detach())  # to call an operator costs more than the look itself
    if error is not None:
        raise error
    return tokens


@torch.library.custom_op("certvq::finite", mutates_args=())
def finite_operator(tokens: torch.Tensor) -> torch.Tensor:
    """Return a zero of the tokens' type if all are finite: what compilers see of the check."""
    error = finite_error(tokens)
    if error is not None:
        raise error
    return tokens.new_zeros(())


@finite_operator.register_fake
def _(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.new_empty(())
