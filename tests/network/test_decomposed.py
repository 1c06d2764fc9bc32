"""Operators that are put together from others, against torch and against the judge."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from certvq.errors import CaptureError
from certvq.network import Rung, canonical_codes, capture
from certvq.network._decomposed import DECOMPOSED

ATEN = torch.ops.aten
MATRIX = torch.tensor([[1.0, -2, 0.5, 0], [3, 1, -1, 2], [0, 0.25, 1, -1], [2, 2, -3, 1]])


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(seed, *shape):
    """Return small whole numbers, of which sums and products are exact."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).double()


@pytest.mark.rows(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ba,ca", [(2, 3), (4, 3)]),
        ("Ba,aC", [(2, 3), (3, 4)]),
        ("bij -> b", [(2, 3, 4)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("i,j->ji", [(2,), (3,)]),
        ("bchw,bdhw,d->bc", [(2, 3, 4, 2), (2, 5, 4, 2), (5,)]),
        ("ij,jk,kl->li", [(2, 3), (3, 4), (4, 5)]),
        ("...hw,...wv->...vh", [(2, 3, 4, 5), (2, 3, 5, 2)]),
        ("...ij,jk", [(2, 3, 4), (4, 5)]),
        ("...i,ji->...j", [(2, 3, 4), (5, 4)]),
        ("a...,b...->ab...", [(2, 5), (3, 4, 5)]),
    ],
)
def test_einsum_is_that_of_torch(equation, shapes):
    operands = [whole(seed, *shape) for seed, shape in enumerate(shapes)]
    found = DECOMPOSED[ATEN.einsum.default](equation, operands)
    assert torch.equal(found, torch.einsum(equation, *operands))


X, ROWS = whole(1, 2, 3, 4), whole(2, 4, 4)


@pytest.mark.rows(
    ("operator", "arguments", "named"),
    [
        (ATEN.tile.default, (X, [2, 1]), {}),
        (ATEN.tile.default, (X, [2, 1, 1, 3]), {}),
        (ATEN.addmm.default, (ROWS[0], X[0], ROWS), {"beta": 2, "alpha": 0.5}),
        (ATEN.addmm.default, (ROWS[0], X[0], ROWS), {"beta": 0}),
        (ATEN.baddbmm.default, (X[:, :1], X, ROWS.expand(2, 4, 4)), {"alpha": -1}),
        (ATEN.addcmul.default, (X, X, X[:, :1]), {"value": 3}),
        (ATEN.outer.default, (X[0, 0], X[1, 2]), {}),
        (ATEN.mv.default, (X[0], X[0, 0]), {}),
        (ATEN.amin.default, (X, [1, -1]), {"keepdim": True}),
        (ATEN.amin.default, (X, [0], True), {}),
        (ATEN.amin.default, (X,), {}),
        (ATEN.var.dim, (X, [1], False), {}),
        (ATEN.var.dim, (X, [2]), {}),
        (ATEN.var.correction, (X, [0, 2]), {"correction": 4, "keepdim": True}),
        (ATEN.var.default, (X[:, 1:, :2],), {"unbiased": False}),
        (ATEN.std.dim, (4 * X.sign(), [1, 2], False, True), {}),
        (ATEN.var_mean.correction, (X, 2), {"correction": 0}),
        (ATEN.std_mean.dim, (X[..., :2], [2], False), {}),
        (ATEN.logsumexp.default, (800 + 0 * X, [0, 2]), {}),
        (ATEN.logsumexp.default, (800 + 0 * X, [1], True), {}),
        (ATEN.log_softmax.int, (800 + 0 * X, -1), {}),
        (ATEN._log_softmax.default, (0 * X, 1, False), {}),
    ],
)
def test_operators_are_those_of_torch(operator, arguments, named):
    """Compared in float32: numbers are small, and what differs in float64 is far below that."""
    found, expected = DECOMPOSED[operator](*arguments, **named), operator(*arguments, **named)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for one, other in pairs:
        assert one.shape == other.shape
        assert torch.equal(one.float(), other.float())


def mixed(judge, x):
    """As `torch.einsum` below: rows of the matrix, and products of places of two axes."""
    found = np.tensordot(judge.array(MATRIX), x, (1, 0))
    return np.einsum("chw,cvw->chv", found, x)


def affine(judge, x):
    rows = x.reshape(4, 16).T
    product = np.dot(rows, judge.array(MATRIX)) / 2
    return (product + 3 * judge.array(MATRIX[0])).T.reshape(x.shape)


def deviations(judge, x):
    mean = sum(x.reshape(4, 16).T) / 16
    variance = sum(((x.reshape(4, 16) - mean[:, None]) ** 2).T) / 15
    centred = x - sum(x) / 4
    return judge.each(lambda v: v.sqrt(), sum(centred * centred) / 4) * x + variance.reshape(
        4, 1, 1
    )


def logarithms(judge, x):
    sums = judge.each(lambda v: v.log(), sum(judge.each(lambda v: v.exp(), x)))
    least = [min(row.reshape(-1), key=float) for row in x]
    return x - sums + np.array(least, object).reshape(4, 1, 1)


def cubic(judge, x):
    """Along both axes, 4 places to 8, and to 5 with corners aligned."""

    def kernel(t):
        t, a = abs(t), Fraction(-3, 4)
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        return near if t <= 1 else a * (t**3 - 5 * t**2 + 8 * t - 4)

    for axis in (1, 2):
        for count, corners in ((8, False), (5, True)):
            old, parts = x.shape[axis], []
            for i in range(count):
                half = Fraction(1, 2)
                at = (i + half) * Fraction(old, count) - half
                at = Fraction(i * (old - 1), count - 1) if corners else at
                total = 0
                for k in range(math.floor(at) - 1, math.floor(at) + 3):
                    share = kernel(at - k)
                    entry = x.take(min(max(k, 0), old - 1), axis)
                    total = total + entry * judge.number(share.numerator) / share.denominator
                parts.append(total)
            x = np.stack(parts, axis)
    return x


def upsampled(x):
    double = functional.interpolate(x, scale_factor=2, mode="bicubic")
    return functional.interpolate(double, (5, 5), mode="bicubic", align_corners=True)


CASES = {
    "einsum": (
        lambda x: torch.einsum(
            "...chw,...cvw->...chv", torch.einsum("bchw,dc->bdhw", x, MATRIX), x
        ),
        mixed,
    ),
    "addmm": (
        lambda x: torch.addmm(MATRIX[0], x.flatten(2)[0].T, MATRIX, beta=3, alpha=0.5).T.reshape(
            x.shape
        ),
        affine,
    ),
    "var and std": (
        lambda x: x.std(1, keepdim=True, unbiased=False) * x + x.var((2, 3), keepdim=True),
        deviations,
    ),
    "log_softmax and amin": (
        lambda x: torch.log_softmax(x, 1) + x.amin((2, 3), keepdim=True),
        logarithms,
    ),
    "bicubic": (upsampled, cubic),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_codes_are_those_of_balls(judge, call, leave_to, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts = nn.Conv2d(2, 4, 3, padding=1), call(*CASES[name]), nn.Conv2d(4, 2, 1)
    encoder, batch = nn.Sequential(*parts).eval(), numbers(4, 1, 2, 4, 4)
    latents = encoder(batch).detach().flatten(2)[0].T
    codebook = latents + 0.05 * latents.std() * numbers(5, *latents.shape)
    expected = judge("ball").codes(encoder, batch, codebook)
    assert len(expected.unique()) > 3
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert torch.equal(found.codes, expected)
    assert found.counts()["FLOAT64"] == found.codes.numel()
    leave_to(Rung.EXACT)
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert torch.equal(found.codes, expected)
    assert found.counts()["EXACT"] == found.codes.numel()


def test_a_diagonal_is_refused(call):
    encoder = call(lambda x: torch.einsum("bcii->bci", x)).eval()
    with pytest.raises(CaptureError, match="einsum takes a diagonal of 'bcii'"):
        capture(encoder, torch.zeros(1, 2, 3, 3))


def test_a_number_without_axes_has_a_bound(call):
    """The mean of a whole batch, with operators that keep count of whole samples."""
    encoder = call(lambda x: torch.softmax(x, 1) * torch.einsum("bc,bc->", x, x)).eval()
    codebook = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    found = canonical_codes(encoder, torch.tensor([[1.0, 1.0], [2.0, 2.0]]), codebook=codebook)
    assert found.codes.tolist() == [1, 1]
