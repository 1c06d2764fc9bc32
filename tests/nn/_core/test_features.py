"""Numbers by feature: the same bits as by broadcasting, whichever way is taken."""

import pytest
import torch

from certvq.nn._core.features import by_feature


@pytest.mark.parametrize("operation", [torch.add, torch.mul, torch.div])
@pytest.mark.rows("rows", [0, 1, 64, 2047, 2048, 2049])
@pytest.mark.rows("features", [1, 3, 63, 64])
def test_the_same_bits_and_gradients(operation, rows, features, seeded, same_bits):
    kind = {"dtype": torch.float64}
    given = torch.randn(rows, features, generator=seeded(), requires_grad=True, **kind)
    numbers = torch.randn(features, generator=seeded(1), requires_grad=True, **kind)
    weights = torch.randn(rows, features, generator=seeded(2), **kind)
    result, expected = by_feature(operation, given, numbers), operation(given, numbers)
    assert same_bits(result, expected)
    mine, theirs = (
        torch.autograd.grad((values * weights).sum(), (given, numbers))
        for values in (result, expected)
    )
    assert same_bits(mine[0], theirs[0])
    torch.testing.assert_close(mine[1], theirs[1])


def test_rows_that_do_not_lie_one_after_the_other(seeded, same_bits):
    rows, numbers = torch.randn(3, 2048, generator=seeded()).T, torch.randn(3, generator=seeded(1))
    assert same_bits(by_feature(torch.mul, rows, numbers), rows * numbers)


def test_rows_of_more_axes_are_broadcast():
    rows, numbers = torch.arange(24.0).reshape(2, 4, 3), torch.tensor([1.0, 2.0, 4.0])
    assert torch.equal(by_feature(torch.mul, rows, numbers), rows * numbers)
