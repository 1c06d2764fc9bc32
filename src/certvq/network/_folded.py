"""What a graph computes of integers alone: paddings, positions, masks.

In: a module, or nodes of its graph. Out: numbers that do not depend on the input. Sums and products
of floats are left to the rules, as they would round. Must not know rules.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

_WHOLE: Final = {torch.bool, torch.int64}

_LARGEST: Final = 2**31
"""Integers up to here have sums and products that int64 holds."""

_FILLED: Final = {"full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"}
"""Operators that take nothing but its shape and type from a tensor."""

_COMPARED: Final = {"eq", "ge", "gt", "le", "lt", "ne"}

_CASTS: Final = {"_to_copy", "to"}

_MOVING: Final = {
    *_CASTS,
    *_COMPARED,
    *(
        "abs",
        "alias",
        "cat",
        "clone",
        "contiguous",
        "detach",
        "detach_",
        "expand",
        "flatten",
        "flip",
        "index",
    ),
    *("lift_fresh_copy", "masked_fill", "neg", "permute", "repeat", "reshape", "roll", "select"),
    *("slice", "squeeze", "stack", "transpose", "tril", "triu", "unsqueeze", "view", "where"),
}
"""Operators that compute nothing which could round."""

_EXACT: Final = {
    *_MOVING,
    *("add", "bitwise_and", "bitwise_not", "bitwise_or", "clamp", "cumsum", "diff", "logical_and"),
    *("logical_not", "logical_or", "maximum", "minimum", "mul", "rsub", "sub"),
    *("__and__", "__or__", "__xor__"),
}
"""Operators that are exact for integers of at most 2^31, of fewer than 2^32 numbers."""


class Known(nn.Module):
    """A module whose integers without axes are known while it is captured.

    A module may compute a padding with tensors that it stores. torch.export takes stored tensors
    for variables, so that a size cannot depend on them; as constants of the graph they are numbers.

    Args:
        model: called with one tensor.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.training = model, False
        self._numbers = [
            (module, name, buffer.tolist(), buffer.dtype)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if not buffer.ndim and buffer.dtype in _WHOLE
        ]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Call the module; its own tensors are put back afterwards."""
        places = [(module._buffers, name) for module, name, _, _ in self._numbers]  # noqa: SLF001
        before = [buffers[name] for buffers, name in places]
        try:
            for (buffers, name), (_, _, number, dtype) in zip(places, self._numbers, strict=True):
                buffers[name] = torch.tensor(number, dtype=dtype)
            return self.model(batch)
        finally:
            for (buffers, name), tensor in zip(places, before, strict=True):
                buffers[name] = tensor


def without_wrapper(path: str) -> str:
    """Return the path of a part of the module that `Known` holds."""
    return path.removeprefix("model").removeprefix(".")


def needed(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that the output depends on."""
    found: set[fx.Node] = set()
    left = [node for node in graph.nodes if node.op == "output"]
    while left:
        for each in left.pop().all_input_nodes:
            if each not in found:
                found.add(each)
                left.append(each)
    return found


def folded(
    node: fx.Node, known: Mapping[str, torch.Tensor], stored: Collection[str]
) -> torch.Tensor | None:
    """Compute a node that does not depend on the numbers of the input, and is exact.

    Args:
        node: a call of an operator.
        known: numbers by the names of their nodes.
        stored: those of them that are a module's own; floats among these are left to the rules.

    Returns:
        Its result, in float64 where it is of floats; or None where it is not computed here.
    """
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    operands = node.all_input_nodes
    if name in _FILLED:
        return _called(
            node, lambda each: torch.empty(_meta(each).shape, dtype=_kept(_meta(each).dtype))
        )
    if not operands or any(each.name not in known for each in operands):
        return None
    whole = all(_is_whole(known[each.name]) for each in operands)
    own = any(each.name in stored for each in operands)
    if not whole and name not in (_COMPARED if own else _MOVING):
        return None
    if name in _CASTS:
        return _cast(known[operands[0].name], _meta(node).dtype)
    floats = [each for each in tree_leaves((node.args, node.kwargs)) if isinstance(each, float)]
    narrow = whole and not all(map(_is_narrow, floats))
    if name not in _EXACT or (floats and name not in _MOVING) or narrow:
        return None

    def value_of(each: fx.Node) -> torch.Tensor:
        given = known[each.name]
        return given.double() if floats and given.dtype == torch.int64 else _in_float64(given)

    return _in_float64(_called(node, value_of))


def _is_narrow(number: float) -> bool:
    """Return whether a number of the graph is one of float32, to which torch may round it."""
    return float(torch.tensor(number, dtype=torch.float32)) == number


def _cast(given: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """Return the same numbers; a cast to another type of float does not round them."""
    if given.is_floating_point() and not dtype.is_floating_point:
        return None
    return given.to("cpu", _kept(dtype))


def _called(node: fx.Node, value_of: Callable[[fx.Node], Any]) -> torch.Tensor:
    operator: Any = node.target
    arguments: Any = map_arg((node.args, node.kwargs), value_of)
    options = {name: each for name, each in arguments[1].items() if name != "device"}
    kind = options.get("dtype")
    if kind is not None:
        options["dtype"] = _kept(kind)
    return operator(*arguments[0], **options)


def _in_float64(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("cpu", _kept(tensor.dtype))


def _kept(dtype: torch.dtype) -> torch.dtype:
    """Return the type that numbers of another are kept in."""
    return torch.float64 if dtype.is_floating_point else dtype


def _meta(node: fx.Node) -> torch.Tensor:
    return node.meta["val"]


def _is_whole(tensor: torch.Tensor) -> bool:
    if tensor.dtype not in _WHOLE:
        return False
    return tensor.dtype == torch.bool or not bool((tensor.abs() > _LARGEST).any())
