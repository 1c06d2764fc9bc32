"""The bounds of floats hold, and each is needed: errors that nearly reach them exist."""

import math

import flint
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network import capture
from certvq.network._bounded import Bounded, along, entry_errors, exact, tracked, widened
from certvq.network._exact import exact_latents, is_rational
from certvq.network._float64 import bounded_constants, bounded_latents
from certvq.network._numbers import Balls
from certvq.network._source import Source, source_of
from certvq.network._wide import AVAILABLE, nearest, rest
from certvq.network.rules._pointwise import Elu, Gelu, LeakyRelu, OfTorch, Relu, Sigmoid, Silu
from certvq.network.rules._snake import Snake

SIZE = 2.0**-20
"""Of the errors of inputs: above rounding, small enough that functions are nearly linear."""


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double().eval()


def worst_error(module, x, place, result_place, axis):
    """Return the input whose vector at one place is off by `SIZE` in the worst direction."""
    matrix = torch.autograd.functional.jacobian(module, x)
    rows = matrix.movedim(axis, 0).reshape(matrix.shape[axis], -1, *x.shape)[:, result_place]
    columns = rows.movedim(axis + 1, 1).reshape(len(rows), x.shape[axis], -1)[:, :, place]
    direction = torch.linalg.svd(columns).Vh[0]
    off = torch.zeros_like(x).movedim(axis, 0).reshape(x.shape[axis], -1)
    off[:, place] = direction * SIZE
    shape = (x.shape[axis], *x.shape[:axis], *x.shape[axis + 1 :])
    return x - off.reshape(shape).movedim(0, axis)


def bound_and_error(module, x, true, axis, *, kept=True, pairs=False):
    """Return (bounds, true errors) of the vectors of the result along an axis."""
    network = capture(module, x)
    error = (x - true).norm(dim=axis, keepdim=True) * (1 + 2.0**-40) if kept else 0 * x
    source = Bounded(x, error, axis if kept else None)
    if pairs:
        constants = bounded_constants(network, narrow=bounded_constants(network))
        bounded = along(bounded_latents(network, widened(source), constants=constants), axis)
    else:
        bounded = along(bounded_latents(network, source), axis)
    with flint.ctx.workprec(400):
        mask = np.ones(network.output.shape, bool)
        objects = exact_latents(network, Source(true, 1), mask, Balls(400))
        flat = np.moveaxis(objects, axis, 0).reshape(objects.shape[axis], -1)
        high, low = (
            part(bounded.value).movedim(axis, 0).reshape(objects.shape[axis], -1).T.tolist()
            for part in (nearest, rest)
        )
        errors = [
            float(sum((a - flint.arb(b) - flint.arb(c)) ** 2 for a, b, c in row).sqrt().upper())
            for row in (zip(*each, strict=True) for each in zip(flat.T, high, low, strict=True))
        ]
    return bounded.error.reshape(-1), torch.tensor(errors, dtype=torch.float64)


def grid(value, channels=3):
    return torch.full((1, channels, 1, 1), value, dtype=torch.float64)


