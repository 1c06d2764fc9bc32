"""The original's loss and its breakdown.

In: what the layers of a `VectorQuantize` found. Out: terms of its loss. Must not change any state.
"""

from collections import namedtuple

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._heads import Heads
from certvq.compat.vector_quantize_pytorch._layer import Hit, Layer
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._maps import wide_type
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.errors import TransformError
from certvq.nn import PADDING
from certvq.nn._core.codes import require_range
from certvq.nn._core.losses import known_mean_square, mean_square
from certvq.nn._core.similarity import cross_entropy, negative_entropy
from certvq.nn._regularizers.orthogonal import orthogonality
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import beneath, is_batched, transforming

LossBreakdown = namedtuple(  # noqa: PYI024 (the original's tuple, name by name)
    "LossBreakdown", ["commitment", "codebook_diversity", "orthogonal_reg", "inplace_optimize"]
)


class Losses(Loaded):
    """What `VectorQuantize` knows about losses; its attributes are keywords of the original."""

    layers: nn.ModuleList
    _heads: Heads
    codebook_size: int
    options: Options
    heads: int
    learnable_codebook: bool
    has_commitment_loss: bool
    commitment_weight: float
    commitment_use_cross_entropy_loss: bool
    codebook_diversity_loss_weight: float
    codebook_diversity_temperature: float
    orthogonal_reg_weight: float
    orthogonal_reg_active_codes_only: bool
    orthogonal_reg_max_codes: int | None

    def _each(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _losses(
        self,
        hits: list[Hit],
        codes: torch.Tensor,
        shape: tuple[int, ...],
        kept: torch.Tensor | None,
        *,
        frozen: bool,
    ) -> LossBreakdown:
        zero = hits[0].points.new_zeros((), dtype=wide_type(hits[0].points))
        commitment = diversity = orthogonal = inner = zero
        several = hits[0].codes.ndim == 2
        if several and (self.has_commitment_loss or not self.training):
            vectors = self._learning(hits[0], frozen=frozen)
            commitment = (hits[0].points.to(zero.dtype)[:, None] - vectors).square().mean(dim=-1)
        elif self.training and self.has_commitment_loss:
            commitment = self._commitment(hits, codes, frozen=frozen)
        if self.training and self.codebook_diversity_loss_weight > 0.0:
            diversity = self._diversity(hits, shape, kept)
        if self.training and self.orthogonal_reg_weight > 0.0:
            orthogonal = torch.stack(
                [self._orthogonal(*p) for p in zip(self._each(), hits, strict=True)]
            )
            orthogonal = orthogonal.mean()
        steps = [layer.step_loss for layer in self._each() if layer.step_loss is not None]
        if self.training and not frozen and steps:
            inner = torch.stack(steps).mean()
        return LossBreakdown(commitment, diversity, orthogonal, inner)

    def _learning(self, hit: Hit, *, frozen: bool) -> torch.Tensor:
        learns = self.training and self.learnable_codebook and not frozen
        return hit.vectors if learns else hit.vectors.detach()

    def _commitment(self, hits: list[Hit], codes: torch.Tensor, *, frozen: bool) -> torch.Tensor:
        if self.commitment_use_cross_entropy_loss:
            return self._cross_entropy(hits, codes.flatten(1) if codes.ndim > 1 else codes[:, None])
        each = [
            mean_square(self._learning(hit, frozen=frozen), hit.points)
            if hit.sqdist is None
            else known_mean_square(self._learning(hit, frozen=frozen), hit.points, hit.sqdist)
            for hit in hits
        ]
        return torch.stack(each).mean()

    def _cross_entropy(self, hits: list[Hit], wanted: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy against codes (N, h); -1 is left out."""
        metric = "cosine" if self.options.use_cosine_sim else "euclidean"
        total, count = hits[0].points.new_zeros((), dtype=wide_type(hits[0].points)), 0
        for hit, own in zip(hits, self._heads.own(wanted), strict=True):
            given = _given_rows(own)
            codes = own if given is None else own[given]
            require_range(codes, self.codebook_size)
            points = hit.points if given is None else hit.points[given]
            total = total + len(codes) * cross_entropy(points, hit.book, codes, metric)
            count += len(codes)
        return total / max(1, count)

    def _diversity(
        self, hits: list[Hit], shape: tuple[int, ...], kept: torch.Tensor | None
    ) -> torch.Tensor:
        metric = "cosine" if self.options.use_cosine_sim else "euclidean"
        places = _product(shape[1:])
        each = []
        for hit in hits:
            points = hit.points
            if kept is None and len(points):
                grouped = points.reshape(shape[0], places, -1, points.shape[1])
                points = grouped.movedim(1, 0).reshape(places, -1, points.shape[1])
            else:
                points = points[None]
            each.append(
                negative_entropy(points, hit.book, self.codebook_diversity_temperature, metric)
            )
        return torch.stack(each).mean()

    def _orthogonal(self, layer: Layer, hit: Hit) -> torch.Tensor:
        vectors = layer.codebook.clone()  # which later batches move before the backward pass
        if self.orthogonal_reg_active_codes_only:
            if transforming() and is_batched(hit.codes):
                text = (
                    "orthogonal_reg_active_codes_only looks at as many code vectors as a batch "
                    "uses, got codes of their own for each sample of torch.func.vmap; call .eval() "
                    "on the layer, or give the samples one after the other"
                )
                raise TransformError(text)
            vectors = vectors[torch.unique(hit.codes)]
        most = self.orthogonal_reg_max_codes
        if most is not None and len(vectors) > most:
            vectors = vectors[_random.permutation(len(vectors), None, vectors.device)[:most]]
        return orthogonality(vectors) if len(vectors) else vectors.sum()

    def _total(self, terms: LossBreakdown) -> torch.Tensor:
        if not self.training:
            weight = self.commitment_weight if self.has_commitment_loss else 1.0
            return terms.commitment * weight
        return with_gradient(
            terms.codebook_diversity * self.codebook_diversity_loss_weight
            + terms.commitment * self.commitment_weight
            + terms.orthogonal_reg * self.orthogonal_reg_weight
        )


def with_gradient(loss: torch.Tensor) -> torch.Tensor:
    """Let a loss be differentiated where nothing of it has a gradient, as the original's can be.

    With latents that have none, the averages alone learn, and training code still calls `backward`.
    """
    return loss + torch.zeros_like(loss, requires_grad=True)


def _given_rows(codes: torch.Tensor) -> torch.Tensor | None:
    """Return which codes (N,) are not -1, bool; None where none is."""
    given = codes != PADDING
    if not transforming():
        return given
    if bool(beneath(given).all()):
        return None
    if is_batched(given):
        text = (
            "indices of -1 must stand at the same places in all samples of torch.func.vmap, as "
            "they say how many tokens count, got indices of their own for each sample; close over "
            "one tensor of indices, or give the samples one after the other"
        )
        raise TransformError(text)
    return beneath(given)


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
