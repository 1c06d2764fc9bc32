"""Norms are bounded from above, closely; the constants are what the functions' authors state."""

import flint
import pytest
import torch

from certvq.network._bounds import (
    LIBRARY_ERROR,
    LIPSCHITZ,
    absolute_norm_upper,
    norm_upper,
    spectral_norm_upper,
)

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.rows(
    "matrices",
    [
        torch.randn(3, 64, 64, generator=RANDOM).double(),
        torch.randn(2, 5, 300, generator=RANDOM).double() * 1e30,
        torch.randn(2, 300, 5, generator=RANDOM).double() * 1e-30,
        torch.ones(1, 8, 8).double(),
        torch.eye(16).double()[None],
        torch.zeros(1, 3, 3).double(),
    ],
)
def test_spectral_norms_are_bounded_closely(matrices):
    true = torch.linalg.matrix_norm(matrices, 2)
    upper = spectral_norm_upper(matrices)
    assert (upper >= true * (1 - 1e-12)).all()
    assert (upper <= 1.1 * true + 1e-70).all()
    sizes = torch.linalg.matrix_norm(matrices.abs(), 2)
    assert (absolute_norm_upper(matrices) >= sizes * (1 - 1e-12)).all()
    assert (absolute_norm_upper(matrices) <= 1.5 * sizes + 1e-70).all()


def test_a_norm_is_never_below_the_exact_one():
    values = torch.randn(50, 7, generator=RANDOM).double()
    for row, upper in zip(
        values.tolist(), norm_upper(values, (1,)).flatten().tolist(), strict=True
    ):
        squares = sum(flint.fmpq(*v.as_integer_ratio()) ** 2 for v in row)
        bound = flint.fmpq(*upper.as_integer_ratio())
        assert squares <= bound * bound
        assert bound * bound <= squares * flint.fmpq(10**12 + 1, 10**12)


@pytest.mark.rows("name", ["exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos"])
def test_axioms_hold_of_this_library(name):
    """`ax_exp`, `ax_expm1`, `ax_log`, `ax_tanh`, `ax_erf`, `ax_sin`: 4 units, here below 1."""
    x = torch.cat(
        [
            torch.linspace(-30, 30, 2003).double(),
            torch.logspace(-12, 2, 500).double(),
            -torch.logspace(-12, 2, 500).double(),
        ]
    )
    x = x.abs() + 1e-15 if name.startswith("log") else x
    worst = 0.0
    with flint.ctx.workprec(200):
        for given, found in zip(x.tolist(), getattr(torch, name)(x).tolist(), strict=True):
            true = getattr(flint.arb(given), name)()
            worst = max(
                worst, float((abs(flint.arb(found) - true) / abs(true)).upper()) if found else 0
            )
    assert 2.0**-54 < worst < LIBRARY_ERROR


def test_slopes_are_not_below_those_of_the_theorems():
    assert LIPSCHITZ["sigmoid"] >= 1 / 4
    assert min(LIPSCHITZ[name] for name in ("relu", "tanh", "sin", "cos")) >= 1


def slopes(name):
    """Return the slopes of a function over balls that cover -20 to 20."""
    arb = flint.arb
    for step in range(-32000, 32000):
        x = arb(step / 1600 + 1 / 3200, 1 / 3200)
        if name == "tanh":
            yield 1 - x.tanh() ** 2
        if name in {"sigmoid", "silu"}:
            s = 1 / (1 + (-x).exp())
            yield s * (1 - s) if name == "sigmoid" else s + x * s * (1 - s)
        if name == "gelu":
            bell = (-x * x / 2).exp() / (2 * arb.pi()).sqrt()
            yield (1 + (x / arb(2).sqrt()).erf()) / 2 + x * bell
        if name == "mish":
            s, t = 1 / (1 + (-x).exp()), (1 + x.exp()).log().tanh()
            yield t + x * (1 - t * t) * s
        if name == "gelu_tanh":
            root, c = (2 / arb.pi()).sqrt(), arb(44715) / 10**6
            t = (root * (x + c * x**3)).tanh()
            yield (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * c * x * x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "silu", "gelu", "gelu_tanh", "mish"])
def test_slopes_are_below_their_constants(name):
    """On -20 to 20 by balls; beyond, the slopes are within 1e-6 of 0 and 1 (0 for two of them)."""
    most = max(float(abs(slope).upper()) for slope in slopes(name))
    constant = LIPSCHITZ[name]
    assert most < constant * (1.02 if name in {"tanh", "sigmoid"} else 1.0)
    assert constant < 1.02 * most
