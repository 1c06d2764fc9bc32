"""Arithmetic on pairs of float64 numbers against balls, on every instruction set."""

import math

import flint
import numpy as np
import pytest
import torch
from torch.nn import functional

from certvq.network import _wide
from certvq.network._bounded import Bounded
from certvq.network._wide import (
    WIDE_LIBRARY_ERROR,
    WIDE_ROUNDOFF,
    NoWideFormError,
    long_sums,
    product,
    sizes,
    wide,
)
from certvq.network.rules import RULES

pytestmark = pytest.mark.skipif(not _wide.AVAILABLE, reason="the compiled module was not built")

RANDOM = np.random.default_rng(0)
ARB = flint.arb

FUNCTIONS = {
    "sqrt": (lambda x: x.sqrt(), 0.0, 1e300),
    "exp": (lambda x: x.exp(), -640.0, 690.0),
    "expm1": (lambda x: x.expm1(), -640.0, 690.0),
    "sigmoid": (lambda x: 1 / (1 + (-x).exp()), -640.0, 1e6),
    "silu": (lambda x: x / (1 + (-x).exp()), -640.0, 1e6),
    "tanh": (lambda x: x.tanh(), -1e6, 1e6),
    "sin": (lambda x: x.sin(), -1048575.0, 1048575.0),
}
PERIODS = {"exp": flint.arb(2).log() / 2, "expm1": flint.arb(2).log() / 2}


@pytest.fixture(autouse=True)
def _precision():
    with flint.ctx.workprec(400):
        yield


@pytest.fixture(params=[] if _wide._wide is None else _wide._wide.levels())
def level(request, monkeypatch):
    """Every instruction set of this processor."""
    for name in ("unary", "binary", "sums", "product"):
        whole = getattr(_wide._wide, name)
        monkeypatch.setattr(
            _wide._wide,
            name,
            lambda *given, whole=whole, **named: whole(*given, **named, level=request.param),
        )
    return request.param


def tensor(values):
    return torch.from_numpy(np.asarray(values, np.float64))


def pairs(high):
    """Return numbers with low parts of up to half a unit in the last place."""
    high = tensor(high)
    low = high * 2.0**-53 * tensor(RANDOM.uniform(-0.99, 0.99, high.shape))
    whole = high + low
    return wide(whole, torch.where(whole == high, low, 0.0))


def balls(given):
    flat = zip(given.high.flatten().tolist(), given.low.flatten().tolist(), strict=True)
    return [ARB(a) + ARB(b) for a, b in flat]


def spread(low, high):
    """Return numbers of an interval: of its whole length, and of all magnitudes."""
    greatest = math.log2(max(high, -low))
    small = RANDOM.choice([-1.0, 1.0], 300) * 2.0 ** RANDOM.uniform(-100, greatest, 300)
    found = np.concatenate(
        [RANDOM.uniform(low, high, 300), small, [low * (1 - 1e-15), high * (1 - 1e-15)]]
    )
    return found[(found >= low) & (found <= high)]


def borders(name):
    """Return pairs next to where the reduced argument is 0 or changes its sign."""
    period = PERIODS.get(name, flint.arb.pi() / 4 if name == "sin" else None)
    if period is None:
        return wide(tensor([]))
    most = 900 if name != "sin" else 1_300_000
    near = [int(k) * period for k in RANDOM.integers(-most, most, 200)]
    high = [float(each.mid()) for each in near]
    low = [float((a - ARB(b)).mid()) for a, b in zip(near, high, strict=True)]
    return torch.cat([wide(tensor(high), tensor(low)), wide(tensor(high))])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_their_bounds(name, level):
    """2^-96 of the value; that of sin may also err by 2^-100 of the argument, at most of 1."""
    function, low, high = FUNCTIONS[name]
    given = torch.cat([pairs(spread(low, high)), borders(name)])
    found = functional.silu(given) if name == "silu" else getattr(torch, name)(given)
    assert found.high.isfinite().all()
    for x, y in zip(balls(given), balls(found), strict=True):
        true = function(x)
        size = abs(true) * ARB(WIDE_LIBRARY_ERROR if name != "sqrt" else WIDE_ROUNDOFF)
        if name == "sin":
            size += abs(x).min(1) * ARB(WIDE_ROUNDOFF)
        assert abs(y - true) <= size + ARB(2.0**-1000), (name, x)


