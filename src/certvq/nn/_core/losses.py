"""Mean squared errors that neither overflow in half precision nor fail on empty batches.

In: two tensors of one shape. Out: a scalar. Must not detach anything: what gets a gradient is the
caller's choice.
"""

import torch


def mean_square(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the mean of the squared differences, in float32 or wider; 0 for empty tensors.

    Args:
        left: any shape and float type.
        right: the same shape, any float type.

    Example:
        >>> mean_square(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    wide = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    difference = left.to(wide) - right.to(wide)
    return difference.square().sum() / max(1, difference.numel())
