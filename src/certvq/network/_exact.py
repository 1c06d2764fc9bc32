"""A network over exact numbers, for those entries of its output that are asked for.

In: a network, its input and a mask of its output. Out: numbers of an exact arithmetic. First the
masks are followed back to the input, so that only the receptive field is computed. Must not decide
anything.
"""

import numpy as np

from certvq.errors import NonFiniteError
from certvq.network._graph import Network, Ref, bind, last_uses
from certvq.network._numbers import Numbers
from certvq.network._source import Source
from certvq.network.rules import RULES


def is_rational(network: Network) -> bool:
    """Return whether rational numbers stay rational throughout."""
    return all(RULES[step.operator].rational for step in network.steps)


def exact_latents(
    network: Network, source: Source, mask: np.ndarray, numbers: Numbers
) -> np.ndarray:
    """Compute entries of the output.

    Args:
        network: as captured.
        source: its input.
        mask: bool, of the shape of the output.
        numbers: the arithmetic, which the caller has set to work.

    Returns:
        Objects of the shape of the output; only what is in `mask` counts.

    Raises:
        NonFiniteError: a quotient by 0.
    """
    masks = needed_entries(network, mask)
    values = {network.source.name: source.objects(numbers, masks[network.source.name])}

    def value_of(ref: Ref) -> np.ndarray:
        if ref.name not in values:
            constant = network.constants[ref.name].to("cpu").double().numpy()
            values[ref.name] = numbers.array(constant, np.ones(constant.shape, bool))
        return values[ref.name]

    for step, finished in zip(network.steps, last_uses(network), strict=True):
        if step.result.name in masks:
            arguments = bind(step.arguments, value_of)
            needed = masks[step.result.name]
            try:
                values[step.result.name] = RULES[step.operator].exact(numbers, arguments, needed)
            except ZeroDivisionError:
                text = (
                    f"operator {step.operator} at module {step.place!r} divides by 0 over the real "
                    "numbers, so that some tokens have no latent; leave their input out"
                )
                raise NonFiniteError(text) from None
        for name in finished:
            values.pop(name, None)
    return value_of(network.output)


def needed_entries(network: Network, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Follow a mask of the output back.

    Args:
        network: as captured.
        mask: bool, of the shape of the output.

    Returns:
        A mask for each tensor that is needed, and for the input.
    """
    masks = {network.output.name: mask}
    for step in reversed(network.steps):
        wanted = masks.get(step.result.name)
        if wanted is None or not wanted.any():
            continue
        for ref, needed in RULES[step.operator].needs(step.arguments, wanted):
            masks[ref.name] = masks[ref.name] | needed if ref.name in masks else needed
    masks.setdefault(network.source.name, np.zeros(network.source.shape, bool))
    return masks
