"""The first two rungs: the network in float64 or in pairs, each value beside a bound on its error.

In: a network and its input. Out: latents with bounds. Must not decide anything.
"""

from collections.abc import Mapping
from typing import Any

import torch

from certvq.errors import CaptureError
from certvq.network._bounded import Bounded, exact, tracked, widened
from certvq.network._graph import Network, Ref, Step, bind, last_uses, refs
from certvq.network.rules import RULES

_KEPT = 31 << 20
"""Bytes of a block that is taken and given back at once: the C library of Linux then keeps up to
twice as much for the next arrays (mallopt(3), M_MMAP_THRESHOLD), which would otherwise be new
memory for every batch. Chosen just below the most that it takes for that."""


@torch.no_grad()
def bounded_constants(
    network: Network,
    *,
    narrow: Mapping[str, Bounded] | None = None,
    known: Mapping[str, Bounded] | None = None,
) -> dict[str, Bounded]:
    """Compute what does not depend on the input, for use with many inputs.

    Args:
        network: as captured.
        narrow: its constants in float64, for those in pairs; None for those in float64.
        known: those of a network of which this is a part; what is in there is not computed again.

    Returns:
        By name, the constants, and the results of steps that use nothing else. They hold as long
        as the parameters of the network do not change.
    """
    torch.empty(_KEPT, dtype=torch.uint8)
    if known is not None:
        values = dict(known)
    elif narrow is None:
        values = {name: exact(each) for name, each in network.constants.items()}
    else:
        values = {name: widened(narrow[name]) for name in network.constants}
    for step in network.steps:
        name = step.result.name
        if name not in values and all(ref.name in values for ref in refs(step.arguments)):
            values[name] = _bounded(step, bind(step.arguments, lambda r: values[r.name]))
    return values


@torch.no_grad()
def bounded_latents(
    network: Network, source: Bounded, *, constants: Mapping[str, Bounded] | None = None
) -> Bounded:
    """Run a network, and bound the error of everything it computes.

    Args:
        network: as captured.
        source: its input, in the arithmetic that is to be used. Where it is `tracked`, or an
            operator mixes places, bounds of whole samples are kept beside those of places.
        constants: its `bounded_constants`, or None to compute them.

    Returns:
        The latents; along axis 1 they may have bounds of vectors or of entries.
    """
    known = bounded_constants(network) if constants is None else constants
    if any(RULES[step.operator].mixing for step in network.steps):
        source = tracked(source)
    values: dict[str, Bounded] = {network.source.name: source}

    def value_of(ref: Ref) -> Bounded:
        return known[ref.name] if ref.name in known else values[ref.name]

    for step, finished in zip(network.steps, last_uses(network), strict=True):
        if step.result.name not in known:
            found = _bounded(step, bind(step.arguments, value_of))
            values[step.result.name] = found if source.whole is None else tracked(found)
        for name in finished:
            values.pop(name, None)
    return value_of(network.output)


def _bounded(step: Step, arguments: Any) -> Bounded:
    try:
        return RULES[step.operator].bounded(arguments)
    except CaptureError as error:
        text = f"operator {step.operator} at module {step.place!r} {error}"
        raise CaptureError(text) from None
