"""Several operators of a graph that are one function, whose own bound is better than theirs.

In: steps. Out: steps with the same values. Must not compute.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from certvq.network._graph import Ref, Step, refs
from certvq.network.rules._snake import SNAKE


def fused(steps: list[Step], constants: Mapping[str, Any]) -> list[Step]:
    """Replace the steps of each Snake, ``x + b sin(a x)^2``, SiLU and RMS norm by one.

    Args:
        steps: in order.
        constants: by name; the a of a Snake must be one of them.

    Returns:
        The steps that are left.
    """
    made = {step.result.name: step for step in steps}
    uses = Counter(ref.name for step in steps for ref in refs(step.arguments))
    replaced: dict[str, Step] = {}
    gone: set[str] = set()
    for step in steps:
        for operator, parts in (
            (SNAKE, _snake(step, made, constants)),
            (_SILU, _silu(step, made)),
            ("rms_norm.default", _rms_norm(step, made)),
        ):
            if parts and all(uses[each.result.name] == 1 for each in parts[1]):
                replaced[step.result.name] = Step(step.result, operator, parts[0], step.place)
                gone |= {each.result.name for each in parts[1]}
    return [replaced.get(step.result.name, step) for step in steps if step.result.name not in gone]


def _snake(
    last: Step, made: Mapping[str, Step], constants: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Step]] | None:
    """Return the arguments of a Snake that ends in a step, and the steps before that one."""
    if last.operator != "add.Tensor" or last.arguments.get("alpha", 1) != 1:
        return None
    for x, other in _both(last):
        product = made.get(other.name)
        if product is None or product.operator != "mul.Tensor" or x.shape != last.result.shape:
            continue
        for b, squared in _both(product):
            square = made.get(squared.name)
            sine = _before(square, "pow.Tensor_Scalar", made)
            angle = _before(sine, "sin.default", made)
            if square is None or sine is None or angle is None or angle.operator != "mul.Tensor":
                continue
            for a, inner in _both(angle):
                if inner == x and a.name in constants:
                    return {"self": x, "a": a, "b": b}, [product, square, sine, angle]
    return None


def _silu(step: Step, made: Mapping[str, Step]) -> tuple[dict[str, Any], list[Step]] | None:
    """Return the argument of a SiLU, ``x * sigmoid(x)``, that ends in a step, and its sigmoid."""
    if step.operator != "mul.Tensor":
        return None
    for x, other in _both(step):
        gate = made.get(other.name)
        if gate is not None and gate.operator == "sigmoid.default" and gate.arguments["self"] == x:
            return {"self": x}, [gate]
    return None


def _rms_norm(last: Step, made: Mapping[str, Step]) -> tuple[dict[str, Any], list[Step]] | None:
    """Return the arguments of ``x * rsqrt(mean(x ** 2) + eps)``, and the steps before the last."""
    if last.operator != "mul.Tensor":
        return None
    for x, other in _both(last):
        root = made.get(other.name)
        more = _before(root, "rsqrt.default", made)
        mean = _before(more, "add.Tensor", made)
        square = _before(mean, "mean.dim", made)
        if root is None or more is None or mean is None or square is None:
            continue
        if square.operator not in _SQUARES or not mean.arguments.get("keepdim"):
            continue
        eps, axes = more.arguments["other"], mean.arguments["dim"]
        axis = axes[0] % len(x.shape) if isinstance(axes, list) and len(axes) == 1 else None
        given = square.arguments["self"]
        exact = isinstance(eps, (int, float)) and more.arguments.get("alpha", 1) == 1
        if exact and axis == len(x.shape) - 1 and _plain(given, made) == _plain(x, made):
            shape = [x.shape[-1]]
            arguments = {"input": x, "normalized_shape": shape, "weight": None, "eps": eps}
            return arguments, [root, more, mean, square]
    return None


def _plain(ref: Any, made: Mapping[str, Step]) -> Any:
    """Return the tensor that has the same numbers before they are cast or copied."""
    while isinstance(ref, Ref) and ref.name in made and made[ref.name].operator in _SAME:
        ref = made[ref.name].arguments["self"]
    return ref


_SQUARES = {"pow.Tensor_Scalar", "square.default"}
_SAME = {"_to_copy.default", "to.dtype", "alias.default", "clone.default", "detach.default"}
_SILU = "silu.default"


def _both(step: Step) -> list[tuple[Ref, Ref]]:
    """Return the two operands of a step in both orders, or nothing if one is no tensor."""
    left, right = list(step.arguments.values())[:2]
    if not isinstance(left, Ref) or not isinstance(right, Ref):
        return []
    return [(left, right), (right, left)]


def _before(step: Step | None, operator: str, made: Mapping[str, Step]) -> Step | None:
    """Return the step whose result an operator gets."""
    if step is None or step.operator != operator:
        return None
    given = step.arguments["self"]
    return made.get(given.name) if isinstance(given, Ref) else None
