"""Finite scalar perturbation: exact bins, exact codes up to 2^63, noise within half a bin."""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq import spec
from certvq.errors import NonFiniteError, OptionError
from certvq.nn import FSP, Moments
from certvq.nn._scalar.activations import ACTIVATIONS

ROOT12 = math.sqrt(12.0)


def lowest_nearest(share, size):
    """Return the lowest midpoint nearest to a share, by exact arithmetic."""
    gaps = [abs(Fraction(share) - Fraction(2 * bin_ + 1, 2 * size)) for bin_ in range(size)]
    return gaps.index(min(gaps))


def bins_of(shares, levels):
    layer = FSP(levels)
    return layer._bins(shares).tolist()


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(2, 40),
    border=st.integers(0, 40),
    steps=st.integers(-3, 3),
    kind=st.sampled_from([torch.float32, torch.float64]),
)
def test_bins_beside_borders_are_exact(size, border, steps, kind):
    """Floats at m / L and up to three steps beside it: the rounded product is often an integer."""
    share = torch.tensor(border / size, dtype=kind).clamp(0, 1)
    for _ in range(abs(steps)):
        share = torch.nextafter(share, torch.tensor(float(steps > 0), dtype=kind))
    expected = lowest_nearest(share.item(), size)
    assert bins_of(share.reshape(1, 1), [size]) == [[expected]]


@settings(max_examples=200, deadline=None)
@given(size=st.integers(2, 1 << 20), border=st.integers(0, 1 << 20), steps=st.integers(-2, 2))
def test_bins_of_float64_are_exact_up_to_the_most_levels(size, border, steps):
    share = torch.tensor(min(1.0, border / size), dtype=torch.float64)
    for _ in range(abs(steps)):
        share = torch.nextafter(share, torch.tensor(float(steps > 0), dtype=torch.float64))
    exact = Fraction(share.item()) * size
    assert bins_of(share.reshape(1, 1), [size]) == [[max(0, math.ceil(exact) - 1)]]


def test_codes_are_the_nearest_of_the_grid(seeded):
    """`grid_round_isNearestCode`, on a grid small enough to write down."""
    levels = (3, 4, 2)
    grid = [
        tuple(
            Fraction(2 * digit + 1, 2 * size)
            for digit, size in zip(digits[::-1], levels, strict=True)
        )
        for digits in product(*(range(size) for size in levels[::-1]))
    ]
    book = spec.Codebook(tuple(grid))
    for name, activation in ACTIVATIONS.items():
        layer = FSP(levels, activation=name).eval()
        latents = torch.randn(1, 30, 3, generator=seeded())
        latents[0, 0] = 0.0
        shares = activation.forward(latents[0]).double().tolist()
        expected = [min(spec.nearest_codes(book, tuple(map(Fraction, row)))) for row in shares]
        assert layer.encode(latents)[0].tolist() == expected


def test_a_border_belongs_to_the_lower_bin():
    layer = FSP([2, 4]).eval()
    assert layer.encode(torch.zeros(1, 1, 2)).tolist() == [[0 + 2 * 1]]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize(
    "options", [{}, {"invert": True}, {"invert": True, "activation": "cauchy"}]
)
def test_vectors_are_rounded_midpoints(kind, options):
    layer = FSP([5], **options).to(kind).eval()
    vectors = layer.decode(torch.arange(5)[None])[0, :, 0]
    middle = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    exact = (middle - 0.5) * ROOT12
    if options:
        exact = ACTIVATIONS[layer.activation].inverse(middle)
    torch.testing.assert_close(vectors.double(), exact, rtol=torch.finfo(kind).eps, atol=1e-15)
    assert vectors[2] == 0.0


@pytest.mark.parametrize("levels", [[8] * 21, [2] * 63, [1 << 20] * 3 + [8], [3] * 39])
def test_codes_survive_the_way_there_and_back_up_to_2_to_the_63(levels, seeded):
    layer = FSP(levels, invert=True).double().eval()
    size = layer.codebook_size
    assert size == math.prod(levels) <= 2**63
    codes = torch.randint(min(size, 2**63 - 1), (1, 300), generator=seeded())
    codes[0, :2] = torch.tensor([0, size - 1])
    assert torch.equal(layer.encode(layer.decode(codes)), codes)


def test_vectors_have_variance_one_over_the_uniform_distribution():
    layer = FSP([1001]).double()
    vectors = layer.decode(torch.arange(1001)[None])
    # the variance of n midpoints falls short of that of uniform numbers by 1/n^2
    assert vectors.var(unbiased=False).item() == pytest.approx(1.0 - 1001**-2, rel=1e-12)