def test_the_cosine_by_the_sine_of_the_half_is_within_its_bound():
    given = torch.cat([pairs(spread(-2097151.0, 2097151.0)), borders("sin")])
    found = RULES["cos.default"].bounded({"self": Bounded(given, torch.zeros(()), None)})
    bound = found.error.max().item()
    assert bound < 2.0**-90
    for x, y in zip(balls(given), balls(found.value), strict=True):
        assert abs(y - x.cos()) <= bound


@pytest.mark.rows(
    ("name", "argument", "value"),
    [
        ("exp", 690.1, math.nan),
        ("exp", -641.0, 0.0),
        ("exp", -math.inf, 0.0),
        ("exp", math.inf, math.nan),
        ("expm1", 1e300, math.nan),
        ("expm1", -1e300, -1.0),
        ("sin", 2.0**20, math.nan),
        ("sin", -math.inf, math.nan),
        ("sqrt", -1.0, math.nan),
        ("sqrt", 0.0, 0.0),
        *((name, math.nan, math.nan) for name in ("exp", "tanh", "sigmoid", "sin")),
    ],
)
def test_arguments_beyond_the_range_give_no_number(name, argument, value):
    found = getattr(torch, name)(wide(tensor([argument])))
    assert torch.equal(found.high.isnan(), tensor([value]).isnan())
    assert math.isnan(value) or found.high.item() == value


@pytest.mark.rows("level_name", [] if _wide._wide is None else _wide._wide.levels())
@pytest.mark.rows(
    "exponents", [(-1000, -800), (-1060, -60.5), (-910, -1050), (-910, -20), (-880, -800)]
)
def test_quotients_and_roots_that_would_underflow_are_no_numbers(
    level_name, exponents, monkeypatch
):
    """Or else within their bound, but for 2^-1000."""
    left, right = (
        wide(
            tensor([(1 + 2.0**-30) * 2.0**each]),
            tensor([2.0 ** (each - 54) if each > -1010 else 0.0]),
        )
        for each in exponents
    )
    for name in ("unary", "binary"):
        whole = getattr(_wide._wide, name)
        monkeypatch.setattr(
            _wide._wide,
            name,
            lambda *given, whole=whole, **named: whole(*given, **named, level=level_name),
        )
    cases = [(left / right, lambda x, y: x / y), (left.sqrt(), lambda x, _: x.sqrt())]
    for found, function in cases:
        true = function(*balls(left), *balls(right))
        if not found.high.isnan():
            off = abs(balls(found)[0] - true)
            assert off <= true * ARB(WIDE_ROUNDOFF) + ARB(2.0**-1000)
    small = exponents[0] < -900
    assert (left / right).high.isnan().item() == (small and exponents[1] < -60)
    assert left.sqrt().high.isnan().item() == small


OPERATIONS = {
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (4, 1), (1, 4, 1), (3, 1, 1), (3, 1, 5), ()])
def test_operations_are_within_their_bound(name, shape, level):
    """Broadcast from either side; sums cancel to a large part."""
    left = pairs(RANDOM.standard_normal((3, 4, 5)))
    right = pairs(RANDOM.standard_normal(shape))
    if len(shape) == 3:
        near = left.high[tuple(slice(size) for size in shape)]
        right = wide(-near * (1 + 2.0**-45), right.low * 2.0**-60)
    for first, second in ((left, right), (right, left)):
        found = OPERATIONS[name](first, second)
        assert found.shape == (3, 4, 5)
        whole = (first.expand(3, 4, 5), second.expand(3, 4, 5))
        for x, y, z in zip(*map(balls, whole), balls(found), strict=True):
            true = OPERATIONS[name](x, y)
            assert abs(z - true) <= abs(true) * ARB(WIDE_ROUNDOFF)


