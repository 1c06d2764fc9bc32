"""Codes drawn at random, the nearer the likelier.

In: latents and a codebook. Out: sampled codes; the code vectors with a gradient. Must not keep an
N x K matrix.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from certvq.errors import OptionError, TransformError
from certvq.nn._core.options import checked
from certvq.nn._core.similarity import chunks, similarity
from certvq.nn._estimators.estimator import Estimator, straight_through
from certvq.nn._estimators.exchange import exchange
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import beyond_backward, is_batched, transforming


@checked
@dataclass(frozen=True)
class Gumbel(Estimator):
    """Draw the codes of train mode with probabilities ``softmax(s / temperature)``.

    Mathematics: the code of latent z is ``argmax_k s_k / T + G_k`` with independent Gumbel numbers
    G_k, where s_k is minus the Euclidean distance of z to code vector k, or their dot product
    (`cosine`). So in train mode codes are *not* the nearest ones; in eval mode, and from `encode`,
    they are. The value is the code vector of the code drawn.

    The gradient goes to the latents unchanged, or, with `soft`, it is that of the mean code vector
    ``sum_k p_k c_k``, ``p = softmax(s / T)``, with respect to the latent and the code vectors.

    Attributes:
        temperature: T, positive and finite.
        soft: which gradient.
        cosine: which similarity.

    Raises:
        OptionError: `temperature` out of range.

    Guarantee: ``quantized == decode(codes)`` bit for bit. The probabilities are those of the
    formula but for rounding; nothing about a drawn code is certified.
    Cost: O(N K D) time and one chunk of memory, a few times slower than nearest codes.

    References:
        Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017, equation 1
        (the draw) and section 2.2 (straight through).
    """

    temperature: float = 1.0
    soft: bool = False
    cosine: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < math.inf:
            text = f"Gumbel temperature must be positive and finite, got {self.temperature}"
            raise OptionError(text)

    def choose(
        self, latents: torch.Tensor, codebook: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Draw the codes; see `Estimator.choose`.

        Raises:
            TransformError: latents or codebook differ between samples of `torch.func.vmap`.
        """
        if transforming() and (is_batched(latents) or is_batched(codebook)):
            text = (
                "Gumbel draws codes for one batch of latents at a time, got one for each sample of "
                "torch.func.vmap; call .eval() for nearest codes, or give all samples as one batch"
            )
            raise TransformError(text)
        codes = torch.empty(len(latents), dtype=torch.int64, device=latents.device)
        for part in chunks(len(latents), len(codebook)):
            level = similarity(latents[part], codebook, self._metric()).div_(self.temperature)
            noise = _random.exponential(tuple(level.shape), generator, latents.device, level.dtype)
            codes[part] = level.sub_(noise.log_()).argmax(dim=1)
        return codes

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors; see `Estimator.estimate`."""
        del generator
        if not self.soft:
            return straight_through(latents, codebook, codes)
        if beyond_backward() or torch.compiler.is_compiling():
            parts = chunks(len(latents), len(codebook))
            means = [_mean_vectors(latents[part], codebook, *self._options()) for part in parts]
            mean = torch.cat(means) if means else latents
            return exchange(mean, functional.embedding(codes, codebook.detach()))
        result: torch.Tensor = _Soft.apply(latents, codebook, codes, *self._options())
        return result

    def _options(self) -> tuple[float, str]:
        return self.temperature, self._metric()

    def _metric(self) -> str:
        return "cosine" if self.cosine else "euclidean"


def _mean_vectors(
    latents: torch.Tensor, codebook: torch.Tensor, temperature: float, metric: str
) -> torch.Tensor:
    """Return the mean code vector of each latent, (N, D) in float32 or wider."""
    level = similarity(latents, codebook, metric) / temperature
    return level.softmax(dim=1) @ codebook.to(level.dtype)


class _Soft(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        temperature: float,
        metric: str,
    ) -> torch.Tensor:
        ctx.save_for_backward(latents.detach(), codebook.detach().clone())
        ctx.options = temperature, metric
        return functional.embedding(codes, codebook)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator's type)
        ctx: Any, *cotangents: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        latents, codebook = ctx.saved_tensors
        temperature, metric = ctx.options
        book = codebook.detach().requires_grad_()
        by_latents, by_codebook = torch.zeros_like(latents), torch.zeros_like(codebook)
        for part in chunks(len(latents), len(codebook)):
            points = latents[part].clone().requires_grad_()
            with torch.enable_grad():
                mean = _mean_vectors(points, book, temperature, metric)
                value = (mean * cotangents[0][part]).sum()
            by_latents[part], slope = torch.autograd.grad(value, (points, book))
            by_codebook += slope
        return by_latents, by_codebook, None, None, None
