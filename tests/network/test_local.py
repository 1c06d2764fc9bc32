"""Bounds of exp and of roots hold where values underflow."""

import math

import torch

from certvq.network._bounded import Bounded
from certvq.network.rules._local import RULES


def bound(name, value, error):
    given = (torch.tensor([each], dtype=torch.float64) for each in (value, error))
    return float(RULES[name].bounded({"self": Bounded(*given, None)}).error)


def test_an_error_may_bring_back_what_underflowed():
    assert bound("exp.default", -800.0, 700.0) >= math.exp(-100.0)
    assert bound("exp.default", -800.0, 0.0) < 2.0**-890


def test_a_root_of_less_than_products_can_hold_has_no_bound():
    assert bound("rsqrt.default", 1e-300, 1e-310) == math.inf
    assert bound("rsqrt.default", 1e-200, 1e-230) < math.inf
