"""Normalisations in eval mode, and weight norm.

In: arguments. Out: values with bounds. The real functions, with mean and variance of a group over
the real numbers (the variance divided by n): group and layer norm
``w (x - mean) / sqrt(var + eps) + b``; RMS norm ``w x / sqrt(mean(x^2) + eps)``; batch norm that of
group norm with the stored mean and variance; weight norm ``v g / |v|``.

The bound of group, layer and RMS norm (`normalise_place_error_le`), for groups of C channels and n
numbers. The vectors of places err by e_p in all groups together, and ``E = sqrt(sum_p e_p^2)``. The
deviation s of a group then errs by at most ``t = E / sqrt n``, and the vector of place p in group g
by ``(o_g + sqrt(C) t_g + |y'_p| t_g) / (s' - t_g)``. As the squares of the o_g of a place add up to
at most ``e_p^2``, and those of the t_g to at most ``t^2``, all groups together err by ``(e_p +
sqrt(C) t) max_g 1 / (s' - t) + t max_g |y'_p| / (s' - t)``. What mean, deviation and quotient round
is added. All errors of a sample together grow by at most ``2 / (s + s')`` (`normalise_error_le`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from certvq.bounds import UNIT_ROUNDOFF
from certvq.errors import CaptureError
from certvq.network._bounded import Bounded, along, entry_errors, magnitude, whole_norm
from certvq.network._bounds import FLOOR, NORM_FLOOR, enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region, with_axes
from certvq.network._wide import (
    AVAILABLE,
    WIDE_ROUNDOFF,
    Wide,
    long_sums,
    nearest,
    rounding,
    sizes,
)
from certvq.network.rules._arithmetic import multiplied, summed
from certvq.network.rules._products import NOTHING, Rounding
from certvq.network.rules._rule import Arguments, Changed, Mask, Objects, Rule, tensor_entries


@dataclass(frozen=True)
class Normalised:
    """Groups after they were normalised.

    Attributes:
        value: (B, G, C, P).
        error: (B, 1, 1, P), of the vectors of all groups together.
        steepest: (B,), by how much the norm of all errors of an entry can grow.
        local: (B, 1, 1, P), what is added to errors by rounding.
    """

    value: torch.Tensor
    error: torch.Tensor
    steepest: torch.Tensor
    local: torch.Tensor

    def whole(self, whole: torch.Tensor) -> torch.Tensor:
        """Bound the norms (B,) of all errors, given those of all errors before."""
        return (self.steepest * whole + norm_upper(self.local, (3,)).flatten()) * enlargement(4)


def normalised(given: Bounded, eps: float, *, centre: bool = True) -> Normalised:
    """Centre groups, or not, and divide them by their deviation.

    Args:
        given: (B, G, C, P): G groups of C channels at P places each; the error is (B, 1, 1, P), of
            the vectors of all groups together.
        eps: above 0, or the bound may be infinite.
        centre: whether the mean is taken away.

    Returns:
        The groups; an error is at most the norm of all of an entry (`normalise_error_le`).
    """
    value, own = given.value, given.error
    channels, places = value.shape[2:]
    count = channels * places
    together = norm_upper(own, (3,))
    if given.whole is not None:
        together = torch.minimum(together, given.whole.reshape(-1, 1, 1, 1))
    drift = together / math.sqrt(count) * enlargement(4)
    mean = _mean(value) if centre else None
    centred = value if mean is None else value - mean
    deviation = (_mean(centred.square()) + eps).sqrt()
    result = centred / deviation
    deviation, lengths = nearest(deviation), norm_upper(result, (2,))
    lost = _lost_by_mean(value)
    shared = torch.zeros_like(lengths)
    # of the square five roundings, of which the root halves the part, and its own
    blurred = (rounding(value, 4) + lost.relative) * deviation
    if mean is not None:
        # the root of the mean square is at most deviation and mean, and not below the mean size
        size = sizes(mean) + NORM_FLOOR
        off = lost.relative * (deviation + size) * (1.0 + 2.0**-20) + lost.last * size
        shared = math.sqrt(channels) * off + rounding(value) * lengths * deviation
        shared = shared * enlargement(16)
        # what is left around another number than the mean has ``off ** 2`` more
        blurred = blurred + off * (off / deviation)
    blurred = blurred * (1.0 + 2.0**-20) + NORM_FLOOR
    root = math.sqrt(max(eps, 0.0)) * (1.0 - 4.0 * UNIT_ROUNDOFF)
    floor = torch.tensor(root, dtype=torch.float64)
    near = torch.maximum(deviation * (1.0 - 2.0 * UNIT_ROUNDOFF) - blurred, floor)
    near = near * (1.0 - 4.0 * UNIT_ROUNDOFF)
    least = torch.maximum(near - drift, floor) * (1.0 - 4.0 * UNIT_ROUNDOFF)
    local = (shared + lengths * blurred) / near + 2.0 * rounding(value) * lengths
    lengths = (lengths + local) * enlargement(8)
    local = norm_upper(local, (1,)) * enlargement(4)
    error = (own + math.sqrt(channels) * drift) / least.amin(1, keepdim=True)
    error = error + (lengths / least).amax(1, keepdim=True) * drift + local
    steepest = 2.0 * enlargement(8) / (near + least).amin(1).flatten()
    found = Normalised(result, error * enlargement(24) + FLOOR, steepest, local + FLOOR)
    most = found.whole(together.flatten()).reshape(-1, 1, 1, 1)
    return replace(found, error=torch.minimum(found.error, most))


_AT_ONCE = 256
"""Numbers that are added at once, and then their sums. Chosen."""


def _mean(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of each group (B, G, C, P), by sums of sums, in the arithmetic of these."""
    sums = value.flatten(2)
    count = sums.shape[2]
    while sums.shape[2] > 1:
        width = min(_AT_ONCE, sums.shape[2])
        sums = functional.pad(sums, (0, -sums.shape[2] % width)).unflatten(2, (-1, width))
        sums = long_sums(sums)
    mean = (sums / count)[..., None]
    return mean if isinstance(value, Wide) else nearest(mean)


