"""The original's `ResidualVQ`.

In: latents (b, ..., d), or channel first. Out: sums of code vectors, indices and losses of all
levels. Must not search by itself.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked
from certvq.compat.vector_quantize_pytorch._depth import Depth
from certvq.compat.vector_quantize_pytorch._grid_options import projections
from certvq.compat.vector_quantize_pytorch._layout import require_one_layout
from certvq.compat.vector_quantize_pytorch._level import NeuralLevel
from certvq.compat.vector_quantize_pytorch._level_state import take_layer_state
from certvq.compat.vector_quantize_pytorch._readable import code_vectors_given
from certvq.compat.vector_quantize_pytorch._residual_forward import ResidualForward
from certvq.compat.vector_quantize_pytorch._residual_parts import (
    build_levels,
    codebook_of,
    read_keywords,
    read_networks,
    read_sizes,
)
from certvq.errors import OptionError, ShapeError
from certvq.nn import EachLevel, Residual
from certvq.nn._torch.transaction import all_or_nothing


class ResidualVQ(ResidualForward):
    """Quantize by one codebook what the codebooks before it left over.

    Args:
        dim: size of the feature axis.
        num_quantizers: number of levels; may be left out where `codebook_size` is a tuple.
        codebook_size: number of codes of each level, or a tuple of one for each.
        codebook_dim: size that a linear map gives the features before the levels.
        shared_codebook: whether all levels use one codebook.
        diveq: learn by the directional reparametrisation of the sum.
        heads: 1; more are refused, as by the original.
        quantize_dropout: whether train mode uses a random number of the first levels.
        quantize_dropout_cutoff_index: the last level that is always used.
        quantize_dropout_multiple_of: the number of levels used is a multiple of this, or all.
        accept_image_fmap: latents are (b, c, h, w).
        implicit_neural_codebook: networks adapt the codebooks of all levels but the first.
        mlp_kwargs: ``dim_hidden`` and ``depth`` of these networks.
        beam_size: how many partial sums are kept from level to level.
        eval_beam_size: likewise in eval mode.
        beam_score_quantizer_weights: weights of the levels' errors in the beam.
        quant_grad_frac: share of each level's gradient that reaches the levels after it.
        return_zeros_for_masked_padding: whether masked places come back as zeros, or as they were.
        vq_kwargs: keywords of the original's `VectorQuantize`.

    Attributes:
        residual: the `certvq.nn.Residual` that does the work.

    Raises:
        OptionError: options that contradict one another, or that certvq does not have.

    Guarantee: that of `certvq.nn.Residual`.
    """

    fixed = frozenset(
        {
            "accept_image_fmap",
            "has_projections",
            "num_quantizers",
            "shared_codebook",
            "quantize_dropout",
            "quantize_dropout_cutoff_index",
            "quantize_dropout_multiple_of",
        }
    )

    @checked(codebook_size=SIZES)
    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int | None = None,
        codebook_size: int | tuple[int, ...],
        codebook_dim: int | None = None,
        shared_codebook: bool = False,
        diveq: bool = False,
        heads: int = 1,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        accept_image_fmap: bool = False,
        implicit_neural_codebook: bool = False,
        mlp_kwargs: dict[str, Any] | None = None,
        beam_size: int | None = None,
        eval_beam_size: int | None = None,
        beam_score_quantizer_weights: Sequence[float] | None = None,
        quant_grad_frac: float = 0.0,
        return_zeros_for_masked_padding: bool = True,
        **vq_kwargs: Any,
    ) -> None:
        super().__init__()
        if heads != 1:
            text = f"ResidualVQ has one head, got heads={heads}; see docs/migration.md"
            raise OptionError(text)
        sizes = read_sizes(codebook_size, num_quantizers)
        require_one_layout(
            accept_image_fmap=accept_image_fmap,
            accept_3d_fmap=vq_kwargs.get("accept_3d_fmap", False),
        )
        self.keywords = read_keywords(vq_kwargs, diveq=diveq, neural=implicit_neural_codebook)
        self.dim = dim
        self.codebook_dim = dim if codebook_dim is None else codebook_dim
        self.num_quantizers = len(sizes)
        self.codebook_sizes = sizes
        self.shared_codebook = shared_codebook
        self.implicit_neural_codebook = implicit_neural_codebook
        self.diveq = diveq
        self.accept_image_fmap = accept_image_fmap
        self.channel_first = (
            accept_image_fmap or self.keywords.accept_3d_fmap or not self.keywords.channel_last
        )
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        self.has_projections = self.codebook_dim != dim
        self.project_in, self.project_out = projections(dim, self.codebook_dim)
        self.depth = Depth(
            self.num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.quantize_dropout = self.depth.dropout
        self.quantize_dropout_cutoff_index = quantize_dropout_cutoff_index
        self.quantize_dropout_multiple_of = quantize_dropout_multiple_of
        if eval_beam_size is not None and beam_size is None:
            text = f"eval_beam_size={eval_beam_size} needs beam_size"
            raise OptionError(text)
        self.beam_size = beam_size
        self.eval_beam_size = beam_size if eval_beam_size is None else eval_beam_size
        ones = (1.0,) * self.num_quantizers
        weights = beam_score_quantizer_weights
        self.beam_weights = ones if weights is None else tuple(map(float, weights))
        if len(self.beam_weights) != self.num_quantizers:
            text = (
                f"beam_score_quantizer_weights must be one for each of {self.num_quantizers} "
                f"levels, got {len(self.beam_weights)}"
            )
            raise OptionError(text)
        parts = build_levels(
            self.keywords,
            self.codebook_dim,
            sizes,
            shared=shared_codebook,
            diveq=diveq,
            networks=read_networks(mlp_kwargs) if implicit_neural_codebook else None,
        )
        share = 1.0 if diveq else quant_grad_frac
        self.residual = Residual(parts, num_quantizers=len(sizes), estimator=EachLevel(share))

    @property
    def codebook_size(self) -> int:
        """Number of codes of the first level."""
        return self.codebook_sizes[0]

    @property
    def codebooks(self) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Code vectors of each level as stored; one tensor (q, K, d) where all sizes agree.

        They are those that the latest training batch has moved, as in the original. What is set
        stays: averages go on from it.
        """
        books = tuple(codebook_of(level).codebook for level in self.layers)
        return torch.stack(books) if self.uniform_codebook_size else books

    @codebooks.setter
    def codebooks(self, vectors: torch.Tensor | Sequence[torch.Tensor]) -> None:
        self.give(self.readable(vectors))

    def readable(self, vectors: object) -> list[torch.Tensor]:
        """Read code vectors for each level, without a change.

        Raises:
            DTypeError, ShapeError, NonFiniteError: they cannot be code vectors of the levels.
            OptionError: other ones for levels that share one codebook.
        """
        given = list(vectors) if isinstance(vectors, torch.Tensor | list | tuple) else []
        if len(given) != self.num_quantizers:
            text = (
                f"codebooks must be code vectors of each of {self.num_quantizers} levels, got "
                f"{len(given) if given else type(vectors).__name__}"
            )
            raise ShapeError(text)
        books = [
            code_vectors_given(own, codebook_of(level).codebook, f"codebooks[{place}]")
            for place, (level, own) in enumerate(zip(self._levels, given, strict=True))
        ]
        if self.shared_codebook and any(not torch.equal(books[0], own) for own in books[1:]):
            text = "codebooks of levels that share one must be equal, got different ones"
            raise OptionError(text)
        return books

    def give(self, books: Sequence[torch.Tensor]) -> None:
        """Let every level go on from code vectors as `readable` returns them."""
        for level, own in zip(self._levels, books, strict=True):
            codebook_of(level).give(own)

    @property
    def uniform_codebook_size(self) -> bool:
        """Whether all levels have as many codes."""
        return len(set(self.codebook_sizes)) == 1

    @property
    def vq_is_ema_updating(self) -> bool:
        """Whether the codebooks are moving averages."""
        return self.keywords.averages

    @property
    def beam_score_weights(self) -> torch.Tensor:
        """Weights of the levels' errors in a beam, (q,)."""
        return torch.tensor(self.beam_weights, device=codebook_of(self._levels[0]).codebook.device)

    @property
    def mlps(self) -> tuple[nn.Module | None, ...]:
        """The networks of all levels but the first; None where there is none."""
        return tuple(
            level.transform if isinstance(level, NeuralLevel) else None
            for level in self._levels[1:]
        )

    def train(self, mode: bool = True) -> "ResidualVQ":
        """Set the mode; on the way to eval mode, take in what the latest batch taught."""
        if self.training and not mode:
            books = [codebook_of(level) for level in self._levels]

            def step() -> None:
                for book in books:
                    book.settle()

            all_or_nothing(self, books[0].codebook, step, learns=True)
        return super().train(mode)

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Loaded`."""
        for level, part in enumerate(self._levels):
            neural = isinstance(part, NeuralLevel)
            place = 0 if self.shared_codebook and not neural else level
            inner = "base." if neural else ""
            new = f"{prefix}residual.parts.{place}.{inner}"
            take_layer_state(state_dict, f"{prefix}layers.{level}.", {new: codebook_of(part)})
            old = f"{prefix}mlps.{level - 1}."
            for name in [name for name in state_dict if name.startswith(old)]:
                renamed = f"{prefix}residual.parts.{level}.transform.{name.removeprefix(old)}"
                state_dict[renamed] = state_dict.pop(name)
