"""LFQ: signs are nearest corners, over the real numbers; exact integers up to 2^63."""

import math
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certvq import assign, spec
from certvq.errors import CodeRangeError, NonFiniteError, OptionError
from certvq.nn import LFQ, Entropy

numbers = st.integers(-4, 4).map(lambda n: n / 4)


def corners(dim):
    """All corners of the cube, in the order of their codes."""
    return tuple(
        tuple(Fraction(1 if code >> (dim - 1 - d) & 1 else -1) for d in range(dim))
        for code in range(2**dim)
    )


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1))
def test_codes_are_the_lowest_nearest_ones_of_the_specification(rows):
    book = spec.Codebook(corners(3))
    codes = LFQ(3).encode(torch.tensor([rows]))[0].tolist()
    for row, code in zip(rows, codes, strict=True):
        latent = tuple(map(Fraction, row))
        assert spec.is_nearest_code(book, latent, code)
        assert code == min(spec.nearest_codes(book, latent))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_codes_are_those_of_assign_on_the_explicit_cube(dtype, seeded):
    tokens = torch.randn(400, 6, generator=seeded()).to(dtype)
    tokens[torch.rand(400, 6, generator=seeded(1)) < 0.1] = 0.0
    cube = torch.tensor([[float(x) for x in corner] for corner in corners(6)])
    for options in ({}, {"spherical": True}, {"scale": 0.5, "soft_clamp": 1.5}):
        layer = LFQ(6, **options)
        assert torch.equal(layer.encode(tokens[None])[0], assign(tokens, cube).codes)
        assert torch.equal(layer.decode(torch.arange(64)[None])[0], cube * layer.corner)


def test_the_least_number_has_a_sign():
    """Normalising would lose it: its square underflows."""
    least = torch.tensor([[[5e-324, -5e-324, 1.0]]], dtype=torch.float64)
    assert LFQ(3, spherical=True).encode(least).tolist() == [[0b101]]
    assert LFQ(3).encode(torch.full((1, 1, 3), -0.0)).tolist() == [[0]]


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 62, 63])
def test_codes_up_to_two_to_the_sixty_three_are_exact(dim, seeded):
    layer = LFQ(dim, entropy=None)
    assert layer.codebook_size == 2**dim
    codes = torch.randint(0, 2**dim - 1, (200,), generator=seeded())
    codes = torch.cat([codes, torch.tensor([0, 2**dim - 1])])[None]
    bits = layer.bits(codes)
    for code, row in zip(codes[0].tolist(), bits[0].tolist(), strict=True):
        assert code == int("".join(map(str, row)), 2)
    assert torch.equal(layer.encode(layer.decode(codes)), codes)
    assert len(pickle.dumps(layer)) < 10_000


def test_spherical_latents_and_corners_have_norm_one(seeded):
    layer = LFQ(5, spherical=True)
    tokens = torch.randn(20, 5, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(layer.latents(tokens).norm(dim=-1), torch.ones(20).double())
    vectors = layer.double().decode(torch.arange(32)[None])[0]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(32).double())


@pytest.mark.parametrize(
    "options", [{}, {"spherical": True}, {"soft_clamp": 1.5}, {"spherical": True, "scale": 0.5}]
)
def test_the_gradient_is_that_of_the_latents_of_the_loss(options, seeded):
    layer = LFQ(4, entropy=None, **options).double()
    latents = torch.randn(1, 9, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 9, 4, generator=seeded(1), dtype=torch.float64)
    (layer(latents).quantized * weights).sum().backward()
    twin = latents.detach().requires_grad_()
    (layer.latents(twin) * weights).sum().backward()
    torch.testing.assert_close(latents.grad, twin.grad)


def test_the_loss_is_the_one_of_the_docstring(seeded):
    """Against probabilities over all codes, written out."""
    entropy = Entropy(weight=0.3, diversity=0.6, inverse_temperature=2.0)
    for options in ({}, {"spherical": True}):
        layer = LFQ(4, entropy=entropy, commitment_weight=0.2, **options).double()
        latents = torch.randn(1, 50, 4, generator=seeded(), dtype=torch.float64)
        quantized, _, loss = layer(latents)
        table = layer.decode(torch.arange(16)[None])[0]
        scaled = layer.latents(latents)[0]
        probabilities = (2 * 2.0 * scaled @ table.T).softmax(-1)
        sample = torch.special.entr(probabilities).sum(-1).mean()
        batch = torch.special.entr(probabilities.mean(0)).sum()
        commitment = (scaled - quantized[0]).square().mean()
        torch.testing.assert_close(loss, 0.3 * (sample - 0.6 * batch) + 0.2 * commitment)
        figures = layer.metrics()
        assert figures["sample_entropy"] == pytest.approx(float(sample))
        assert figures["batch_entropy"] == pytest.approx(float(batch))
        assert figures["commitment_loss"] == pytest.approx(float(commitment))
        torch.testing.assert_close(layer.eval()(latents).loss, 0.2 * commitment)


def test_training_on_the_entropy_spreads_the_codes(seeded):
    """Latents that all share a sign at first come to use all codes."""
    layer = LFQ(3, entropy=Entropy(weight=1.0, diversity=2.0, inverse_temperature=1.0))
    latents = (torch.randn(1, 200, 3, generator=seeded()) + 2).requires_grad_()
    used = len(layer.encode(latents).unique())
    optimiser = torch.optim.Adam([latents], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        layer(latents).loss.backward()
        optimiser.step()
    assert used < 8 or layer.metrics()["batch_entropy"] > 2.0
    assert len(layer.encode(latents).unique()) == 8


def test_many_bits_with_groups(seeded):
    layer = LFQ(40, entropy=Entropy(group_bits=8))
    latents = torch.randn(1, 64, 40, generator=seeded(), requires_grad=True)
    layer(latents).loss.backward()
    assert torch.isfinite(latents.grad).all()


@pytest.mark.parametrize(
    ("dim", "options", "text"),
    [
        (64, {"entropy": None}, "dim must be at most 63, as codes are int64, got 64"),
        (0, {}, "dim must be at least 1, got 0"),
        (21, {}, r"over 2\^21 codes is computed up to 2\^20; give Entropy\(group_bits=16\)"),
        (3, {"scale": 0.0}, "scale must be finite and above 0, got 0.0"),
        (3, {"soft_clamp": 0.5}, "soft_clamp must be finite and at least scale=1.0, got 0.5"),
        (3, {"commitment_weight": -1.0}, "commitment_weight must be .* got -1.0"),
    ],
)
def test_wrong_options_are_named(dim, options, text):
    with pytest.raises(OptionError, match=text):
        LFQ(dim, **options)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_bits_of_codes_of_any_type_of_integer(kind):
    codes = torch.tensor([[5, 0], [7, 2]])
    assert torch.equal(LFQ(3).bits(codes.to(getattr(torch, kind))), LFQ(3).bits(codes))


def test_wrong_input_is_named():
    layer = LFQ(3)
    with pytest.raises(CodeRangeError, match=r"range\(8\), got 8"):
        layer.bits(torch.tensor([8]))
    latents = torch.zeros(1, 2, 3)
    latents[0, 1, 2] = 1e30
    with pytest.raises(NonFiniteError, match="in training must be at most .* at row 1, column 2"):
        layer(latents)
    latents[0, 1, 2] = math.nan
    with pytest.raises(NonFiniteError, match="got nan at row 1, column 2"):
        layer.eval()(latents)
