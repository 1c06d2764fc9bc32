"""One integer for several digits, exactly.

In: digits, each with a number of values of its own. Out: codes in mixed radix, and the way back; in
integers throughout. Must not know what the digits stand for.
"""

import math

import torch

from certvq.errors import OptionError
from certvq.nn._torch.modes import holds_numbers

MOST_CODES = 2**63
"""Codes are int64, so there cannot be more."""


def require_levels(levels: tuple[int, ...], *, least: int) -> None:
    """Refuse numbers of levels that have no codes, or too many.

    Args:
        levels: number of levels of each feature.
        least: the smallest number that a feature may have.

    Raises:
        OptionError: no feature, a feature with fewer levels than `least`, or more than 2^63 codes.
    """
    if not levels:
        text = "levels must name at least one feature, got an empty list"
        raise OptionError(text)
    for place, count in enumerate(levels):
        if count < least:
            text = f"levels must be at least {least} each, got {count} at place {place}"
            raise OptionError(text)
    if math.prod(levels) > MOST_CODES:
        text = (
            f"levels must give at most 2^63 codes, as codes are int64, got {math.prod(levels)} "
            f"from {len(levels)} features; quantize slices of the features separately"
        )
        raise OptionError(text)


def place_values(levels: tuple[int, ...]) -> tuple[int, ...]:
    """Return what each digit counts: 1 for the first, then the product of the levels before it.

    Example:
        >>> place_values((8, 5, 3))
        (1, 8, 40)
    """
    return tuple(math.prod(levels[:k]) for k in range(len(levels)))


def join_digits(digits: torch.Tensor, levels: tuple[int, ...]) -> torch.Tensor:
    """Return the codes of digits.

    Args:
        digits: (D, ...) integers of any width, those of row k below ``levels[k]``.
        levels: number of values of each digit.

    Returns:
        int64 (...), below the product of the levels, hence below 2^63: nothing overflows.

    Example:
        >>> join_digits(torch.tensor([[7], [0], [1]], dtype=torch.int8), (8, 5, 3))
        tensor([47])
    """
    codes = digits[0].to(torch.int64, copy=True)
    for row, place in zip(digits[1:], place_values(levels)[1:], strict=True):
        if not holds_numbers(row):  # torch 2.6 compiles `alpha` in the type of `row`
            codes = codes + row.to(torch.int64) * place
        else:
            codes.add_(row, alpha=place)
    return codes


def split_codes(codes: torch.Tensor, levels: tuple[int, ...]) -> torch.Tensor:
    """Return the digits of codes; undoes `join_digits`.

    Args:
        codes: int64 (...), in range.
        levels: number of values of each digit.

    Returns:
        int64 (D, ...).

    Example:
        >>> split_codes(torch.tensor([47]), (8, 5, 3)).tolist()
        [[7], [0], [1]]
    """
    rows, rest = [], codes
    for count in levels:
        whole = rest // count
        rows.append(rest - whole * count)
        rest = whole
    return torch.stack(rows)
