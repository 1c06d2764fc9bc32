"""Code vectors that point in different directions.

In: code vectors. Out: a scalar. Must not know of layers.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from certvq.errors import OptionError, TransformError
from certvq.nn._core.options import checked
from certvq.nn._core.similarity import unit_rows
from certvq.nn._regularizers.regularizer import Batch, Regularizer
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import full_precision, is_batched, transforming


@checked
@dataclass(frozen=True)
class Orthogonal(Regularizer):
    """Push code vectors towards being orthogonal.

    Mathematics: ``sum_ij (u_i . u_j)^2 / K^2 - 1 / K`` with unit vectors u: 0 where all are
    orthogonal. It needs code vectors with gradients, that is ``update=Gradient()``.

    Attributes:
        weight: finite, at least 0.
        max_codes: how many codes are looked at, at most, chosen anew for each batch; None for all.
        active_only: whether only codes of the batch are looked at.

    Raises:
        OptionError: an option out of its range.

    Cost: O(K^2 D) time and memory of K x K for the K codes looked at; `max_codes` bounds it.

    References:
        Shin, Lee, Lee, "Translation-equivariant Image Quantizer for Bi-directional Image-Text
        Generation", 2021 (arXiv 2112.00384), equation 2.
    """

    name: ClassVar[str] = "orthogonal"
    needs_gradient: ClassVar[bool] = True

    weight: float = 10.0
    max_codes: int | None = None
    active_only: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < math.inf:
            text = f"Orthogonal weight must be finite and at least 0, got {self.weight}"
            raise OptionError(text)
        if self.max_codes is not None and self.max_codes < 1:
            text = f"Orthogonal max_codes must be at least 1 or None, got {self.max_codes}"
            raise OptionError(text)

    def penalty(self, batch: Batch) -> torch.Tensor:
        """Return the term; see the class.

        Raises:
            TransformError: with `active_only`, codes that differ between samples of
                `torch.func.vmap`.
        """
        vectors = batch.vectors
        if self.active_only:
            if transforming() and is_batched(batch.codes):
                text = (
                    "Orthogonal with active_only looks at as many code vectors as a batch uses, "
                    "got codes of their own for each sample of torch.func.vmap; call .eval() on "
                    "the layer, or give the samples one after the other"
                )
                raise TransformError(text)
            vectors = vectors[torch.unique(batch.codes)]
        if self.max_codes is not None and len(vectors) > self.max_codes:
            order = _random.permutation(len(vectors), batch.generator, vectors.device)
            vectors = vectors[order[: self.max_codes]]
        return orthogonality(vectors)


def orthogonality(vectors: torch.Tensor) -> torch.Tensor:
    """Return the mean squared cosine of all pairs of rows, less that of orthogonal ones.

    Args:
        vectors: (K, D), K >= 1.

    Example:
        >>> orthogonality(torch.eye(3)), orthogonality(torch.ones(2, 5))
        (tensor(0.), tensor(0.5000))
    """
    units = unit_rows(vectors)
    with full_precision(units.device):
        return (units @ units.T).square().mean() - 1.0 / len(units)
