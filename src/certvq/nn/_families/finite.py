"""Refuse latents that no code is nearest to, in one pass over healthy ones.

In: tokens. Out: nothing, or a named error. Must not know of quantizers.
"""

import torch

from certvq.assign._validate import require_finite
from certvq.errors import NonFiniteError


def require_finite_latents(tokens: torch.Tensor) -> None:
    """Require that no entry is NaN or infinite.

    A finite sum has finite terms, in any order of summation: NaN and infinity survive additions. A
    sum that is not finite may have overflowed, and is looked at entry by entry.

    Args:
        tokens: (N, D) floats.

    Raises:
        NonFiniteError: naming the first bad row and column.
    """
    if not bool(torch.isfinite(tokens.sum())):
        require_finite(tokens, "latents")


def finite_error(tokens: torch.Tensor) -> NonFiniteError | None:
    """Return the error that `require_finite_latents` raises, or None."""
    try:
        require_finite_latents(tokens)
    except NonFiniteError as error:
        return error
    return None