def randoms(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Of(nn.Module):
    """A function of the input, and of a parameter if one is given."""

    def __init__(self, function, held=None):
        super().__init__()
        self.function = function
        self.held = None if held is None else nn.Parameter(held, requires_grad=False)

    def forward(self, x):
        return self.function(x) if self.held is None else self.function(x, self.held)


class Steps(nn.Module):
    """An LSTM along the places."""

    def __init__(self, inputs, size):
        super().__init__()
        self.lstm = nn.LSTM(inputs, size, batch_first=True)

    def forward(self, x):
        return self.lstm(x.mT)[0].mT


attention = functional.scaled_dot_product_attention
MATRIX = randoms(1, 4, 4)
SHARP = torch.tensor([[[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]]]).double()
"""Keys on opposite sides, between which softmax moves fastest; (1, dim, places)."""

RAISED = torch.tensor([[0.5, 0.5], [0.0, -30.0]])

CASES = {
    "conv 1x1": (lambda: nn.Conv2d(8, 5, 1), randoms(1, 8, 1, 1), 0, 0, 1, 1.1),
    "conv, no bias": (lambda: nn.Conv1d(8, 5, 1, bias=False), randoms(1, 8, 1), 0, 0, 1, 1.1),
    "conv 3x3, one tap": (lambda: nn.Conv2d(4, 4, 3, padding=1), randoms(1, 4, 3, 3), 0, 4, 1, 1.1),
    "conv, groups": (lambda: nn.Conv1d(6, 6, 1, groups=3), randoms(1, 6, 1), 0, 0, 1, 1.1),
    "conv, dilation, stride": (
        lambda: nn.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2),
        randoms(1, 2, 6),
        2,
        1,
        1,
        1.1,
    ),
    "transposed conv": (
        lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        randoms(1, 4, 3),
        1,
        2,
        1,
        1.1,
    ),
    "bicubic, a weight below 0": (
        lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
        randoms(1, 3, 4, 4),
        6,
        45,
        1,
        1.1,
    ),
    "linear": (lambda: nn.Linear(5, 7), randoms(2, 5), 1, 1, 1, 1.1),
    "relu": (nn.ReLU, grid(0.7), 0, 0, 1, 1.01),
    "leaky relu": (lambda: nn.LeakyReLU(2.0), grid(-0.7), 0, 0, 1, 1.01),
    "elu": (lambda: nn.ELU(2.0), grid(-(2.0**-10)), 0, 0, 1, 1.01),
    "silu": (nn.SiLU, grid(2.3994), 0, 0, 1, 1.01),
    "gelu": (nn.GELU, grid(1.41421), 0, 0, 1, 1.01),
    "gelu tanh": (lambda: nn.GELU("tanh"), grid(1.43), 0, 0, 1, 1.01),
    "tanh": (nn.Tanh, grid(0.0), 0, 0, 1, 1.01),
    "sigmoid": (nn.Sigmoid, grid(0.0), 0, 0, 1, 1.01),
    "sum": (lambda: Of(lambda x: x + x), grid(0.5), 0, 0, 1, 1.01),
    "sum, a decimal": (lambda: Of(lambda x: x + 0.1), grid(0.5), 0, 0, 1, 1.01),
    "difference": (lambda: Of(lambda x: 3 - x), grid(0.5), 0, 0, 1, 1.01),
    "sum, alpha": (lambda: Of(lambda x: torch.add(x, x, alpha=3)), grid(0.5), 0, 0, 1, 1.01),
    "reversed, alpha": (lambda: Of(lambda x: torch.rsub(x, 3, alpha=-5)), grid(0.5), 0, 0, 1, 1.01),
    "sin": (lambda: Of(torch.sin), grid(0.0), 0, 0, 1, 1.01),
    "cos": (lambda: Of(torch.cos), grid(math.pi / 2), 0, 0, 1, 1.01),
    "lstm, one step": (lambda: Steps(1, 24), randoms(1, 1, 1), 0, 0, 1, 4.0),
    "lstm, steps": (lambda: Steps(8, 8), randoms(1, 8, 9), 0, 0, 1, 4.0),
    "square": (lambda: Of(lambda x: x**2), grid(0.5), 0, 0, 1, 1.01),
    "nearest": (
        lambda: Of(lambda x: functional.interpolate(x, scale_factor=3)),
        randoms(1, 3, 2),
        1,
        5,
        1,
        1.01,
    ),
    "product": (lambda: Of(lambda x: x * x), grid(0.5), 0, 0, 1, 1.01),
    "quotient": (lambda: Of(lambda x: x / -3), grid(0.5), 0, 0, 1, 1.01),
    "reciprocal": (lambda: Of(lambda x: 1 / x), grid(0.5, 1), 0, 0, 1, 1.01),
    "average pooling": (lambda: nn.AvgPool2d(2), randoms(1, 3, 2, 2), 1, 0, 1, 1.01),
    "maximum pooling": (
        lambda: nn.MaxPool1d(2),
        torch.tensor([[[1.0, 2.0], [4.0, 5.0]]]).double(),
        1,
        0,
        1,
        1.01,
    ),
    "adaptive pooling": (lambda: nn.AdaptiveAvgPool1d(1), randoms(1, 3, 4), 1, 0, 1, 1.01),
    "group norm": (lambda: nn.GroupNorm(1, 64), randoms(1, 64, 1), 0, 0, 1, 4.0),
    "group norm, places": (lambda: nn.GroupNorm(2, 4), randoms(1, 4, 50), 3, 3, 1, 4.0),
    "group norm, groups": (lambda: nn.GroupNorm(16, 64), randoms(1, 64, 50), 3, 3, 1, 4.0),
    "layer norm": (lambda: nn.LayerNorm(64), randoms(1, 64), 0, 0, 1, 4.0),
    "rms norm": (lambda: nn.RMSNorm(64, eps=1e-6), randoms(1, 64), 0, 0, 1, 3.0),
    "batch norm": (lambda: nn.BatchNorm1d(3), grid(0.3).reshape(1, 3, 1), 0, 0, 1, 1.01),
    "snake": (
        lambda: Of(lambda x, a: x + a.reciprocal() * torch.sin(a * x).pow(2), grid(3.0, 1)),
        grid(math.pi / 12),
        0,
        0,
        1,
        1.01,
    ),
    "snake, another factor": (
        lambda: Of(lambda x, a: x + torch.sin(x * a).pow(2) * (a - 2.5), grid(3.0, 1)),
        grid(math.pi / 12),
        0,
        0,
        1,
        1.41,
    ),
    "snake, many channels": (
        lambda: Of(
            lambda x, a: x + a.reciprocal() * torch.sin(a * x).pow(2),
            torch.linspace(1, 4, 5).double().reshape(5, 1),
        ),
        torch.full((1, 5, 3), math.pi / 16).double(),
        1,
        1,
        1,
        1.01,
    ),
    "linear upsampling": (
        lambda: Of(lambda x: functional.interpolate(x, scale_factor=2, mode="linear")),
        randoms(1, 3, 3),
        0,
        0,
        1,
        1.01,
    ),
    "product of rows": (
        lambda: Of(lambda x, m: (x.mT @ m).mT, MATRIX),
        randoms(1, 4, 3),
        1,
        1,
        1,
        1.5,
    ),
    "product of columns": (lambda: Of(lambda x, m: m @ x, MATRIX), randoms(1, 4, 3), 1, 1, 1, 1.5),
    "softmax": (lambda: Of(lambda x: x.softmax(1)), grid(0.5, 2), 0, 0, 1, 2.01),
    "attention": (
        lambda: Of(lambda x, k: attention(x.mT, k.mT, k.mT).mT, SHARP),
        SHARP,
        0,
        0,
        1,
        6.0,
    ),
    "attention, a mask": (
        lambda: Of(lambda x, k: attention(x.mT, k.mT, k.mT, attn_mask=RAISED).mT, SHARP),
        SHARP,
        0,
        0,
        1,
        6.0,
    ),
    "attention, values": (
        lambda: Of(lambda x, k: attention(k.mT, k.mT, x.mT).mT, SHARP),
        SHARP,
        0,
        0,
        1,
        6.0,
    ),
    "permutation": (lambda: Of(lambda x: x.permute(0, 2, 1)), randoms(1, 3, 3), 0, 0, 1, 2.0),
    "concatenation": (lambda: Of(lambda x: torch.cat([x, x], 1)), grid(1.0), 0, 0, 1, 1.01),
    "pad": (lambda: Of(lambda x: functional.pad(x, (1, 1))), grid(1.0), 0, 1, 1, 1.01),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 1)),
        randoms(1, 3),
        0,
        0,
        1,
        1.1,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_bound_of_an_operator_holds_and_is_sharp(name):
    """The worst error of an input becomes one that the bound exceeds by a small factor only."""
    make, x, place, result_place, axis, factor = CASES[name]
    module = seeded(make)
    true = worst_error(module, x, place, result_place, axis)
    bounds, errors = bound_and_error(module, x, true, axis)
    assert (errors <= bounds).all()
    if name != "permutation":  # whose vectors afterwards are others
        assert bounds[result_place] <= factor * errors[result_place]


