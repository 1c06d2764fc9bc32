"""Residual vector quantization with certified codes.

In: sizes and options. Out: a `Residual` whose levels are `VectorQuantize` layers. Must not search
for codes.
"""

from collections.abc import Sequence
from typing import Any

import torch

from certvq.errors import OptionError
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._estimators.each_level import EachLevel
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._levels.beam import Beam
from certvq.nn._levels.level_dropout import LevelDropout
from certvq.nn._levels.residual import Residual
from certvq.nn._vector.neural_codebook import Neural, NeuralCodebook
from certvq.nn._vector.vector_quantize import VectorQuantize

_STRAIGHT = StraightThrough()


@checked
class ResidualVQ(Residual):
    """Quantize by one codebook what the codebooks before it left over.

    Mathematics, gradient, dropped levels and ties are those of `Residual`; each level is a
    `VectorQuantize`.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K of every level, or a sequence of one K for each level.
        num_quantizers: Q, how many levels, >= 1; may be left out where `codebook_size` is a
            sequence.
        shared: whether all levels use one codebook. It learns from the residuals of all levels
            together, once in a forward pass; k-means, if it starts it, sees those of the first.
        dropout: how many levels are used in train mode, or None for all.
        beam: a search over the levels, or None for the greedy choice.
        neural: networks that adapt the codebooks of all levels but the first to each token, or
            None. All levels learn by `Gradient` then.
        estimator: as for `Residual`.
        level_estimator: that of the levels: how the gradient of their vectors reaches their
            residuals, which only `EachLevel` lets through, and for `Gumbel` which codes they have.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of every random choice.
        options: of every level's `VectorQuantize`: `commitment_weight`, `update`, `start`, ...

    Raises:
        OptionError: an option out of its range, or sizes that contradict one another.

    Guarantee: without a beam each level's code is the nearest one of its codebook to that level's
    residual as computed, with the guarantee of `certvq.assign`; with one, see `Beam`. The rest is
    that of `Residual`.
    Ties: the lowest index, at each level.

    Example:
        >>> layer = ResidualVQ(4, 16, num_quantizers=3, dropout=LevelDropout())
        >>> quantized, codes, loss = layer.eval()(torch.randn(2, 10, 4))
        >>> codes.shape
        torch.Size([2, 10, 3])
        >>> layer.decode(codes[..., :2]).shape
        torch.Size([2, 10, 4])

    References:
        Zeghidour et al., "SoundStream: An End-to-End Neural Audio Codec", 2021; Defossez et al.,
        "High Fidelity Neural Audio Compression", 2022.
    """

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        *,
        num_quantizers: int | None = None,
        shared: bool = False,
        dropout: LevelDropout | None = None,
        beam: Beam | None = None,
        neural: Neural | None = None,
        estimator: Estimator | EachLevel = _STRAIGHT,
        level_estimator: Estimator = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        sizes = _level_sizes(codebook_size, num_quantizers)
        if shared and len(set(sizes)) > 1:
            text = f"a shared codebook needs one codebook_size for all levels, got {sizes}"
            raise OptionError(text)
        if neural is not None:
            if shared:
                text = "neural codebooks cannot be shared by levels: each has its own network"
                raise OptionError(text)
            options.setdefault("update", Gradient())
        options["estimator"] = level_estimator
        first, *rest = sizes[:1] if shared else sizes
        parts: list[VectorQuantize | NeuralCodebook] = [
            VectorQuantize(dim, first, generator=generator, **options)
        ]
        if neural is None:
            parts += [VectorQuantize(dim, size, generator=generator, **options) for size in rest]
        else:
            options["neural"] = neural
            parts += [NeuralCodebook(dim, size, generator=generator, **options) for size in rest]
        super().__init__(
            parts,
            num_quantizers=len(sizes),
            dropout=dropout,
            beam=beam,
            estimator=estimator,
            layout=layout,
            generator=generator,
        )


def _level_sizes(codebook_size: int | Sequence[int], num_quantizers: int | None) -> tuple[int, ...]:
    if isinstance(codebook_size, int):
        if num_quantizers is None or num_quantizers < 1:
            text = (
                "num_quantizers must be at least 1 where codebook_size is one number, got "
                f"{num_quantizers}"
            )
            raise OptionError(text)
        return (codebook_size,) * num_quantizers
    sizes = tuple(codebook_size)
    if not sizes or num_quantizers not in (None, len(sizes)):
        text = (
            "codebook_size must be one number or one for each level, got "
            f"{len(sizes)} numbers and num_quantizers={num_quantizers}"
        )
        raise OptionError(text)
    return sizes
