"""Which places of a batch hold latents at all, and which are padding.

In: a mask as users make it. Out: the rows that count, and tensors put back among the padding. Must
not know of codebooks.
"""

import torch

from certvq.errors import DTypeError, ShapeError, TransformError
from certvq.nn._core.dense import require_dense
from certvq.nn._torch.modes import beneath, is_batched, transforming

PADDING = -1
"""The code of a place that holds no latent; no quantizer has a code vector for it."""


def kept_rows(
    mask: torch.Tensor | None, grid: tuple[int, ...], device: torch.device
) -> torch.Tensor | None:
    """Return the rows of the tokens that a mask keeps.

    Args:
        mask: bool, True where there is a latent; None keeps all.
        grid: shape that the mask must have, that of the codes.
        device: that of the tokens; the mask may be elsewhere.

    Returns:
        int64 (M,) on `device`, increasing; None where all are kept.

    Raises:
        DTypeError: no dense tensor of bool.
        ShapeError: another shape.
        TransformError: a mask of its own for each sample of `torch.func.vmap`.
    """
    if mask is None:
        return None
    require_dense(mask, "mask")
    if mask.dtype != torch.bool:
        got = str(mask.dtype).removeprefix("torch.")
        text = (
            f"mask must be bool, True where there is a latent, got {got}; compare, as in mask > 0"
        )
        raise DTypeError(text)
    if tuple(mask.shape) != grid:
        text = f"mask must have the shape of the codes, {grid}, got {tuple(mask.shape)}"
        raise ShapeError(text)
    if transforming():
        if is_batched(mask):
            text = (
                "mask must be the same for all samples of torch.func.vmap, as it says how many "
                f"tokens there are, got one of shape {grid} for each sample; close over one mask, "
                "or give the samples one after the other"
            )
            raise TransformError(text)
        mask = beneath(mask)
    return torch.nonzero(mask.reshape(-1)).squeeze(1).to(device)


def among_padding(
    rows: torch.Tensor, kept: torch.Tensor | None, count: int, padding: int
) -> torch.Tensor:
    """Put rows back where they were before the padding was left out; differentiable.

    Args:
        rows: (M, ...).
        kept: (M,) as `kept_rows` returns it.
        count: N, number of rows with the padding.
        padding: what the other rows hold.

    Returns:
        (N, ...).
    """
    if kept is None:
        return rows
    whole = rows.new_full((count, *rows.shape[1:]), padding)
    return whole.index_copy(0, kept.to(rows.device), rows)
