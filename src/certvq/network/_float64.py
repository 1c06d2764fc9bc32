"""The first rung: the network in float64, each value beside a bound on its error.

In: a network and its input. Out: latents with bounds. Must not decide anything.
"""

from typing import Any

import torch

from certvq.errors import CaptureError
from certvq.network._bounded import Bounded, exact
from certvq.network._graph import Network, Ref, Step, bind, last_uses
from certvq.network.rules import RULES


@torch.no_grad()
def bounded_latents(network: Network, source: Bounded) -> Bounded:
    """Run a network, and bound the error of everything it computes.

    Args:
        network: as captured.
        source: its input.

    Returns:
        The latents; along axis 1 they may have bounds of vectors or of entries.
    """
    values: dict[str, Bounded] = {network.source.name: source}

    def value_of(ref: Ref) -> Bounded:
        if ref.name not in values:
            values[ref.name] = exact(network.constants[ref.name])
        return values[ref.name]

    for step, finished in zip(network.steps, last_uses(network), strict=True):
        arguments = bind(step.arguments, value_of)
        values[step.result.name] = _bounded(step, arguments)
        for name in finished:
            values.pop(name, None)
    return value_of(network.output)


def _bounded(step: Step, arguments: Any) -> Bounded:
    try:
        return RULES[step.operator].bounded(arguments)
    except CaptureError as error:
        text = f"operator {step.operator} at module {step.place!r} {error}"
        raise CaptureError(text) from None
