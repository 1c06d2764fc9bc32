"""Where rounding changes its mind: real numbers, as the floats just below them.

In: rational numbers that say at which latents two levels are equally near. Out: floats to compare
latents with, such that the comparison is exact. Must not know of quantizers.

For a real number t and a float z, ``z > t`` holds just when ``z > RD(t)``, where RD(t) is the
greatest float at most t: a float greater than RD(t) is greater than t by the choice of RD(t), and
``t >= RD(t)`` gives the other direction. So a rounded table decides as the real numbers do.
"""

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import torch

from certvq.nn._torch.modes import exporting, sizes, widened

_DIGITS = 70
"""Decimal digits of logarithms; float64 has 16, so that 54 are left to tell t from a float."""

_UNCERTAIN = Decimal(10) ** (8 - _DIGITS)
"""Bound on the error of `_half_logarithm`: three roundings of 10^-70 of numbers below 100."""

_SMALL = 2**16
"""Comparisons that are better made in one call, with a bit of memory for each."""

_FEW = 32
"""Limits that are compared one after the other: no branch can be mispredicted; int8 counts them."""


def below_fraction(number: Fraction) -> float:
    """Return the greatest float64 at most `number`.

    Example:
        >>> below_fraction(Fraction(1, 3)) <= Fraction(1, 3) < math.nextafter(1 / 3, 1)
        True
    """
    near = float(number)
    return near if Fraction(near) <= number else math.nextafter(near, -math.inf)


def below_half_logarithm(ratio: Fraction) -> float:
    """Return the greatest float64 at most ``ln(ratio) / 2``.

    With ``ratio = (1 + a) (1 - b) / ((1 - a) (1 + b))`` this is ``atanh(a) - atanh(b)``. The
    logarithm of a rational other than 1 is irrational (Lambert), so that no float is equal to it;
    that 70 digits suffice to tell which side it lies on is checked, not assumed.

    Args:
        ratio: between 10^-9 and 10^9.

    Example:
        >>> below_half_logarithm(Fraction(3))  # atanh(1/2)
        0.5493061443340548
    """
    if ratio == 1:
        return 0.0
    exact = _half_logarithm(ratio)
    near = float(exact)
    if abs(Decimal(near) - exact) <= _UNCERTAIN:
        text = f"70 digits do not tell on which side of {near} ln({ratio}) / 2 lies; use more"
        raise ArithmeticError(text)
    return near if Decimal(near) < exact else math.nextafter(near, -math.inf)


def _half_logarithm(ratio: Fraction) -> Decimal:
    with decimal.localcontext() as context:
        context.prec = _DIGITS
        return (Decimal(ratio.numerator) / Decimal(ratio.denominator)).ln() / 2


def below_float32(table: torch.Tensor) -> torch.Tensor:
    """Round float64 down to float32: the greatest float32 at most each entry.

    Rounding a number down to float64 and then to float32 gives what rounding it down to float32 at
    once gives, as every float32 is a float64.

    Args:
        table: float64, any shape, within the range of float32, or infinite.

    Returns:
        float32 of the same shape.
    """
    near = table.float()
    lower = torch.nextafter(near, torch.full_like(near, -math.inf))
    return torch.where(widened(near) > table, lower, near)


def count_below(latents: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """Count, for each feature of each latent, the limits that are less than it.

    Args:
        latents: (D, N), one feature a row, finite, contiguous.
        limits: (D, M) of the same type of number, increasing; +inf fills the end of short rows.

    Returns:
        (D, N) integers of a type that holds M.

    Cost: ``N D M`` comparisons for M up to 32, ``N D log M`` beyond; memory ``N D``.

    Example:
        >>> limits = torch.tensor([[-0.5, 0.5], [0.0, torch.inf]])
        >>> count_below(torch.tensor([[0.5, 3.0], [0.1, 0.0]]), limits).tolist()
        [[1, 2], [1, 0]]
    """
    most = limits.shape[1]
    if exporting():
        return _count_by_halves(latents, limits)
    following = torch.compiler.is_compiling()  # where the size may be a symbol
    if (most <= _FEW) if following else (most * latents.numel() <= _SMALL):
        return (latents.unsqueeze(1) > limits.unsqueeze(2)).sum(1, dtype=torch.int16)
    if most > _FEW:
        return torch.searchsorted(limits, latents, out_int32=True)
    beyond = latents > limits[:, :1]
    count = beyond.to(torch.int8)
    for place in range(1, most):
        count += torch.gt(latents, limits[:, place : place + 1], out=beyond).view(torch.int8)
    return count


def _count_by_halves(latents: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """Do the same by standard operators: halve the limits that are left, M + 1 = 2^n of them."""
    features, most = sizes(limits)
    halvings = most.bit_length()
    missing = (1 << halvings) - 1 - most
    padded = torch.cat([limits, limits.new_full((features, missing), math.inf)], dim=1)
    count = torch.zeros_like(latents, dtype=torch.int64)
    for place in range(halvings - 1, -1, -1):
        step = 1 << place
        beyond = latents > padded.gather(1, count + (step - 1))
        count = count + beyond.to(torch.int64) * step
    return count
