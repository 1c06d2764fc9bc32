"""Nearest numbers of lists, whichever way they are found; as an operator, too."""

from fractions import Fraction

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.nn._scalar.nearest_scalars import nearest_scalars, nearest_scalars_operator

LEVELS = (3, 1, 4)
INDEX = torch.tensor([[0, 1, 2, 8], [3, 8, 8, 8], [4, 5, 6, 7]])
LISTS = {
    "increasing": [-1.0, 0.0, 2.0, 0.5, -3.0, -1.0, 1.0, 3.0],
    "in any order": [2.0, -1.0, 0.0, 0.5, 1.0, 3.0, -3.0, -1.0],
    "repeated": [1.0, 1.0, 0.0, 0.5, 3.0, -1.0, 3.0, -1.0],
    "extreme": [1e38, -1e38, 1e-45, 0.5, 3e38, 0.0, 1e-40, -3e38],
    "extreme, float64": [1e300, -1e300, 5e-324, 0.5, 1e200, 0.0, 1e-320, -1e308],
}


def latents_of(kind):
    halves = torch.tensor([-2.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5, 1e38, -1e38, 1e-45], dtype=kind)
    return torch.cartesian_prod(halves, halves[:2], halves)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("name", LISTS)
def test_places_are_the_nearest_over_the_rationals(name, kind):
    wide = torch.float64 if "64" in name else torch.float32
    values = torch.tensor(LISTS[name], dtype=wide)
    latents = latents_of(torch.float64 if kind == torch.float64 else torch.float32)
    latents = latents.clamp(-60000, 60000).to(kind) if kind == torch.float16 else latents
    places, codes = nearest_scalars(latents, values, INDEX, LEVELS)
    for row, found, code in zip(latents.tolist(), places.tolist(), codes.tolist(), strict=True):
        digits = []
        for number, entries in zip(row, INDEX.tolist(), strict=True):
            far = [abs(Fraction(number) - Fraction(float(values[i]))) for i in entries if i < 8]
            digits.append(far.index(min(far)))
        assert found == [int(INDEX[d, digit]) for d, digit in enumerate(digits)]
        assert code == digits[0] + 3 * (digits[1] + digits[2])


def test_the_operator_is_one():
    values = torch.tensor(LISTS["in any order"])
    arguments = latents_of(torch.float32), values, INDEX, list(LEVELS)
    torch.library.opcheck(nearest_scalars_operator, arguments)
    found = nearest_scalars_operator(*arguments)
    expected = nearest_scalars(arguments[0], values, INDEX, LEVELS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_value_that_is_not_finite_is_named():
    values = torch.tensor(LISTS["repeated"])
    values[[4, 6]] = torch.inf
    with pytest.raises(NonFiniteError, match=r"got inf at place 4 \(2 bad values in all\)"):
        nearest_scalars(latents_of(torch.float32), values, INDEX, LEVELS)
