"""Numbers chosen from a list, with the gradients that teach both sides.

In: latents, a list of numbers and a place in it for each latent's entries. Out: the numbers at
those places, and the mean squared error twice: for the latents and for the list. Must not know how
places are found.
"""

import functools
from typing import Any, NamedTuple

import torch

from certvq.nn._core.losses import known_mean_square, wide_of
from certvq.nn._estimators.exchange import exchange
from certvq.nn._torch.modes import beyond_backward, has_memory, widest


class Chosen(NamedTuple):
    """What is chosen for latents (N, D).

    Attributes:
        vectors: (N, D) of the list's type of number, with the gradient of the latents.
        commitment: the mean squared error, a scalar in float32 or wider, with the gradient of the
            latents.
        taught: the same number with the gradient of the list.
    """

    vectors: torch.Tensor
    commitment: torch.Tensor
    taught: torch.Tensor


def choose(latents: torch.Tensor, numbers: torch.Tensor, places: torch.Tensor) -> Chosen:
    """Look numbers up, straight through, and say how far they are from the latents.

    Mathematics: ``vectors = sg[numbers[places]]`` with the gradient of the latents unchanged,
    ``commitment = mse(z, sg[numbers[places]])`` and ``taught = mse(sg[z], numbers[places])``.

    Args:
        latents: (N, D), any float type.
        numbers: (M,), any float type.
        places: int64 (N, D) in ``range(M)``, not checked here.

    Guarantee: `vectors` are the numbers of the list, bit for bit. The gradient of the list is
    summed in float64 where neither a compiler nor `torch.func` follows.
    Cost: a few passes over the latents, whose number torch's threads pay for: in a batch that they
    share, waiting for each other costs more than the arithmetic.

    Example:
        >>> latents = torch.tensor([[0.25], [1.0]], requires_grad=True)
        >>> numbers = torch.tensor([0.0, 2.0], requires_grad=True)
        >>> found = choose(latents, numbers, torch.tensor([[0], [1]]))
        >>> (found.commitment + found.taught).backward()
        >>> latents.grad.flatten().tolist(), numbers.grad.tolist()
        ([0.25, -1.0], [-0.25, 1.0])
    """
    if has_memory(latents) and not beyond_backward():
        result: tuple[torch.Tensor, ...] = _Choose.apply(latents, numbers, places)
        return Chosen(*result)
    return chosen_by_parts(latents, numbers, places)


def chosen_by_parts(latents: torch.Tensor, numbers: torch.Tensor, places: torch.Tensor) -> Chosen:
    """Do the same by functions that compilers and `torch.func` follow."""
    chosen = numbers[places]
    difference = latents.detach().to(wide_of(latents, chosen)) - chosen.detach()
    total = difference.square().sum()
    return Chosen(
        exchange(latents, chosen.detach()),
        known_mean_square(latents, chosen.detach(), total),
        known_mean_square(latents.detach(), chosen, total),
    )


class _Choose(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, latents: torch.Tensor, numbers: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        vectors = numbers.index_select(0, places.reshape(-1)).reshape(places.shape)
        wide = wide_of(latents, numbers)
        difference = latents.to(wide) - vectors
        flat = difference.reshape(-1)
        mean = torch.dot(flat, flat) / max(1, flat.numel())
        mean = mean.clamp(max=torch.finfo(wide).max)
        ctx.save_for_backward(latents, numbers, places)
        ctx.difference = difference
        ctx.set_materialize_grads(False)
        taught = mean.clone()
        by_latents, by_numbers = ctx.needs_input_grad[:2]
        if not by_latents:
            ctx.mark_non_differentiable(vectors, mean)
        if not by_numbers:
            ctx.mark_non_differentiable(taught)
        return vectors, mean, taught

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        latents, numbers, places = ctx.saved_tensors
        through, commitment, taught = cotangents
        for_latents = for_numbers = ctx.difference
        if torch.is_grad_enabled():  # derivatives of second order see what it is made of
            wide = ctx.difference.dtype
            for_latents = latents.to(wide) - numbers.detach()[places]
            for_numbers = latents.detach().to(wide) - numbers[places]
        factor = 2.0 / max(1, places.numel())
        to_latents = to_numbers = None
        if ctx.needs_input_grad[0]:
            parts = [] if through is None else [through.to(for_latents.dtype)]
            if commitment is not None:
                parts.append(for_latents * (commitment * factor))
            if parts:
                to_latents = functools.reduce(torch.add, parts).to(latents.dtype)
        if ctx.needs_input_grad[1] and taught is not None:
            kind = widest(numbers.device)
            sums = torch.zeros(len(numbers), dtype=kind, device=numbers.device)
            sums = sums.index_add(0, places.reshape(-1), for_numbers.reshape(-1).to(kind))
            to_numbers = (sums * (taught.to(kind) * -factor)).to(numbers.dtype)
        return to_latents, to_numbers, None
