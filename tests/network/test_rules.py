"""Every rule is of an operator that torch has, and each operator has one rule."""

import pytest
import torch

from certvq.network.rules import (
    RULES,
    _arithmetic,
    _attention,
    _bent,
    _choice,
    _cut,
    _interpolation,
    _linear,
    _local,
    _moves,
    _normal,
    _pointwise,
    _pooling,
    _recurrent,
    _reductions,
    _shapes,
    _snake,
    _transposed,
    _upsampling,
)

FILES = (
    _arithmetic,
    _attention,
    _bent,
    _choice,
    _cut,
    _interpolation,
    _linear,
    _local,
    _moves,
    _normal,
    _pointwise,
    _pooling,
    _recurrent,
    _reductions,
    _shapes,
    _snake,
    _transposed,
    _upsampling,
)


def test_no_operator_has_two_rules():
    assert sum(len(each.RULES) for each in FILES) == len(RULES)


@pytest.mark.rows("name", sorted(set(RULES) - {*_cut.RULES, *_snake.RULES}))
def test_rules_are_of_operators_of_torch(name):
    packet, overload = name.split(".")
    assert overload in getattr(torch.ops.aten, packet).overloads()