PLACES = torch.arange(4)
THIRD = torch.tensor([0, 2, 2])

OPERATORS = [
    (nn.Hardtanh(), 1.9),
    (nn.ReLU6(), 1.9),
    (lambda x: x.clamp(min=0.25), 1.9),
    (lambda x: x.clip(max=0.3), 1.9),
    (nn.Hardswish(), 1.9),
    (nn.Hardsigmoid(), 1.9),
    (nn.Softplus(2.0), 1.9),
    (nn.LogSigmoid(), 1.9),
    (nn.Mish(), 1.9),
    (nn.CELU(0.7), 1.9),
    (nn.SELU(), 1.9),
    (nn.PReLU(4), 1.9),
    (lambda x: functional.glu(x, 1), 1.9),
    (torch.abs, 1.9),
    (torch.square, 1.9),
    (torch.exp, 1.9),
    (lambda x: torch.log(x * x + 0.1), 1.9),
    (lambda x: torch.sqrt(x * x + 0.1), 1.9),
    (lambda x: torch.rsqrt(x * x + 0.1), 1.9),
    (lambda x: torch.maximum(x, -2 * x), 1.9),
    (lambda x: torch.minimum(x, x * x), 1.9),
    (lambda x: torch.where(PLACES > 1, x, 0.5), 1.9),
    (lambda x: torch.where(PLACES[:, None, None] > 1, x, x * 2), 1.9),
    (lambda x: x.masked_fill(PLACES > 2, -1e9).softmax(-1), 4.0),
    (lambda x: x.masked_fill(PLACES > 2, -math.inf).softmax(-1), 4.0),
    (lambda x: x.roll((1, 2), (2, 3)), 1.9),
    (lambda x: x.roll(3), 1.9),
    (lambda x: x.flip(2), 1.9),
    (lambda x: functional.pixel_shuffle(x, 2), 1.9),
    (lambda x: functional.pixel_unshuffle(x, 2), 1.9),
    (lambda x: functional.unfold(x, 2, stride=2, padding=1), 1.9),
    (lambda x: x.unfold(2, 2, 1), 1.9),
    (lambda x: x.repeat(1, 2, 1, 1), 1.9),
    (lambda x: x.repeat_interleave(2, dim=2), 1.9),
    (lambda x: torch.stack([x, -x], 1), 1.9),
    (lambda x: x.unbind(1)[2], 1.9),
    (lambda x: x[:, :, THIRD], 1.9),
    (lambda x: x[:, THIRD], 1.9),
    (lambda x: x.mean(-1, keepdim=True), 1.9),
    (lambda x: x.sum((1, 2)), 1.9),
    (lambda x: x.amax(1), 1.9),
    (lambda x: x.norm(dim=(1, 2)), 4.0),
    (lambda x: functional.normalize(x, dim=1), 3.0),
    (nn.InstanceNorm2d(4), 8.0),
    (lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6), 8.0),
    (lambda x: functional.interpolate(x, scale_factor=2, mode="nearest-exact"), 1.9),
]


