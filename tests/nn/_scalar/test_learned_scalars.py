"""Chosen numbers: their bits, what both sides learn, and derivatives of second order."""

import pytest
import torch

from certvq.nn._scalar.learned_scalars import choose, chosen_by_parts

WEIGHTS = (1.0, 0.7, 0.3)
"""Of the vectors' sum, the commitment and what is taught: no two alike."""


@pytest.fixture
def made(seeded):
    def make(dtype=torch.float64, rows=40):
        latents = torch.randn(rows, 3, generator=seeded(), dtype=dtype, requires_grad=True)
        numbers = torch.randn(7, generator=seeded(1), dtype=dtype, requires_grad=True)
        return latents, numbers, torch.randint(7, (rows, 3), generator=seeded(2))

    return make


def total(found, cotangents):
    first, second, third = WEIGHTS
    vectors = (found.vectors * cotangents.to(found.vectors.dtype)).sum()
    return first * vectors + second * found.commitment + third * found.taught


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_both_ways_give_the_same(dtype, made, seeded, same_bits):
    latents, numbers, places = made(dtype)
    cotangents = torch.randn(latents.shape, generator=seeded(3))
    found, expected = (way(latents, numbers, places) for way in (choose, chosen_by_parts))
    assert same_bits(found.vectors, numbers.detach()[places])
    assert same_bits(found.vectors, expected.vectors)
    assert found.commitment == found.taught
    assert found.commitment.dtype == expected.commitment.dtype
    torch.testing.assert_close(found.commitment, expected.commitment)
    mine, theirs = (
        torch.autograd.grad(total(one, cotangents), (latents, numbers)) for one in (found, expected)
    )
    eps = torch.finfo(dtype).eps
    for each, other in zip(mine, theirs, strict=True):
        assert each.dtype == other.dtype == dtype
        # Addends are rounded to the type before they are added, and may cancel.
        rounding = eps * float(other.abs().max())
        torch.testing.assert_close(each, other, rtol=4 * eps, atol=rounding)


def test_the_gradients_of_the_formula(made):
    latents, numbers, places = made()
    found = choose(latents, numbers, places)
    (found.commitment + found.taught).backward()
    difference = latents.detach() - numbers.detach()[places]
    assert torch.equal(latents.grad, difference * (2 / difference.numel()))
    for place in range(len(numbers)):
        expected = -2 / difference.numel() * difference[places == place].sum()
        torch.testing.assert_close(numbers.grad[place], expected, rtol=1e-12, atol=1e-15)


def test_derivatives_of_second_order(made, seeded):
    """As by the parts; straight through, the vectors have none."""
    latents, numbers, places = made()
    cotangents = torch.randn(latents.shape, generator=seeded(3), dtype=torch.float64)
    seconds = []
    for way in (choose, chosen_by_parts):
        found = total(way(latents, numbers, places), cotangents)
        first = torch.autograd.grad(found, (latents, numbers), create_graph=True)
        penalty = first[0].square().sum() + first[1].pow(3).sum()
        seconds.append(torch.autograd.grad(penalty, (latents, numbers)))
    for each, other in zip(*seconds, strict=True):
        assert bool(other.abs().max() > 1e-4), "a penalty that no gradient depends on shows nothing"
        torch.testing.assert_close(each, other, rtol=1e-12, atol=1e-12)


def test_what_wants_no_gradient_gets_none(made):
    latents, numbers, places = made()
    for given in ((latents.detach(), numbers), (latents, numbers.detach())):
        found = choose(*given, places)
        total(found, torch.ones(latents.shape)).backward()
    assert latents.grad is not None
    assert numbers.grad is not None
    for by_latents in (True, False):
        for by_numbers in (True, False):
            found = choose(
                latents if by_latents else latents.detach(),
                numbers if by_numbers else numbers.detach(),
                places,
            )
            wanted = [by_latents, by_latents, by_numbers]
            assert [one.requires_grad for one in found] == wanted


def test_sums_beyond_the_greatest_number_and_empty_batches(made):
    numbers, places = torch.tensor([-3e38, 3e38]), torch.tensor([[1]])
    found = choose(torch.tensor([[-3e38]]), numbers, places)
    assert found.commitment == torch.finfo(torch.float32).max
    latents, numbers, places = made(rows=0)
    found = choose(latents, numbers, places)
    assert found.commitment == 0.0
    total(found, torch.zeros(0, 3)).backward()
    assert numbers.grad.abs().max() == 0.0
