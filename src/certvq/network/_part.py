"""A network for a part of its output.

In: a network, and a region of its output. Out: the network that computes this of the region of the
input that it depends on. Its operators are the same over smaller tensors: a convolution has padding
where its windows leave the whole tensor, and nowhere else. Must not compute.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from certvq.network._graph import Network, Ref, Step, refs
from certvq.network._region import Part, Region, hull, shape_of, whole
from certvq.network.rules import RULES
from certvq.network.rules._cut import CUT


@dataclass(frozen=True)
class NetworkPart:
    """A network, and where it stands in a greater one.

    Attributes:
        network: which computes the part.
        source: the region of the whole input that is its input.
    """

    network: Network
    source: Region


def part_of(network: Network, region: Region) -> NetworkPart:
    """Return the network that computes a region of the output.

    Args:
        network: as captured.
        region: of its output.

    Returns:
        The part. What does not depend on the input has the same name and value in both.
    """
    fixed = set(network.constants)
    for step in network.steps:
        if all(ref.name in fixed for ref in refs(step.arguments)):
            fixed.add(step.result.name)
    wanted: dict[str, Region] = {network.output.name: region}
    cut: list[tuple[Step, Any, Region]] = []
    for step in reversed(network.steps):
        name = step.result.name
        if name in fixed or name not in wanted:
            continue
        found = RULES[step.operator].within(step.arguments, wanted[name], step.result.shape)
        arguments, made = found or (step.arguments, whole(step.result.shape))
        for each in _parts(arguments):
            wanted[each.ref.name] = hull(wanted.get(each.ref.name), each.region)
        cut.append((step, arguments, made))
    return NetworkPart(_joined(network, fixed, wanted, cut[::-1]), wanted[network.source.name])


def share_of_source(network: Network, part: NetworkPart) -> float:
    """Return how many of the numbers of the input a part needs, from 0 to 1."""
    return math.prod(shape_of(part.source)) / math.prod(network.source.shape)


def _joined(
    network: Network,
    fixed: set[str],
    wanted: dict[str, Region],
    cut: list[tuple[Step, Any, Region]],
) -> Network:
    source = Ref(network.source.name, shape_of(wanted[network.source.name]))
    made = {source.name: wanted[source.name]}
    steps: list[Step] = [step for step in network.steps if step.result.name in fixed]

    def taken(part: Part, place: str) -> Ref:
        have = made.get(part.ref.name, whole(part.ref.shape))
        ref = Ref(part.ref.name, shape_of(have))
        if have == part.region:
            return ref
        ends = zip(part.region, have, strict=True)
        inside = tuple((start - first, end - first) for (start, end), (first, _) in ends)
        result = Ref(f"{ref.name}[{len(steps)}]", shape_of(part.region))
        steps.append(Step(result, CUT, {"self": ref, "region": inside}, place))
        return result

    for step, arguments, region in cut:
        name, place = step.result.name, step.place
        given = _replaced(arguments, lambda part, place=place: taken(part, place))
        steps.append(Step(Ref(name, shape_of(region)), step.operator, given, place))
        made[name] = region
    output = taken(Part(network.output, wanted[network.output.name]), "")
    return replace(network, steps=tuple(steps), source=source, output=output)


def _parts(argument: Any) -> list[Part]:
    """Return the parts in all arguments of a step; a tensor that is whole is one, too."""
    if isinstance(argument, Ref):
        return [Part(argument, whole(argument.shape))]
    if isinstance(argument, Part):
        return [argument]
    if isinstance(argument, dict):
        return [part for each in argument.values() for part in _parts(each)]
    if isinstance(argument, (list, tuple)):
        return [part for each in argument for part in _parts(each)]
    return []


def _replaced(argument: Any, take: Callable[[Part], Ref]) -> Any:
    if isinstance(argument, (Ref, Part)):
        return take(_parts(argument)[0])
    if isinstance(argument, dict):
        return {name: _replaced(each, take) for name, each in argument.items()}
    if isinstance(argument, list):
        return [_replaced(each, take) for each in argument]
    return argument
