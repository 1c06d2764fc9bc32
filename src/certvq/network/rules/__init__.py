"""The operators that have a rule, one file for each kind.

In: the name of an ATen operator. Out: its `Rule`. Must not know graphs or models.
"""

from certvq.network.rules import (
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
from certvq.network.rules._rule import Rule as Rule

RULES: dict[str, Rule] = {
    **_arithmetic.RULES,
    **_attention.RULES,
    **_bent.RULES,
    **_choice.RULES,
    **_cut.RULES,
    **_interpolation.RULES,
    **_linear.RULES,
    **_local.RULES,
    **_moves.RULES,
    **_normal.RULES,
    **_pointwise.RULES,
    **_pooling.RULES,
    **_recurrent.RULES,
    **_reductions.RULES,
    **_shapes.RULES,
    **_snake.RULES,
    **_transposed.RULES,
    **_upsampling.RULES,
}
"""By name and overload, such as ``"conv2d.default"``."""