def _lost_by_mean(value: torch.Tensor) -> Rounding:
    """Return what `_mean` rounds."""
    count = math.prod(value.shape[2:])
    terms = _AT_ONCE * max(1, math.ceil(math.log(max(count, 2), _AT_ONCE) + 1e-9)) + 1
    if isinstance(value, Wide) or not AVAILABLE:
        return Rounding(rounding(value, terms), NOTHING)
    return Rounding(terms * WIDE_ROUNDOFF * (1.0 + 2.0**-40), NOTHING, UNIT_ROUNDOFF)


def _affine(
    result: Bounded, scale: Bounded | None, shift: Bounded | None, shape: tuple[int, ...]
) -> Bounded:
    """Multiply by numbers in a shape that can be broadcast, and add numbers."""
    given = [None if each is None else _shaped(each, shape) for each in (scale, shift)]
    exact = [each for each in given if each is not None and not each.error.any()]
    if len(exact) == 2 and result.axis is not None:
        return _exactly_affine(result, *exact)
    for step, each in zip((multiplied, summed), given, strict=True):
        result = result if each is None else step(result, each)
    return result


def _shaped(number: Bounded, shape: tuple[int, ...]) -> Bounded:
    return Bounded(number.value.reshape(shape), entry_errors(number).reshape(shape), None)


def _exactly_affine(result: Bounded, scale: Bounded, shift: Bounded) -> Bounded:
    """Return ``w x + b`` for exact w and b: errors grow by at most the greatest w, and it rounds.

    The product is at most the sum and b.
    """
    axis, shape = result.axis, tuple(result.value.shape)
    assert axis is not None
    value = result.value * scale.value
    value += shift.value
    most = sizes(scale.value).amax()
    own = norm_upper(shift.value, (axis - value.ndim + shift.value.ndim,))
    lost = rounding(value) * (2.0 * magnitude(value, axis) + own) * enlargement(4) + FLOOR
    error = (most * result.error + lost) * enlargement(4)
    if result.whole is None:
        return Bounded(value, error, axis)
    whole = most * result.whole + whole_norm(lost, axis, shape)
    return Bounded(value, error, axis, whole * enlargement(4))


