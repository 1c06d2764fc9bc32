"""A captured network: its steps, and the exact numbers that they use.

In: nothing. Out: frozen records. Must not compute.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Ref:
    """A tensor of the graph, by name.

    Attributes:
        name: of the step, constant or input that makes it.
        shape: its axes.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One operator of the graph.

    Attributes:
        result: what it makes.
        operator: name and overload of the ATen operator, such as ``"conv2d.default"``.
        arguments: all arguments by name; tensors are a `Ref`, also within lists.
        place: path of the module that it belongs to, ``""`` for the outermost one.
    """

    result: Ref
    operator: str
    arguments: Mapping[str, Any]
    place: str


@dataclass(frozen=True)
class Network:
    """A network in eval mode as a graph of operators, for inputs of one shape.

    Attributes:
        steps: in the order of their computation.
        constants: parameters, buffers and constants by name, of any type of float: each an exact
            number. They are those of the module itself, no copies.
        source: the input.
        output: the latents, channels at axis 1.
    """

    steps: tuple[Step, ...]
    constants: Mapping[str, torch.Tensor]
    source: Ref
    output: Ref


def refs(argument: Any) -> Iterator[Ref]:
    """Yield the tensors in an argument, or in all arguments of a step."""
    if isinstance(argument, Ref):
        yield argument
    elif isinstance(argument, Mapping):
        for each in argument.values():
            yield from refs(each)
    elif isinstance(argument, (list, tuple)):
        for each in argument:
            yield from refs(each)


def bind(argument: Any, value_of: Callable[[Ref], _Value]) -> Any:
    """Return an argument with each tensor replaced by its value."""
    if isinstance(argument, Ref):
        return value_of(argument)
    if isinstance(argument, Mapping):
        return {name: bind(each, value_of) for name, each in argument.items()}
    if isinstance(argument, (list, tuple)):
        return [bind(each, value_of) for each in argument]
    return argument


def last_uses(network: Network) -> list[set[str]]:
    """Return for each step the tensors that nothing needs after it."""
    seen, uses = {network.output.name}, []
    for step in reversed(network.steps):
        used = {ref.name for ref in refs(step.arguments)} | {step.result.name}
        uses.append(used - seen)
        seen |= used
    return uses[::-1]
