"""Arithmetic with one number for each feature, fast where features are few.

In: rows, and as many numbers as a row has. Out: what an elementwise operation makes of them, the
same bits as by broadcasting. Must not know what is computed.
"""

from collections.abc import Callable

import torch

from certvq.nn._torch.modes import holds_numbers

_COPIES = 64
"""Rows that are treated as one: broadcasting along four numbers takes five times as long."""

_MANY = 64
"""Features from which on rows are long enough."""

_WORTH_IT = 2048
"""Rows from which on the time saved exceeds that of the two copies."""


def by_feature(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    numbers: torch.Tensor,
) -> torch.Tensor:
    """Return ``operation(rows, numbers)``.

    Args:
        operation: works entry by entry; it may write to `rows` and return them.
        rows: (N, D), or (..., D).
        numbers: (D,).

    Guarantee: the same numbers as without this function, bit for bit, and the same gradients; those
    of `numbers` but for the order of additions.

    Example:
        >>> by_feature(torch.mul, torch.ones(2, 3), torch.arange(3.0)).tolist()
        [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """
    if torch.compiler.is_compiling() or rows.ndim != 2:  # sizes may be symbols
        return operation(rows, numbers)
    if len(rows) < _WORTH_IT or len(rows) % _COPIES:
        return operation(rows, numbers)
    features = rows.shape[1]
    if not 0 < features < _MANY or not holds_numbers(rows) or not rows.is_contiguous():
        return operation(rows, numbers)
    longer = rows.reshape(-1, _COPIES * features)
    return operation(longer, numbers.repeat(_COPIES)).reshape(rows.shape)