@pytest.mark.slow
@pytest.mark.rows(("function", "factor"), OPERATORS)
@pytest.mark.parametrize("vectors", [False, True])
def test_operators_are_those_of_torch_within_bounds(function, factor, vectors):
    """Values are torch's; errors of entries are spread sharply, those of vectors enough."""
    module, x = seeded(lambda: Of(function)), randoms(1, 4, 4, 4)
    network = capture(module, x)
    torch.testing.assert_close(bounded_latents(network, exact(x)).value, module(x))
    off = SIZE * randoms(1, 4, 4, 4).flip(1).abs()
    true, slack = x - off, 1 + 2.0**-20
    error = off.norm(dim=1, keepdim=True) if vectors else off
    for given, start in ((exact(x), x), (Bounded(x, error * slack, 1 if vectors else None), true)):
        found = bounded_latents(network, given)
        with flint.ctx.workprec(300):
            mask = np.ones(network.output.shape, bool)
            objects = exact_latents(network, Source(start, 1), mask, Balls(300))
            pairs = zip(objects.flat, found.value.flatten().tolist(), strict=True)
            apart = [float(abs(a - flint.arb(b)).upper()) for a, b in pairs]
        errors = torch.tensor(apart, dtype=torch.float64).reshape(found.value.shape)
        if found.axis is not None:
            errors = errors.norm(dim=found.axis, keepdim=True) * (1 - 2.0**-40)
        assert found.error.shape == errors.shape
        assert (errors <= found.error).all()
    moved = errors > SIZE * 2.0**-12
    assert vectors or (found.error[moved] / errors[moved]).min() <= factor


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        (name, pairs)
        for name in sorted(set(CASES) - {"relu", "maximum pooling", "pad"})
        for pairs in (False, True)
    ],
)
def test_rounding_is_within_its_bound(name, pairs):
    """Exact inputs leave rounding alone; where something was rounded, the bound is no floor."""
    make, x, *_ = CASES[name]
    module, axis = seeded(make), 1
    x = (x + randoms(*x.shape) / 7).requires_grad_(False)
    bounds, errors = bound_and_error(module, x, x, axis, kept=False, pairs=pairs)
    assert (errors <= bounds).all()
    assert bounds.max() < (2.0**-80 if pairs else 1e-10)