def test_noise_stays_within_half_a_bin(seeded):
    layer = FSP([2, 3, 9], moments=None, generator=seeded())
    latents = torch.randn(1, 4000, 3, generator=seeded(1))
    quantized, codes, loss = layer(latents)
    shares = (torch.tanh(latents.double()) + 1) / 2
    moved = (quantized.double() / ROOT12 + 0.5 - shares)[0]
    half = 1 / (2 * torch.tensor([2.0, 3.0, 9.0]).double())
    # one rounding of shares, noise and vectors to float32 each
    assert (moved.abs().amax(0) <= half + 4 * 2.0**-24).all()
    assert (moved.abs().amax(0) > 0.95 * half).all()
    assert torch.equal(codes, layer.encode(latents))
    assert loss == 0.0
    inside = layer.metrics()["inside"]
    assert 0.5 < inside < 1.0


def test_the_rate_says_how_many_are_quantized(seeded):
    layer = FSP([4] * 4, quantize_rate=0.75, generator=seeded())
    quantized, codes, _ = layer(torch.randn(1, 5000, 4, generator=seeded(1)))
    share = (quantized == layer.decode(codes)).double().mean().item()
    assert abs(share - 0.75) < 6 * math.sqrt(0.75 * 0.25 / 20000)


def test_with_rate_one_train_mode_is_eval_mode(seeded, same_bits):
    layer = FSP([4] * 4, quantize_rate=1.0, generator=seeded())
    before = layer.generator.get_state()
    latents = torch.randn(1, 50, 4, generator=seeded(1))
    assert same_bits(layer(latents).quantized, layer.eval()(latents).quantized)
    assert torch.equal(layer.generator.get_state(), before)


def test_the_gradient_is_that_of_the_activation(seeded):
    for mode in (True, False):
        layer = FSP([3, 5], moments=None, activation="sigmoid").double().train(mode)
        z = torch.randn(1, 4, 2, dtype=torch.float64, generator=seeded(), requires_grad=True)
        layer(z).quantized.sum().backward()
        share = torch.sigmoid(z.detach())
        torch.testing.assert_close(z.grad, share * (1 - share) * ROOT12, rtol=1e-12, atol=0)


def test_inverted_the_gradient_goes_straight_through(seeded):
    layer = FSP([3, 5], moments=None, invert=True)
    z = torch.randn(1, 4, 2, generator=seeded(), requires_grad=True)
    layer(z).quantized.sum().backward()
    assert (z.grad == 1.0).all()


def test_inverted_vectors_are_shaken_latents(seeded):
    """Within the bins beside the latent's own, whatever the activation."""
    for name in ACTIVATIONS:
        layer = FSP([8, 8], moments=None, invert=True, activation=name, generator=seeded())
        latents = torch.randn(1, 500, 2, generator=seeded(1))
        quantized = layer(latents).quantized
        assert torch.isfinite(quantized).all()
        forward = ACTIVATIONS[name].forward
        moved = (forward(quantized) - forward(latents)).abs()
        assert moved.max() <= 1 / 16 + 1e-5
        assert moved.max() > 1 / 18


def test_the_loss_is_that_of_the_moments(seeded):
    moments = Moments()
    layer = FSP([3, 5], moments=moments)
    latents = torch.randn(1, 40, 2, generator=seeded())
    assert layer(latents).loss == moments(latents[0])
    assert layer.metrics()["moments_loss"] == moments(latents[0]).item()


def test_extreme_latents_have_the_last_bins():
    latents = torch.tensor([[[-3e38, 3e38]]])
    for name in ACTIVATIONS:
        layer = FSP([5, 7], activation=name).eval()
        assert layer.encode(latents).tolist() == [[0 + 5 * 6]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": []}, "levels must name at least one feature, got an empty list"),
        ({"levels": [3, 1]}, "levels must be at least 2 each, got 1 at place 1"),
        ({"levels": [3, 2 << 20]}, "levels must be at most 1048576 each, got 2097152"),
        ({"levels": [2] * 64}, "at most 2.63 codes, .* got 18446744073709551616"),
        ({"quantize_rate": 1.5}, r"quantize_rate must lie in \[0, 1\], got 1.5"),
        ({"activation": "relu"}, "got 'relu'"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        FSP(**{"levels": [3, 5], **options})


@pytest.mark.parametrize("training", [True, False])
def test_nan_is_named(training):
    latents = torch.zeros(1, 3, 2)
    latents[0, 2, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 2, column 1"):
        FSP([3, 5]).train(training)(latents)
