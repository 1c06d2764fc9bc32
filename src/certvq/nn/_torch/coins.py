"""Coins drawn as torch draws them, also for the samples of torch.func.vmap.

In: probabilities. Out: what torch's default generator makes of them. Must not know what they are
for.
"""

from typing import Any

import torch

from certvq.errors import TransformError
from certvq.nn._torch.modes import is_batched, transforming


def coins(probabilities: torch.Tensor) -> torch.Tensor:
    """Draw one coin for each probability, by `torch.bernoulli`.

    Under `torch.func.vmap` with ``randomness="same"``, for which torch has no rule, each sample
    gets the coins that it gets alone from the same state of the generator.

    Args:
        probabilities: any shape and float type; no derivative goes through.

    Returns:
        0 and 1, of their shape and type.

    Example:
        >>> torch.func.vmap(coins, randomness="same")(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    if transforming() and is_batched(probabilities):
        drawn: torch.Tensor = _Coins.apply(probabilities.detach())
        return drawn
    return probabilities.bernoulli()


class _Coins(torch.autograd.Function):
    @staticmethod
    def forward(probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities.bernoulli()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        del inputs
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        """Say that there is none; torch asks for this method."""
        del ctx, cotangents
        return None

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> Any:
        """Say that there is none."""
        del ctx, tangents
        return None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """Draw for all samples at once, or for each from the same state."""
        (probabilities,), (dim,) = given, in_dims
        if info.randomness == "error":
            text = (
                "drawing bits under torch.func.vmap needs to know whether all samples have the "
                'same random numbers, got randomness="error"; give vmap randomness="same" or '
                '"different", or draw none with deterministic=True'
            )
            raise TransformError(text)
        assert dim is not None
        if info.randomness == "different":
            return coins(probabilities.movedim(dim, 0)), 0
        source = _source(probabilities.device)
        state = source.get_state()
        drawn = []
        for sample in probabilities.unbind(dim):
            source.set_state(state)
            drawn.append(coins(sample))
        return torch.stack(drawn), 0


def _source(device: torch.device) -> torch.Generator:
    """Return torch's default generator of a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[
            torch.cuda.current_device() if device.index is None else device.index
        ]
    return torch.default_generator