def whole_bound_and_error(module, given, true):
    """Return the bound of a whole sample, and the true error of it."""
    network = capture(module, given.value)
    found = bounded_latents(network, given if given.whole is not None else tracked(given))
    with flint.ctx.workprec(400):
        mask = np.ones(network.output.shape, bool)
        objects = exact_latents(network, Source(true, 1), mask, Balls(400))
        pairs = zip(objects.flat, found.value.flatten().tolist(), strict=True)
        off = [a - flint.arb(b) for a, b in pairs]
        error = float(sum(each * each for each in off).sqrt().upper())
    assert found.whole is not None
    assert len(found.whole) == len(found.value)
    return float(found.whole.max()), error


WHOLE = {
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), randoms(1, 3, 7, 7), 1.35),
    "conv, stride": (lambda: nn.Conv1d(3, 4, 4, stride=2, padding=1), randoms(1, 3, 24), 1.2),
    "conv, dilation": (lambda: nn.Conv1d(3, 4, 3, padding=2, dilation=2), randoms(1, 3, 24), 1.2),
    "transposed conv": (
        lambda: nn.ConvTranspose1d(4, 3, 4, stride=2, padding=1),
        randoms(1, 4, 12),
        1.6,
    ),
    "linear": (lambda: nn.Linear(5, 7), randoms(1, 4, 5), 1.1),
    "silu": (nn.SiLU, grid(2.3994), 1.01),
    "relu": (nn.ReLU, grid(0.7), 1.01),
    "snake": (
        lambda: Of(lambda x, a: x + a.reciprocal() * torch.sin(a * x).pow(2), grid(3.0, 1)),
        grid(math.pi / 12),
        1.01,
    ),
    "sum": (lambda: Of(lambda x: x + x), grid(0.5), 1.01),
    "product": (lambda: Of(lambda x: x * x), grid(0.5), 1.01),
    "quotient": (lambda: Of(lambda x: x / -3), grid(0.5), 1.01),
    "scales": (lambda: Of(lambda x, w: x * w, randoms(3, 1)), randoms(1, 3, 4), 1.01),
    "group norm": (lambda: nn.GroupNorm(2, 4), randoms(1, 4, 50), 1.3),
    "layer norm": (lambda: nn.LayerNorm(8), randoms(1, 3, 8), 1.01),
    "permutation": (lambda: Of(lambda x: x.permute(0, 2, 1)), randoms(1, 3, 4), 1.01),
    "edges repeated": (
        lambda: Of(lambda x: functional.pad(x, (2, 2), mode="replicate")),
        randoms(1, 3, 4),
        1.01,
    ),
    "another first axis": (lambda: Of(lambda x: x.permute(1, 0, 2)), randoms(1, 3, 4), 1.01),
    "concatenation": (lambda: Of(lambda x: torch.cat([x, 2 * x], 1)), randoms(1, 3, 4), 1.01),
    "product of matrices": (lambda: Of(lambda x, m: x.mT @ m, MATRIX), randoms(1, 4, 3), 1.1),
    "softmax": (lambda: Of(lambda x: x.softmax(1)), randoms(1, 4, 5), 2.0),
    "softmax of two": (lambda: Of(lambda x: x.softmax(1)), grid(0.5, 2), 1.01),
    "attention": (
        lambda: Of(lambda x: attention(x.mT, x.mT, x.mT).mT),
        randoms(1, 4, 6),
        4.0,
    ),
    "attention, causal": (
        lambda: Of(lambda x, k: attention(x.mT, k.mT, k.mT, is_causal=True).mT, 5 + MATRIX),
        randoms(1, 4, 4),
        6.0,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_the_bound_of_a_whole_sample_holds_and_is_sharp(name):
    """The worst error of all places becomes one that the bound exceeds by a small factor only."""
    make, x, factor = WHOLE[name]
    module = seeded(make)
    jacobian = torch.autograd.functional.jacobian(module, x).reshape(-1, x.numel())
    true = x - SIZE * torch.linalg.svd(jacobian).Vh[0].reshape(x.shape)
    whole = torch.full((1,), SIZE * (1 + 2.0**-40), dtype=torch.float64)
    given = Bounded(x, whole.reshape((1,) * x.ndim).expand(x.shape), None, whole)
    bound, error = whole_bound_and_error(module, given, true)
    assert error <= bound <= factor * error


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_rounding_is_within_the_bound_of_a_whole_sample(name):
    make, x, _ = WHOLE[name]
    x = (x + randoms(*x.shape) / 7).requires_grad_(False)
    bound, error = whole_bound_and_error(seeded(make), exact(x), x)
    assert error <= bound < 1e-10


@pytest.mark.skipif(not AVAILABLE, reason="the compiled module was not built")
@pytest.mark.rows(
    ("make", "x", "units"),
    [
        (lambda: nn.Conv1d(24, 4, 9), randoms(1, 24, 40) / 7, 2.9),
        (lambda: nn.Conv1d(24, 4, 9, bias=False), randoms(1, 24, 40) / 7, 1.1),
        (lambda: nn.GroupNorm(2, 4, affine=False), randoms(1, 4, 60), 8.0),
        (lambda: nn.GroupNorm(2, 4), randoms(1, 4, 60) + 2.0**30, 2.0**30),
    ],
)
def test_a_whole_sample_rounds_few_times(make, x, units):
    """Products and means are sums in pairs; a far mean rounds in proportion to itself, once."""
    module = seeded(make)
    bound, error = whole_bound_and_error(module, exact(x), x)
    size = float(module(x).detach().norm()) * UNIT_ROUNDOFF
    assert size / 9 < error <= bound <= units * size


def test_samples_of_a_batch_have_bounds_of_their_own():
    x = torch.cat([randoms(1, 4, 9), 1e3 * randoms(1, 4, 9)])
    module = seeded(
        lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Conv1d(4, 4, 3), nn.GroupNorm(1, 4))
    )
    found = bounded_latents(capture(module, x), exact(x))
    for row, each in enumerate(x):
        alone = bounded_latents(capture(module, each[None]), exact(each[None]))
        assert found.whole is not None
        assert alone.whole is not None
        torch.testing.assert_close(found.whole[row], alone.whole[0], rtol=1e-9, atol=0)


