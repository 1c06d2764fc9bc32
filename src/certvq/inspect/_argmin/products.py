"""Recognise the product of latents and code vectors in a call of a torch function.

In: a torch function and its arguments. Out: the operands as a `Comparison`, or None. Must not
compute anything.
"""

from collections.abc import Callable
from typing import Any

import torch

from certvq.inspect._libraries.adapter import Comparison

_Pair = tuple[torch.Tensor, torch.Tensor]

TIMES = frozenset(
    (
        *(torch.mul, torch.multiply, torch.Tensor.mul, torch.Tensor.multiply),
        *(torch.Tensor.__mul__, torch.Tensor.__rmul__),
    )
)
"""Functions that may double one operand of a product."""


def read_product(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Comparison | None:
    """Return latents and code vectors where a call multiplies them, or measures their distance.

    Args:
        func: a function or method of torch.
        args: its positional arguments.
        kwargs: its named arguments.

    Returns:
        The operands, code vectors as rows; None where the call is no such product.
    """
    reader = _READERS.get(func)
    if reader is None:
        return None
    try:
        pair = reader(*args, **kwargs)
    except TypeError:  # a signature that the reader does not know, so nothing that it understands
        return None
    return as_heads(*pair) if isinstance(pair, tuple) else pair


def doubled(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Say whether a call multiplies a tensor by 2 or -2, as ``2 * z @ c.t()`` does with z."""
    if func not in TIMES or len(args) != 2:
        return False
    factors = [each for each in args if isinstance(each, int | float)]
    return len(factors) == 1 and abs(factors[0]) == 2.0


def as_heads(latents: torch.Tensor, codebook: torch.Tensor) -> Comparison | None:
    """Fold leading axes: one codebook for all latents, or one for each leading index."""
    if latents.ndim < 2 or codebook.ndim < 2:
        return None
    if codebook.ndim > 2 and codebook.shape[:-2].numel() == 1:
        codebook = codebook.reshape(codebook.shape[-2:])
    if codebook.ndim == 2:
        return Comparison(latents.reshape(1, -1, latents.shape[-1]), codebook[None])
    if codebook.shape[:-2] != latents.shape[:-2]:
        return None
    return Comparison(latents.flatten(0, -3), codebook.flatten(0, -3))


def as_own(latents: torch.Tensor, codebook: torch.Tensor, shift: float = 0.0) -> Comparison | None:
    """Fold leading axes of latents (..., 1, D) and their own code vectors (..., K, D)."""
    if latents.ndim != codebook.ndim or latents.ndim < 2 or latents.shape[-2] != 1:
        return None
    if latents.shape[:-2] != codebook.shape[:-2] or latents.shape[-1] != codebook.shape[-1]:
        return None
    if latents.ndim == 2:
        latents, codebook = latents[None], codebook[None]
    return Comparison(latents.flatten(0, -3), codebook.flatten(0, -3), own=True, shift=shift)


def _difference(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6) -> Comparison | None:
    """Read ``pairwise_distance``, which adds eps to each entry of the difference."""
    return as_own(x1, x2, eps) if p == 2.0 and _both_matrices(x1, x2) else None


def _distance(x1: Any, x2: Any, p: float = 2.0, compute_mode: Any = None) -> _Pair | None:
    del compute_mode
    return (x1, x2) if p == 2.0 else None


def _matrix_product(left: Any, right: Any) -> _Pair | None:
    return (left, right.mT) if _both_matrices(left, right) else None


def _linear(left: Any, weight: Any, bias: Any = None) -> _Pair | None:
    return (left, weight) if bias is None and _both_matrices(left, weight) else None


def _added_product(added: Any, left: Any, right: Any, **scales: Any) -> _Pair | None:
    del added, scales
    return _matrix_product(left, right)


def _both_matrices(left: Any, right: Any) -> bool:
    return all(isinstance(each, torch.Tensor) and each.ndim >= 2 for each in (left, right))


def _einsum(equation: Any, *operands: Any) -> "_Pair | Comparison | None":
    """Read ``h n d, h k d -> h n k`` and its like, with or without h, in any order of axes.

    In ``h n d, h n k d -> h n k`` each latent has code vectors of its own.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    labels = _labels(equation)
    if labels is None or len(operands) != 2 or not _both_matrices(*operands):
        return None
    left, right, out = labels
    summed = (left.keys() & right.keys()) - set(out)
    codes = out[-1]
    shared = [label for label in out if label in left and label in right]
    rows = [label for label in out[:-1] if label not in right]
    if len(summed) != 1 or codes in left or not out[:-1] or out != [*shared, *rows, codes]:
        return None
    (dim,) = summed
    if {*shared, *rows, dim} != left.keys() or {*shared, codes, dim} != right.keys():
        return None
    latents = operands[0].permute([left[label] for label in [*shared, *rows, dim]])
    vectors = operands[1].permute([right[label] for label in [*shared, codes, dim]])
    if not rows:
        return as_own(latents.unsqueeze(-2), vectors)
    return latents.reshape(*latents.shape[: len(shared)], -1, latents.shape[-1]), vectors


def _labels(equation: Any) -> tuple[dict[str, int], dict[str, int], list[str]] | None:
    """Return the axis of each label of two operands, and the labels of the result."""
    if not isinstance(equation, str):
        return None
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    left, comma, right = inputs.partition(",")
    named = (left + right + out).isalpha() and "," not in right
    once = all(len(set(part)) == len(part) for part in (left, right, out))
    if not (arrow and comma and out and named and once):
        return None
    axes = [{label: axis for axis, label in enumerate(part)} for part in (left, right)]
    return axes[0], axes[1], list(out)


_READERS: dict[Callable[..., Any], Callable[..., "_Pair | Comparison | None"]] = {
    torch.cdist: _distance,
    torch.einsum: _einsum,
    torch.pairwise_distance: _difference,
    torch.nn.functional.linear: _linear,
    torch.addmm: _added_product,
    torch.Tensor.addmm: _added_product,
    torch.Tensor.addmm_: _added_product,
    torch.baddbmm: _added_product,
    torch.Tensor.baddbmm: _added_product,
    torch.Tensor.baddbmm_: _added_product,
    **dict.fromkeys(
        (
            torch.matmul,
            torch.mm,
            torch.bmm,
            torch.Tensor.matmul,
            torch.Tensor.__matmul__,
            torch.Tensor.mm,
            torch.Tensor.bmm,
        ),
        _matrix_product,
    ),
}

PRODUCTS = frozenset(_READERS)
"""Functions that multiply latents and code vectors, or measure their distance."""