def test_pairs_are_normal(level):
    """The first number is the sum rounded; otherwise its sign were not that of the pair."""
    left, right = (pairs(RANDOM.standard_normal(999)) for _ in range(2))
    for found in (left + right, left * right, left / right, torch.exp(left), torch.sin(left)):
        assert torch.equal(found.high + found.low, found.high)


@pytest.mark.rows("columns", [1, 7, 8, 9, 300])
def test_sums_are_within_their_bound(columns, level):
    given = pairs(RANDOM.standard_normal((5, columns)) * 2.0 ** RANDOM.uniform(-40, 40, columns))
    found = given.sum(1)
    for row, total in enumerate(balls(found)):
        entries = balls(given[row])
        most = sum(map(abs, entries)) * ARB(columns * WIDE_ROUNDOFF)
        assert abs(total - sum(entries)) <= most
    assert torch.equal(given.sum(1, keepdim=True).high.squeeze(1), found.high)
    alone = long_sums(given.high)
    assert all(map(torch.equal, parts(alone), parts(wide(given.high).sum(1))))


def parts(value):
    return value.high, value.low


def mixed(*shape):
    """Return numbers of many magnitudes."""
    return RANDOM.standard_normal(shape) * 2.0 ** RANDOM.uniform(-60, 3, shape)


@pytest.mark.rows("terms", [1, 31, 32, 33, 500])
@pytest.mark.parametrize("low", [False, True])
def test_products_are_within_their_bound(terms, low, level):
    """Of 5 outputs and 19 places, so that tiles are not full; parameters have no low parts."""
    weight = pairs(mixed(2, 5, terms)) if low else wide(tensor(mixed(2, 5, terms)))
    given = pairs(mixed(4, terms + 19))
    found, lost = product(weight, given, torch.arange(terms), 19)
    assert found.shape == (4, 5, 19)
    most = sizes(weight).sum(2).repeat(2, 1) * sizes(given).amax(1, keepdim=True)
    assert (lost <= most * 2.0**-84).all()
    for n, o, p in ((0, 0, 0), (1, 4, 18), (2, 1, 7), (3, 3, 16)):
        factors = balls(weight[n % 2, o]), balls(given[n, p : p + terms])
        true = sum((a * b for a, b in zip(*factors, strict=True)), ARB(0))
        value = ARB(found.high[n, o, p].item()) + ARB(found.low[n, o, p].item())
        assert abs(value - true) <= ARB(lost[n, o].item())


@pytest.mark.rows("terms", [1, 33, 500])
def test_products_of_floats_are_those_of_pairs_without_low_parts(terms, level):
    weight, given = tensor(mixed(2, 5, terms)), tensor(mixed(4, terms + 19))
    found, lost = product(weight, given, torch.arange(terms), 19)
    expected, other = product(wide(weight), wide(given), torch.arange(terms), 19)
    assert all(map(torch.equal, (*parts(found), lost), (*parts(expected), other)))


def test_what_products_lose_is_found_again():
    """Terms of 2^40 leave 2^-11, and one of 2^-40 is added: float64 keeps no bit of that."""
    weight = wide(tensor([[[1 + 2.0**-52, 1 - 2.0**-52, 1.0]]]))
    given = wide(tensor([[2.0**40, -(2.0**40), 2.0**-40] + [0.0] * 15]))
    found, lost = product(weight, given, torch.arange(3), 1)
    true = ARB(2.0**-11) + ARB(2.0**-40)
    assert abs(ARB(found.high.item()) + ARB(found.low.item()) - true) <= ARB(lost.item())
    assert lost.item() < 2.0**-40