class _Normalisation(Rule):
    """What group, layer and RMS norm share: an affine map after groups were normalised."""

    centre = True

    def _shaped(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return (B, G, C, P)."""
        raise NotImplementedError

    def _scales(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which weight and bias are broadcast."""
        raise NotImplementedError

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its group."""
        given: Ref = arguments["input"]
        groups = mask.reshape(self._shaped(arguments, given.shape))
        whole = groups.any(axis=(2, 3), keepdims=True)
        yield given, np.broadcast_to(whole, groups.shape).reshape(given.shape)
        for name in ("weight", "bias"):
            ref = arguments.get(name)
            if isinstance(ref, Ref):
                yield ref, np.ones(ref.shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Normalise the groups that are needed."""
        given: Objects = arguments["input"]
        shape = self._shaped(arguments, given.shape)
        groups = given.reshape(shape[0] * shape[1], -1)
        needed = mask.reshape(len(groups), -1)
        result = np.empty(groups.shape, object)
        for row in np.flatnonzero(needed.any(axis=1)):
            result[row] = self._group(numbers, groups[row], arguments["eps"])
        result = result.reshape(given.shape)
        for name, each in (("weight", np.multiply), ("bias", np.add)):
            if arguments.get(name) is not None:
                scale = arguments[name].reshape(self._scales(arguments, given.shape))
                pair = result[mask], np.broadcast_to(scale, mask.shape)[mask]
                result = tensor_entries(mask, each(*pair))
        return result

    def _group(self, numbers: Numbers, entries: Objects, eps: float) -> Objects:
        count = numbers.number(float(len(entries)))
        centred = entries - entries.sum() / count if self.centre else entries
        deviation = ((centred * centred).sum() / count + numbers.number(eps)).sqrt()
        return centred / deviation


class GroupNorm(_Normalisation):
    """Group norm."""

    mixing = True
    samples = "input"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Normalise all groups of a sample."""
        given = along(arguments["input"], 1)
        shape = self._shaped(arguments, tuple(given.value.shape))
        error = given.error.reshape(shape[0], 1, 1, shape[3])
        inner = Bounded(given.value.reshape(shape), error, None, given.whole)
        found = normalised(inner, arguments["eps"])
        value = found.value.reshape(given.value.shape)
        whole = None if given.whole is None else found.whole(given.whole)
        result = Bounded(value, found.error.reshape(given.error.shape), 1, whole)
        scales = self._scales(arguments, tuple(value.shape))
        return _affine(result, arguments.get("weight"), arguments.get("bias"), scales)

    def _shaped(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        groups = arguments["num_groups"]
        return shape[0], groups, shape[1] // groups, math.prod(shape[2:])

    def _scales(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, ...]:
        del arguments
        return (-1,) + (1,) * (len(shape) - 2)


class LayerNorm(_Normalisation):
    """Layer norm over the last axes."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Normalise each row."""
        given: Bounded = arguments["input"]
        shape, axes = tuple(given.value.shape), len(arguments["normalized_shape"])
        last = given.value.ndim - 1
        if axes == 1:
            given = along(given, last)
            error = given.error.reshape(-1, 1, 1, 1)
        else:
            flat = entry_errors(given).reshape(self._shaped(arguments, shape))
            error = norm_upper(flat, (2,))
        inner = Bounded(given.value.reshape(self._shaped(arguments, shape)), error, None)
        found = normalised(inner, arguments["eps"], centre=self.centre)
        error = found.error.reshape(*shape[: last + 1 - axes], *(1,) * axes)
        value, whole = found.value.reshape(shape), None
        if given.whole is not None and last + 1 > axes:
            rows = found.steepest.reshape(shape[0], -1), found.local.reshape(shape[0], -1)
            whole = rows[0].amax(1) * given.whole + norm_upper(rows[1], (1,)).flatten()
            whole = whole * enlargement(4)
        result = Bounded(value, error, last, whole)
        if axes > 1:  # the norm of all axes together bounds each entry
            result = Bounded(value, error.expand(shape), None, whole)
        scales = self._scales(arguments, shape)
        return _affine(result, arguments.get("weight"), arguments.get("bias"), scales)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """A row needs itself."""
        axes = len(shape) - len(arguments["normalized_shape"])
        part = Part(arguments["input"], with_axes(region, shape, axes))
        return {**arguments, "input": part}, part.region

    def _shaped(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        count = math.prod(arguments["normalized_shape"])
        return math.prod(shape) // count, 1, count, 1

    def _scales(self, arguments: Arguments, shape: tuple[int, ...]) -> tuple[int, ...]:
        del shape
        return tuple(arguments["normalized_shape"])


class RmsNorm(LayerNorm):
    """RMS norm over the last axes."""

    centre = False

    def refusal(self, arguments: Arguments) -> str:
        """Refuse an epsilon that depends on the type of number."""
        none = arguments.get("eps") is None
        return "with eps=None, which stands for another number in each type," if none else ""


class BatchNorm(Rule):
    """Batch norm with stored mean and variance."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse statistics of the batch."""
        stored = isinstance(arguments.get("running_var"), Ref) and not arguments.get("training")
        return "" if stored else "with statistics of the batch"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Subtract, multiply by ``w / sqrt(var + eps)``, add."""
        given = along(arguments["input"], 1)
        mean, variance = arguments["running_mean"], arguments["running_var"]
        _require_stored("mean and variance", mean, variance)
        scale = _reciprocal_root(variance, arguments["eps"])
        if arguments.get("weight") is not None:
            scale = multiplied(scale, arguments["weight"])
        shift = Bounded(-mean.value, mean.error, None)
        shape = (-1,) + (1,) * (given.value.ndim - 2)
        return _affine(_affine(given, None, shift, shape), scale, arguments.get("bias"), shape)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries, and all numbers that are stored."""
        yield arguments["input"], mask
        for name in ("weight", "bias", "running_mean", "running_var"):
            ref = arguments.get(name)
            if isinstance(ref, Ref):
                yield ref, np.ones(ref.shape, bool)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """The same entries, of all channels."""
        part = Part(arguments["input"], (region[0], (0, shape[1]), *region[2:]))
        return {**arguments, "input": part}, part.region

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Apply the formula to the numbers."""
        given, eps = arguments["input"], numbers.number(arguments["eps"])
        scale = np.array([1 / (each + eps).sqrt() for each in arguments["running_var"]], object)
        if arguments.get("weight") is not None:
            scale = scale * arguments["weight"]
        shift = -arguments["running_mean"] * scale
        if arguments.get("bias") is not None:
            shift = shift + arguments["bias"]
        channel = np.nonzero(mask)[1]
        return tensor_entries(mask, given[mask] * scale[channel] + shift[channel])


class WeightNorm(Rule):
    """``v g / |v|``, the norm over all axes but one."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse norms over all axes."""
        axis = arguments.get("dim", 0)
        return "" if axis in range(len(arguments["v"].shape)) else f"with dim={axis}"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Compute the formula; v and g are stored numbers."""
        v, g = arguments["v"], arguments["g"]
        _require_stored("v and g", v, g)
        axes = self._axes(arguments, v.value.ndim)
        norms = v.value.square().sum(axes, keepdim=True).sqrt()
        value = v.value * (g.value / norms)
        terms = math.prod(v.value.shape[axis] for axis in axes)
        error = rounding(value, terms + 12) * sizes(value) + FLOOR
        known = (nearest(norms) > 2.0**-400) & nearest(norms).isfinite()
        return Bounded(value, torch.where(known, error, torch.inf), None)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """All numbers that are stored."""
        del mask
        for name in ("v", "g"):
            yield arguments[name], np.ones(arguments[name].shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Compute the formula."""
        v, g = arguments["v"], arguments["g"]
        squares = (v * v).sum(axis=self._axes(arguments, v.ndim), keepdims=True)
        factor = [a / b.sqrt() for a, b in zip(g.flat, squares.flat, strict=True)]
        return v * np.array(factor, object).reshape(squares.shape)

    def _axes(self, arguments: Arguments, count: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(count) if axis != arguments.get("dim", 0))


def _require_stored(names: str, *given: Bounded) -> None:
    """Raise where numbers have errors, which the rule does not count."""
    if any(bool(each.error.any()) for each in given):
        text = f"of computed numbers has no rule; store {names} as parameters or buffers"
        raise CaptureError(text)


def _reciprocal_root(given: Bounded, eps: float) -> Bounded:
    """Return ``1 / sqrt(x + eps)`` of stored numbers, which rounds four times."""
    value = 1.0 / (given.value + eps).sqrt()
    return Bounded(value, 4.0 * rounding(value) * sizes(value) + FLOOR, None)


class InstanceNorm(Changed):
    """Group norm whose groups are the channels."""

    def __init__(self) -> None:
        super().__init__(GroupNorm(), _with_groups)
        self.samples = "input"

    def refusal(self, arguments: Arguments) -> str:
        """Refuse stored statistics."""
        return "" if arguments["use_input_stats"] else "with stored statistics"


def _with_groups(arguments: Arguments) -> Arguments:
    given = arguments["input"]
    shape = given.value.shape if isinstance(given, Bounded) else given.shape
    return {**arguments, "num_groups": shape[1]}


RMS_NORM = RmsNorm()
WEIGHT_NORM = WeightNorm()

RULES: dict[str, Rule] = {
    "group_norm.default": GroupNorm(),
    "instance_norm.default": InstanceNorm(),
    "layer_norm.default": LayerNorm(),
    "rms_norm.default": RMS_NORM,
    "_native_batch_norm_legit_no_training.default": BatchNorm(),
    "batch_norm.default": BatchNorm(),
    "_weight_norm.default": WEIGHT_NORM,
}
