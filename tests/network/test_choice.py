"""The bound of PReLU counts both halves of a vector."""

import math

import torch

from certvq.network._bounded import Bounded
from certvq.network.rules._choice import RULES


def test_errors_above_zero_and_roundings_below_add_up():
    """An error of 1e-15 of the first channel, and a rounding of nearly as much of the second."""
    given = torch.tensor([[[1.0], [-1e3]]], dtype=torch.float64)
    weight = torch.tensor([0.01], dtype=torch.float32).double()
    error = torch.full((1, 1, 1), 1e-15, dtype=torch.float64)
    found = RULES["prelu.default"].bounded(
        {"self": Bounded(given, error, 1), "weight": Bounded(weight, torch.zeros(1).double(), None)}
    )
    rounding = 2.0**-53 * 1e3 * float(weight)
    assert math.hypot(1e-15, rounding) <= float(found.error) <= 1.1 * (1.01e-15 + rounding)
