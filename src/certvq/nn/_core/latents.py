"""What callers pass to a layer: latents of any layout, and where they are padding.

In: tensors as networks make them, and a mask. Out: the (N, D) tokens that layers work on, and the
way back; or a named error before anything changes. Must not know of codebooks.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from certvq._native import ieee754
from certvq._types import Float
from certvq.assign._arrays import wrapper_of
from certvq.assign._validate import UNWRAP, require_finite, require_ieee754
from certvq.errors import (
    DeviceError,
    DTypeError,
    NonFiniteError,
    OptionError,
    ShapeError,
    TransformError,
)
from certvq.nn._torch.modes import (
    beneath,
    exporting,
    holds_numbers,
    is_batched,
    sizes,
    transforming,
    widest,
)
from certvq.nn._torch.tracing import required


def require_dense(given: object, name: str) -> None:
    """Require a tensor that holds its numbers one beside the other.

    Args:
        given: what the caller passed.
        name: what to call it.

    Raises:
        DTypeError: no tensor, or a nested, sparse or otherwise packed one, one that stands for
            others as a `DTensor` does, or one of the meta device, which has a shape and no numbers.

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
    if not torch.compiler.is_compiling() and wrapper_of(given) not in _FOLLOWED:
        text = f"{name} must be a plain tensor, got a {type(given).__name__}; {UNWRAP}"
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


_FOLLOWED = (None, "FakeTensor", "FunctionalTensor")
"""Tensors by which torch's tracers follow a layer."""

LayoutName: TypeAlias = Literal[
    "n d", "b n d", "b d n", "b c h w", "b h w c", "b c t h w", "b t h w c"
]
"""Axes that latents may have; ``d`` or ``c`` is that of the features, the others make the grid."""

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def require_floats(latents: torch.Tensor) -> None:
    """Require latents of a type of number that codes can be certified for.

    Raises:
        DTypeError: not float64, float32, bfloat16 or float16.
    """
    if latents.dtype not in _FLOATS:
        text = (
            "latents must be float64, float32, bfloat16 or float16, got "
            f"{str(latents.dtype).removeprefix('torch.')}; convert them"
        )
        raise DTypeError(text)


@dataclass(frozen=True)
class Layout:
    """Names of the axes of a tensor of latents; ``d`` or ``c`` is the feature axis.

    Attributes:
        name: the axes, separated by blanks, for example ``"b c h w"``.
        feature_axis: place of the feature axis among them.
    """

    name: str
    feature_axis: int

    @property
    def rank(self) -> int:
        """Number of axes of the latents; codes have one less."""
        return len(self.name.split())

    def tokens(
        self, latents: Float[torch.Tensor, "..."], dim: int
    ) -> Float[torch.Tensor, "N {dim}"]:
        """Read latents as one token a row.

        Args:
            latents: floats whose axes are those of the layout.
            dim: D, the size that the feature axis must have.

        Returns:
            (N, D), a view where the strides allow it.

        Raises:
            ShapeError: wrong rank, or a feature axis of another size.
            DTypeError: no dense tensor of float64, float32, bfloat16 or float16.
        """
        require_dense(latents, "latents")
        shape = sizes(latents)
        if len(shape) != self.rank or shape[self.feature_axis] != dim:
            text = (
                f"latents of layout {self.name!r} must have {self.rank} axes with dim={dim} at "
                f"axis {self.feature_axis}, got shape {shape}; transpose them or choose another "
                "layout"
            )
            raise ShapeError(text)
        require_floats(latents)
        last = latents.ndim - 1
        rows = latents if self.feature_axis == last else latents.movedim(self.feature_axis, last)
        return rows.reshape(-1, dim)

    def grid(self, latents: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the codes: the latents' shape without the feature axis."""
        shape = tuple(latents.shape)
        return (*shape[: self.feature_axis], *shape[self.feature_axis + 1 :])

    def restore(
        self, tokens: Float[torch.Tensor, "N width"], grid: tuple[int, ...]
    ) -> Float[torch.Tensor, "..."]:
        """Undo `tokens`.

        Args:
            tokens: (N, D).
            grid: shape of the codes, N in all.

        Returns:
            A view with the axes of the layout.
        """
        # No axis of -1: the TorchScript exporter to ONNX does not know how many there are.
        whole = tokens.reshape(*grid, tokens.shape[1])
        return whole if self.feature_axis == len(grid) else whole.movedim(-1, self.feature_axis)


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("n d", 1),
        Layout("b n d", 2),
        Layout("b d n", 1),
        Layout("b c h w", 1),
        Layout("b h w c", 3),
        Layout("b c t h w", 1),
        Layout("b t h w c", 4),
    )
}


def find_layout(name: str) -> Layout:
    """Look a layout up by its name.

    Raises:
        OptionError: no such layout; the text lists those there are.

    Example:
        >>> find_layout("b c h w").feature_axis
        1
    """
    if name not in LAYOUTS:
        known = ", ".join(repr(known) for known in LAYOUTS)
        text = f"layout must be one of {known}; got {name!r}"
        raise OptionError(text)
    return LAYOUTS[name]


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
    if not ieee754():
        require_ieee754()  # which says what is wrong
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


def require_same_device(module: nn.Module, given: torch.Tensor, name: str) -> None:
    """Require a tensor to be where the first parameter or buffer of a layer is.

    Compilers and exporters see to that themselves.

    Args:
        module: the layer; one without parameters and buffers takes tensors of every device.
        given: the tensor.
        name: what to call it.

    Raises:
        DeviceError: another device, or a layer on the meta device, which has no numbers.

    Example:
        >>> require_same_device(nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), "latents")
        Traceback (most recent call last):
        certvq.errors.DeviceError: latents and the layer must be on one device, got latents on cpu \
and Linear on meta; give the layer numbers with .to_empty and load_state_dict
    """
    if torch.compiler.is_compiling():
        return
    own = next(_tensors(module), None)
    if own is None or own.device == given.device:
        return
    remedy = (
        f"make {name} elsewhere, for the meta device has no numbers"
        if given.device.type == "meta"
        else "give the layer numbers with .to_empty and load_state_dict"
        if own.device.type == "meta"
        else "move one of them with .to"
    )
    text = (
        f"{name} and the layer must be on one device, got {name} on {given.device} and "
        f"{type(module).__name__} on {own.device}; {remedy}"
    )
    raise DeviceError(text)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    for tensors in (module._parameters, module._buffers):  # noqa: SLF001 (cheap to look at)
        for tensor in tensors.values():
            if tensor is not None:
                yield tensor
    for part in module._modules.values():  # noqa: SLF001
        if part is not None:
            yield from _tensors(part)