def test_the_lesser_of_both_bounds_counts():
    given = Bounded(randoms(2, 3, 4), torch.ones(2, 1, 4).double(), 1, torch.tensor([9.0, 0.5]))
    found = tracked(given)
    assert found.whole is not None
    assert 2.0 <= found.whole[0] < 2.0 + 1e-9
    assert found.whole[1] == 0.5
    assert torch.equal(
        found.error, torch.tensor([1.0, 0.5]).double().reshape(2, 1, 1).expand(2, 1, 4)
    )


def test_vectors_along_the_first_axis_are_bounded_by_all_entries_of_it():
    given = Bounded(randoms(2, 3), torch.full((1, 3), 9.0).double(), 0, torch.tensor([3.0, 4.0]))
    found = tracked(given)
    assert found.error.shape == (1, 3)
    assert (found.error >= 5.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pairs", [False, True])
def test_bounds_of_deep_networks_hold(seed, pairs):
    """Residual blocks with norms; the bound is some orders above the error, not many."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1),
        nn.GroupNorm(4, 16),
        nn.SiLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.GELU("tanh"),
        nn.Conv2d(16, 4, 1),
    )
    module = module.double().eval()
    x = randoms(1, 3, 8, 8)
    bounds, errors = bound_and_error(module, x, x, 1, kept=False, pairs=pairs)
    assert (errors <= bounds).all()
    assert bounds.max() < (2.0**-70 if pairs else 1e5 * errors.max())


def test_vectors_that_do_not_stay_whole_fall_back_to_entries():
    """Half of the channels become an axis: the norm of the vector bounds each entry."""
    module = Of(lambda x: x.reshape(1, 2, 2, 3)).eval()
    given = Bounded(randoms(1, 4, 3), torch.ones(1, 1, 3).double(), 1)
    bounded = bounded_latents(capture(module, given.value), given)
    assert bounded.axis is None
    assert torch.equal(entry_errors(bounded), torch.ones(1, 2, 2, 3).double())


def test_bytes_are_quotients_and_floats_are_exact():
    source = source_of(torch.tensor([1, 255], dtype=torch.uint8))
    bounded = source.bounded()
    for value, error, byte in zip(bounded.value, bounded.error, (1, 255), strict=True):
        off = abs(flint.fmpq(*value.item().as_integer_ratio()) - flint.fmpq(byte, 255))
        assert off <= flint.fmpq(*error.item().as_integer_ratio())
    assert not exact(torch.tensor([0.1])).error.any()


def test_networks_of_comparisons_are_rational():
    x = torch.zeros(1, 2, 4, 4)
    assert is_rational(capture(nn.Sequential(nn.Conv2d(2, 2, 1), nn.LeakyReLU()).eval(), x))
    assert not is_rational(capture(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh()).eval(), x))


def test_the_bound_of_snake_holds_where_a_rounded_angle_is_near_a_zero_of_the_sine():
    """The error of the sine is then far greater than the sine."""
    a, b = (torch.tensor([each], dtype=torch.float64) for each in (1 + 2.0**-30, 1e14))
    x = torch.arange(1e7, 1.28e7, 7, dtype=torch.float64) * math.pi / a
    x = x[(torch.sin(a * x) / x).abs().argsort()[:6]]
    found = Snake().bounded({"self": exact(x), "a": exact(a), "b": exact(b)})
    with flint.ctx.workprec(400):
        true = [
            flint.arb(v) + flint.arb(1e14) * (flint.arb(a.item()) * v).sin() ** 2
            for v in x.tolist()
        ]
        off = [float(abs(t - v).upper()) for t, v in zip(true, found.value.tolist(), strict=True)]
    assert (torch.tensor(off).double() <= found.error).all()


@pytest.mark.rows(
    "rule", [Relu(), LeakyRelu(), Elu(), OfTorch("tanh"), OfTorch("sin"), Sigmoid(), Silu(), Gelu()]
)
def test_functions_of_a_ball_around_0_are_balls(rule):
    options = {"negative_slope": 0.1, "approximate": "tanh"}
    with flint.ctx.workprec(128):
        found = rule.entry(Balls(128), flint.arb(0, 1e-30), options)
        assert abs(found.mid()) < 1
        assert found.rad() < 1e-29


def test_snake_of_a_ball_around_0_is_a_ball():
    ball = np.array([flint.arb(0, 1e-30)], object)
    found = Snake().exact(Balls(128), dict.fromkeys(("self", "a", "b"), ball), np.ones(1, bool))
    assert found[0].rad() < 1e-29


def test_a_scale_of_0_is_a_scale():
    uniform = Of(lambda x: attention(x.mT, x.mT, x.mT, scale=0.0).mT).eval()
    x = randoms(1, 4, 3)
    network = capture(uniform, x)
    mean = x.mean(2, keepdim=True).expand(x.shape)
    torch.testing.assert_close(bounded_latents(network, exact(x)).value, mean)
    with flint.ctx.workprec(400):
        objects = exact_latents(network, Source(x, 1), np.ones((1, 4, 3), bool), Balls(400))
    found = torch.tensor([float(each) for each in objects.flat]).double()
    torch.testing.assert_close(found.reshape(x.shape), mean)
