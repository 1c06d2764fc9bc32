"""Several operators of a graph that are one function, whose own bound is better than theirs.

In: steps. Out: steps with the same values. Must not compute.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from certvq.network._graph import Ref, Step, refs
from certvq.network.rules._snake import SNAKE


def fused(steps: list[Step], constants: Mapping[str, Any]) -> list[Step]:
    """Replace the steps of each Snake, ``x + b * sin(a * x) ** 2``, and SiLU, by one.

    Args:
        steps: in order.
        constants: by name; a must be one of them.

    Returns:
        The steps that are left.
    """
    made = {step.result.name: step for step in steps}
    uses = Counter(ref.name for step in steps for ref in refs(step.arguments))
    replaced: dict[str, Step] = {}
    gone: set[str] = set()
    for step in steps:
        snake, silu = _snake(step, made, constants), _silu(step, made)
        for name, parts in ((SNAKE, snake), (_SILU, silu)):
            if parts and all(uses[each.result.name] == 1 for each in parts[1]):
                replaced[step.result.name] = Step(step.result, name, parts[0], step.place)
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
