"""LatentQuantize: the nearest learned value of each feature, whatever the order of the values."""

import math

import pytest
import torch

from certvq import assign
from certvq.errors import CodeRangeError, NonFiniteError, OptionError
from certvq.nn import LatentQuantize


def explicit(layer):
    """All points of the grid, in the order of their codes."""
    digits = layer.level_indices(torch.arange(layer.codebook_size))
    parts = layer.values.detach().split(layer.levels)
    return torch.stack([part[digits[:, d]] for d, part in enumerate(parts)], dim=1)


def scrambled(levels, seeded, dtype=torch.float32):
    """Values in no order, some repeated, some symmetric about others."""
    layer = LatentQuantize(levels).to(dtype)
    with torch.no_grad():
        layer.values.copy_(torch.randint(-8, 8, layer.values.shape, generator=seeded()) / 4)
    return layer


@pytest.mark.rows("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.rows("value_dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("levels", [(8, 5, 5), (3, 1, 40), (1, 1)])
def test_codes_are_those_of_assign_on_the_explicit_grid(levels, dtype, value_dtype, seeded):
    for layer in (scrambled(levels, seeded, value_dtype), LatentQuantize(levels).to(value_dtype)):
        tokens = torch.randn(300, len(levels), generator=seeded(1)).to(dtype)
        tokens[:100] = torch.randint(-20, 20, (100, len(levels)), generator=seeded(2)) / 8
        expected = assign(tokens.double(), explicit(layer).double()).codes
        assert torch.equal(layer.encode(tokens[None])[0], expected)
        assert torch.equal(layer.decode(expected[None])[0], explicit(layer)[expected])


def test_extreme_values_are_found_by_assign(seeded):
    layer = LatentQuantize((3, 4)).double()
    with torch.no_grad():
        numbers = [0.0, 5e-324, 1e-323, 1e200, -1e200, 3e200, 0.0]
        layer.values.copy_(torch.tensor(numbers, dtype=torch.float64))
    tokens = torch.tensor([[5e-324, 2.1e200], [0.0, 1.0], [2.0, -1e308]], dtype=torch.float64)
    assert layer.encode(tokens[None])[0].tolist() == [1 + 3 * 2, 0 + 3 * 3, 2 + 3 * 1]


def test_decoding_uses_the_learned_values(seeded, same_bits):
    layer = LatentQuantize((5, 4))
    optimiser = torch.optim.SGD(layer.parameters(), lr=5.0)
    start = layer.values.detach().clone()
    latents = torch.randn(1, 200, 2, generator=seeded())
    before = layer(latents).loss.item()
    for _ in range(20):
        optimiser.zero_grad()
        quantized, codes, loss = layer(latents)
        assert same_bits(quantized, layer.decode(codes))
        loss.backward()
        optimiser.step()
    assert not torch.equal(layer.values, start)
    assert layer(latents).loss.item() < before


def test_losses_teach_values_and_encoder_apart(seeded):
    layer = LatentQuantize((5, 4), quantization_weight=0.5, commitment_weight=2.0)
    latents = torch.randn(1, 30, 2, generator=seeded(), requires_grad=True)
    quantized, codes, loss = layer(latents)
    loss.backward()
    offset = (latents - quantized).detach()[0]
    torch.testing.assert_close(loss.detach(), 2.5 * offset.square().mean())
    torch.testing.assert_close(latents.grad[0], 2.0 * 2 * offset / offset.numel())
    expected = torch.zeros(9)
    digits = layer.level_indices(codes)[0] + torch.tensor([0, 5])
    expected.index_add_(0, digits.flatten(), -0.5 * 2 * offset.flatten() / offset.numel())
    torch.testing.assert_close(layer.values.grad, expected)


def test_fixed_values_are_a_buffer():
    layer = LatentQuantize((5, 4), learn_values=False)
    assert not list(layer.parameters())
    assert list(layer.state_dict()) == ["values"]
    assert layer.values.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5, -0.5, -0.25, 0.0, 0.25]


@pytest.mark.parametrize("levels", [(8,) * 21, (7,) * 22, (4096,) * 5 + (8,)])
def test_codes_up_to_two_to_the_sixty_three_are_exact(levels, seeded):
    layer = LatentQuantize(levels)
    assert layer.codebook_size == math.prod(levels) > 2**61
    codes = torch.randint(0, layer.codebook_size - 1, (1, 200), generator=seeded())
    codes[0, 0] = layer.codebook_size - 1
    assert torch.equal(layer.encode(layer.decode(codes)), codes)


@pytest.mark.parametrize(
    ("levels", "options", "text"),
    [
        ([], {}, "at least one feature"),
        ((3, 0), {}, "at least 1 each, got 0 at place 1"),
        ((8,) * 22, {}, r"at most 2\^63 codes"),
        ((3,), {"commitment_weight": -0.1}, "commitment_weight must be .* got -0.1"),
        ((3,), {"quantization_weight": math.inf}, "quantization_weight must be .* got inf"),
    ],
)
def test_wrong_options_are_named(levels, options, text):
    with pytest.raises(OptionError, match=text):
        LatentQuantize(levels, **options)


def test_damaged_values_are_named():
    layer = LatentQuantize((3, 2))
    with torch.no_grad():
        layer.values[4] = math.nan
    with pytest.raises(NonFiniteError, match="codebook must be finite, got nan at row 4"):
        layer(torch.zeros(1, 1, 2))
    with pytest.raises(NonFiniteError, match=r"values must be finite, got nan at place 4 \(1 bad"):
        layer.encode(torch.zeros(1, 1, 2))
    with pytest.raises(CodeRangeError, match=r"range\(6\), got 6"):
        layer.level_indices(torch.tensor([6]))
