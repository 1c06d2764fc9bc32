"""Tell tensors that a layer can read from everything else that callers pass.

In: what a caller gives. Out: nothing, or a named error. Must not look at numbers.
"""

import torch

from certvq.errors import DTypeError


def require_dense(given: object, name: str) -> None:
    """Require a tensor that holds its numbers one beside the other.

    Args:
        given: what the caller passed.
        name: what to call it.

    Raises:
        DTypeError: no tensor, or a nested, sparse or otherwise packed one, or one of the meta
            device, which has a shape and no numbers.

    Example:
        >>> require_dense([[0.0]], "latents")
        Traceback (most recent call last):
        certvq.errors.DTypeError: latents must be a torch.Tensor, got list; use torch.as_tensor
    """
    if not isinstance(given, torch.Tensor):
        text = f"{name} must be a torch.Tensor, got {type(given).__name__}; use torch.as_tensor"
        raise DTypeError(text)
    if given.is_nested:
        text = (
            f"{name} must be one dense tensor, got a nested one; pad it, for example with "
            ".to_padded_tensor(0), and say with a mask where the padding is"
        )
        raise DTypeError(text)
    if given.layout != torch.strided:
        got = str(given.layout).removeprefix("torch.")
        text = f"{name} must be a dense tensor, got the layout {got}; use .to_dense()"
        raise DTypeError(text)
    if given.device.type == "meta":
        text = (
            f"{name} must hold numbers, got a tensor of shape {tuple(given.shape)} on the device "
            "meta, which has none; move it with .to_empty, or make it elsewhere"
        )
        raise DTypeError(text)