@pytest.mark.rows("number", [math.nan, math.inf, 1e308])
def test_products_of_what_is_not_finite_or_overflows_have_no_finite_bound(number):
    given = torch.ones(2, 40, dtype=torch.float64)
    given[0, 3] = number
    found, lost = product(wide(tensor(np.full((1, 1, 9), 1e10))), wide(given), torch.arange(9), 4)
    assert not (found.high[0].isfinite().all() and lost[0].isfinite().all())
    assert found.high[1].isfinite().all()


def test_products_of_tiny_numbers_lose_less_than_their_bound():
    """Anchors have a least size, so that no bit underflows."""
    given = pairs(mixed(1, 40) * 1e-300)
    found, lost = product(wide(tensor(mixed(1, 3, 9))), given, torch.arange(9), 4)
    assert 0 < lost.max() < 2.0**-560
    assert found.high.abs().max() < 1e-290


@pytest.mark.parametrize("level_name", [] if _wide._wide is None else _wide._wide.levels())
def test_instruction_sets_and_threads_give_the_same_bits(level_name, monkeypatch):
    given, weight = pairs(mixed(3, 5000)), wide(tensor(mixed(1, 9, 70)))
    threads = torch.get_num_threads()

    def all_kernels():
        found = product(weight, given, torch.arange(70), 4000)[0]
        return [found, torch.exp(given), given * given[:, :1], given.sum(1)]

    expected = all_kernels()
    for name in ("unary", "binary", "sums", "product"):
        whole = getattr(_wide._wide, name)
        monkeypatch.setattr(
            _wide._wide,
            name,
            lambda *args, whole=whole, **named: whole(*args, **named, level=level_name),
        )
    try:
        torch.set_num_threads(3)
        again = all_kernels()
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(expected, again, strict=True):
        assert torch.equal(one.high, other.high)
        assert torch.equal(one.low, other.low)


def test_operations_without_a_form_are_refused():
    """Also a plain tensor among pairs, whose numbers may have been rounded."""
    given = wide(torch.ones(2, 2, dtype=torch.float64))
    for call in (torch.abs, torch.erf, torch.cos, lambda x: x @ x, lambda x: x.numpy()):
        with pytest.raises(NoWideFormError):
            call(given)
    with pytest.raises(NoWideFormError, match="float64 tensor of shape"):
        given * torch.ones(2, dtype=torch.float64)
    with pytest.raises(NoWideFormError):
        torch.gt(given, 1.0)


def test_the_greatest_pair_is_found_by_both_numbers():
    given = wide(tensor([[1.0, 1.0, 0.5]]), tensor([[-(2.0**-60), 2.0**-60, 2.0**-55]]))
    found = given.amax(1)
    assert (found.high.item(), found.low.item()) == (1.0, 2.0**-60)
    least = given.clamp_min(0.75)
    assert least.high.tolist() == [[1.0, 1.0, 0.75]]
    assert least.low.tolist() == [[-(2.0**-60), 2.0**-60, 0.0]]


def test_a_bound_counts_beside_both_numbers_of_a_pair():
    """Pairs that round to the bound lie on either side of it."""
    given = wide(tensor([0.75, 0.75, 0.5, 1.0]), tensor([2.0**-60, -(2.0**-60), 0.0, 0.0]))
    for found, high, low in (
        (given.clamp_min(0.75), [0.75, 0.75, 0.75, 1.0], [2.0**-60, 0.0, 0.0, 0.0]),
        (given.clamp_max(0.75), [0.75, 0.75, 0.5, 0.75], [0.0, -(2.0**-60), 0.0, 0.0]),
        (given.clamp(0.6, 0.75), [0.75, 0.75, 0.6, 0.75], [0.0, -(2.0**-60), 0.0, 0.0]),
    ):
        assert (found.high.tolist(), found.low.tolist()) == (high, low)
