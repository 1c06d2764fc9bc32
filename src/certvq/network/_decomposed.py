"""Operators that are others over the real numbers, so that they need no rule of their own.

In: the arguments of an ATen operator. Out: the same function of the operators that have rules; the
exporter puts their steps in its place. No number is computed here that could round, as it would
become part of the function.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

_Axes = int | list[int] | None


def _einsum(equation: str, operands: list[torch.Tensor], *, path: Any = None) -> torch.Tensor:
    """Multiply operands from the left to the right, each time as matrices."""
    del path
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    most = max(
        each.ndim - len(names.replace("...", ""))
        for names, each in zip(inputs.split(","), operands, strict=True)
    )
    dots = "".join(chr(0x100 + place) for place in range(most))
    names = []
    for given, operand in zip(inputs.split(","), operands, strict=True):
        own = operand.ndim - len(given.replace("...", ""))
        names.append(given.replace("...", dots[most - own :]))
    letters = "".join(names)
    once = "".join(sorted(each for each in set(letters) - set(dots) if letters.count(each) == 1))
    output = output.replace("...", dots) if arrow else dots + once
    result, axes = operands[0], names[0]
    for place, (operand, more) in enumerate(zip(operands[1:], names[1:], strict=True), start=2):
        kept = set(output).union(*names[place:])
        result, axes = _product(result, axes, operand, more, kept)
    result, axes = _summed(result, axes, set(output))
    return result.permute([axes.index(each) for each in output])


def _product(
    left: torch.Tensor, first: str, right: torch.Tensor, second: str, kept: set[str]
) -> tuple[torch.Tensor, str]:
    """Multiply two operands; axes that both have are those of a batch, or are summed."""
    left, first = _summed(left, first, kept | set(second))
    right, second = _summed(right, second, kept | set(first))
    both = [each for each in first if each in second]
    batch, inner = ([each for each in both if (each in kept) is wanted] for wanted in (True, False))
    rows = [each for each in first if each not in both]
    columns = [each for each in second if each not in both]
    size = dict(zip(second, right.shape, strict=True)) | dict(zip(first, left.shape, strict=True))
    count = [math.prod(size[each] for each in part) for part in (batch, rows, inner, columns)]
    left = left.permute([first.index(each) for each in (*batch, *rows, *inner)])
    right = right.permute([second.index(each) for each in (*batch, *inner, *columns)])
    found = torch.bmm(
        left.reshape(count[0], count[1], count[2]), right.reshape(count[0], count[2], count[3])
    )
    axes = [*batch, *rows, *columns]
    return found.reshape([size[each] for each in axes]), "".join(axes)


def _summed(operand: torch.Tensor, axes: str, kept: set[str]) -> tuple[torch.Tensor, str]:
    """Sum along the axes that nothing else uses."""
    if len(set(axes)) < len(axes):
        text = f"einsum takes a diagonal of {axes!r}, which has no rule"
        raise ValueError(text)
    gone = [place for place, each in enumerate(axes) if each not in kept]
    if gone:
        operand = operand.sum(gone)
    return operand, "".join(each for each in axes if each in kept)


def _tile(given: torch.Tensor, dims: list[int]) -> torch.Tensor:
    return given.repeat([1] * (given.ndim - len(dims)) + list(dims))


def _scaled(given: torch.Tensor, factor: float) -> torch.Tensor:
    return given if factor == 1 else given * factor


def _addmm(
    given: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> torch.Tensor:
    product = _scaled(torch.matmul(left, right), alpha)
    return product if beta == 0 else _scaled(given, beta) + product


def _addcmul(
    given: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, value: float = 1
) -> torch.Tensor:
    return given + _scaled(left * right, value)


def _log_softmax(given: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    del dtype
    return given - _logsumexp(given, dim, True)


def _logsumexp(
    given: torch.Tensor,
    dim: int | list[int],
    keepdim: bool = False,  # noqa: FBT001, FBT002 (its place in ATen)
) -> torch.Tensor:
    """Subtract the greatest number first, so that nothing overflows."""
    axes = _listed(dim, given.ndim)
    most = given.amax(axes, keepdim=True)
    found = most + (given - most).exp().sum(axes, keepdim=True).log()
    return found if keepdim else found.squeeze(axes)


def _amin(
    given: torch.Tensor,
    dim: _Axes = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 (its place in ATen)
) -> torch.Tensor:
    return -(-given).amax(_listed(dim, given.ndim), keepdim=keepdim)


def _spread(
    given: torch.Tensor, dim: _Axes, correction: float, *, keepdim: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return variance and mean; the sum of squares is divided once."""
    axes = _listed(dim, given.ndim)
    mean = given.mean(axes, keepdim=True)
    count = math.prod(given.shape[each] for each in axes) - correction
    variance = (given - mean).square().sum(axes, keepdim=True) / count
    if keepdim:
        return variance, mean
    return variance.squeeze(axes), mean.squeeze(axes)


def _listed(dim: _Axes, count: int) -> tuple[int, ...]:
    """Return the axes that are meant; without any, all."""
    return (dim,) if isinstance(dim, int) else tuple(dim or range(count))


def _of_spread(finish: Callable[[torch.Tensor, torch.Tensor], Any]) -> dict[str, Any]:
    """Return the three overloads of an operator that variance and mean make."""

    def corrected(
        given: torch.Tensor,
        dim: _Axes = None,
        *,
        correction: float | None = None,
        keepdim: bool = False,
    ) -> Any:
        degrees = 1 if correction is None else correction
        return finish(*_spread(given, dim, degrees, keepdim=keepdim))

    def along(given: torch.Tensor, dim: _Axes, *flags: bool, **named: bool) -> Any:
        options = {**dict(zip(("unbiased", "keepdim"), flags, strict=False)), **named}
        correction = int(options.get("unbiased", True))
        keepdim = options.get("keepdim", False)
        return finish(*_spread(given, dim, correction, keepdim=keepdim))

    def whole(given: torch.Tensor, *flags: bool, **named: bool) -> Any:
        return along(given, None, *flags, **named)

    return {"correction": corrected, "dim": along, "default": whole}


_FORMS: dict[str, dict[str, Callable[..., Any]]] = {
    "einsum": {"default": _einsum},
    "tile": {"default": _tile},
    "addmm": {"default": _addmm},
    "baddbmm": {"default": _addmm},
    "addcmul": {"default": _addcmul},
    "log_softmax": {"int": _log_softmax},
    "_log_softmax": {"default": _log_softmax},
    "logsumexp": {"default": _logsumexp},
    "amin": {"default": _amin},
    "outer": {"default": lambda left, right: left.unsqueeze(1) * right},
    "mv": {"default": lambda matrix, vector: (matrix @ vector.unsqueeze(1)).squeeze(1)},
    "var": _of_spread(lambda variance, _: variance),
    "std": _of_spread(lambda variance, _: variance.sqrt()),
    "var_mean": _of_spread(lambda variance, mean: (variance, mean)),
    "std_mean": _of_spread(lambda variance, mean: (variance.sqrt(), mean)),
}

DECOMPOSED: dict[Any, Callable[..., Any]] = {
    getattr(getattr(torch.ops.aten, name), overload): form
    for name, forms in _FORMS.items()
    for overload, form in forms.items()
}
"""By operator, what the exporter puts in its place."""
