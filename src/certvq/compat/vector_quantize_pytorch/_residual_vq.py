"""The original's `ResidualVQ`.

In: latents (b, ..., d), or channel first. Out: sums of code vectors, indices and losses of all
levels. Must not search by itself.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked, require
from certvq.compat.vector_quantize_pytorch._depth import Depth
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._layout import require_one_layout
from certvq.compat.vector_quantize_pytorch._level import Level, Unrouted
from certvq.compat.vector_quantize_pytorch._level_keywords import LevelKeywords
from certvq.compat.vector_quantize_pytorch._level_state import take_layer_state
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import (
    PADDING,
    Beam,
    EachLevel,
    Neural,
    NeuralCodebook,
    Quantizer,
    Reparam,
    Residual,
    VectorQuantize,
)
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.distributed import raise_together
from certvq.nn._core.mask import among_padding, kept_rows
from certvq.nn._core.similarity import cross_entropy
from certvq.nn._core.unit import unit_rows
from certvq.nn._estimators.each_level import partly_detached
from certvq.nn._families.residual import after

_MLP = {"dim_hidden", "depth"}


class ResidualVQ(nn.Module):
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
        sizes = _sizes(codebook_size, num_quantizers)
        require_one_layout(
            accept_image_fmap=accept_image_fmap,
            accept_3d_fmap=vq_kwargs.get("accept_3d_fmap", False),
        )
        self.keywords = _keywords(vq_kwargs, diveq=diveq, neural=implicit_neural_codebook)
        self.dim = dim
        self.codebook_dim = dim if codebook_dim is None else codebook_dim
        self.num_quantizers = len(sizes)
        self.codebook_sizes = sizes
        self.shared_codebook = shared_codebook
        self.implicit_neural_codebook = implicit_neural_codebook
        self.diveq = diveq
        self.channel_first = (
            accept_image_fmap or self.keywords.accept_3d_fmap or not self.keywords.channel_last
        )
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        self.has_projections = self.codebook_dim != dim
        self.project_in = _linear(dim, self.codebook_dim)
        self.project_out = _linear(self.codebook_dim, dim)
        self.depth = Depth(
            self.num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.quantize_dropout = self.depth.dropout
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
        networks = Neural(**_network(mlp_kwargs)) if implicit_neural_codebook else None
        parts = self._build(sizes, networks)
        share = 1.0 if diveq else quant_grad_frac
        self.residual = Residual(parts, levels=len(sizes), estimator=EachLevel(share))

    @property
    def layers(self) -> tuple[Quantizer, ...]:
        """The quantizer of each level."""
        return self.residual.levels

    @property
    def codebook_size(self) -> int:
        """Number of codes of the first level."""
        return self.codebook_sizes[0]

    @property
    def codebooks(self) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Code vectors of each level as stored; one tensor where all sizes agree."""
        books = tuple(_codebook(level).codebook for level in self.layers)
        return torch.stack(books) if len(set(self.codebook_sizes)) == 1 else books

    def train(self, mode: bool = True) -> "ResidualVQ":
        """Set the mode; on the way to eval mode, take in what the latest batch taught."""
        if self.training and not mode:
            for level in self.layers:
                _codebook(level).settle()
        return super().train(mode)

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors of each level, (q, b, ..., codebook_dim).

        Args:
            indices: (b, ..., q) with q at most `num_quantizers`; -1, and levels that are left out,
                have the vector zero.

        Raises:
            ShapeError: more levels than there are.
            CodeRangeError: an index out of range that is not -1.
        """
        if not 0 < indices.shape[-1] <= self.num_quantizers:
            text = (
                f"indices must have 1 to {self.num_quantizers} levels in the last axis, got "
                f"{indices.shape[-1]}"
            )
            raise ShapeError(text)
        missing = self.num_quantizers - indices.shape[-1]
        wide = require_codes(indices, indices.ndim)
        codes = nn.functional.pad(wide, (0, missing), value=PADDING)
        dropped = codes == PADDING
        codes = codes.masked_fill(dropped, 0)
        require_range(codes, self.codebook_sizes)
        grid = tuple(codes.shape[:-1])
        each: list[torch.Tensor] = []
        total: torch.Tensor | None = None
        for level, part in enumerate(self.layers):
            rows = codes[..., level].reshape(-1)
            step = after(part, total)
            vectors = step.decode_tokens(rows)
            total = vectors if total is None else total + vectors
            gone = dropped[..., level].reshape(-1, 1)
            each.append(vectors.masked_fill(gone, 0.0).reshape(*grid, self.codebook_dim))
        return torch.stack(each)

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the sum of the vectors of all levels after `project_out`, (b, ..., dim)."""
        total, *rest = self.get_codes_from_indices(indices)
        for vectors in rest:
            total = total + vectors
        return self.project_out(total)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        indices: torch.Tensor | list[torch.Tensor] | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        beam_size: int | None = None,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return vectors as x, indices (b, ..., q), losses (q,), and all vectors if wanted.

        Args:
            x: (b, ..., dim), or channel first.
            mask: bool (b, ...), True where there is a latent.
            indices: (b, ..., q), none of them -1; with them only vectors and the cross entropy of
                these are returned.
            return_all_codes: whether `get_codes_from_indices` is returned too.
            sample_codebook_temp: of codes that are drawn, in place of the constructor's.
            freeze_codebook: whether nothing is learned from this batch.
            beam_size: in place of the constructor's.
            rand_quantize_dropout_fixed_seed: of the random depth.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as `certvq.nn.Residual`; nothing has changed.
            CodeRangeError: `indices` out of range, -1 among them.
            OptionError: an argument out of its range.
        """
        require(
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            beam_size=beam_size,
            rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed,
        )
        whole, kept, grid = self._read(x, mask)
        tokens = self.project_in(whole if kept is None else whole[kept])
        if self.training:
            raise_together(self.residual.token_error(tokens.detach()), tokens.device)

        def back(rows: torch.Tensor) -> torch.Tensor:
            rows = self.project_out(rows).to(x.dtype)
            if kept is not None and not self.return_zeros_for_masked_padding:
                out = whole.index_copy(0, kept, rows)
            else:
                out = among_padding(rows, kept, len(whole), 0)
            out = out.reshape(*grid, out.shape[-1])
            return out.movedim(-1, 1) if self.channel_first and x.ndim > 2 else out

        if indices is not None:
            given = torch.stack(indices) if isinstance(indices, list) else indices
            rows = self._given(given, len(whole))
            total, entropy = self._against(tokens, rows if kept is None else rows[kept])
            return back(total), entropy
        depth = self.depth.draw(rand_quantize_dropout_fixed_seed, x.device, training=self.training)
        total, codes, losses = self._quantize(
            tokens,
            depth,
            beam=self._beam(beam_size),
            temperature=sample_codebook_temp,
            frozen=freeze_codebook,
            samples=None if kept is not None else grid[0],
        )
        every = among_padding(codes, kept, len(whole), PADDING).reshape(*grid, self.num_quantizers)
        result = (back(total), every, losses)
        return (*result, self.get_codes_from_indices(every)) if return_all_codes else result

    @torch.no_grad()
    def batch_error(self, x: torch.Tensor, mask: torch.Tensor | None) -> NonFiniteError | None:
        """Look for what would stop train mode halfway; change nothing.

        Args:
            x: as for `forward`.
            mask: as for `forward`.

        Returns:
            The error, or None.
        """
        whole, kept, _ = self._read(x, mask)
        return self.residual.token_error(self.project_in(whole if kept is None else whole[kept]))

    def _read(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, tuple[int, ...]]:
        """Return all tokens (N, dim), the rows that a mask keeps, and the shape of the codes."""
        require_latents(x)
        last = x.movedim(1, -1) if self.channel_first and x.ndim > 2 else x
        if last.shape[-1] != self.dim:
            text = f"x must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        grid = tuple(last.shape[:-1])
        return last.reshape(-1, self.dim), kept_rows(mask, grid), grid

    def _build(self, sizes: tuple[int, ...], networks: Neural | None) -> list[Quantizer]:
        width = self.codebook_dim
        if self.shared_codebook and (len(set(sizes)) > 1 or networks is not None):
            text = (
                "shared_codebook needs one codebook_size for all levels and no "
                f"implicit_neural_codebook, got sizes {sizes}"
            )
            raise OptionError(text)
        parts: list[Quantizer] = []
        for level, size in enumerate(sizes[:1] if self.shared_codebook else sizes):
            own = self.keywords.build(width, size)
            if self.diveq:
                own.estimator = Unrouted()
            if networks is None or not level:
                parts.append(own)
                continue
            parts.append(
                NeuralCodebook(
                    width,
                    size,
                    neural=networks,
                    update=own.update,
                    commitment_weight=own.commitment_weight,
                    start=own.start,
                    revive=own.revive,
                    estimator=own.estimator,
                )
            )
        return parts

    def _beam(self, size: int | None) -> Beam | None:
        usual = self.beam_size if self.training else self.eval_beam_size
        width = usual if size is None else size
        return None if width is None else Beam(width, weights=self.beam_weights)

    def _quantize(
        self,
        tokens: torch.Tensor,
        depth: int,
        *,
        beam: Beam | None,
        temperature: float | None,
        frozen: bool,
        samples: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the sums (N, D), codes (N, Q) and losses (Q,)."""
        if beam is not None and self.implicit_neural_codebook and beam.width > 1:
            text = "a beam over implicit neural codebooks is not supported; see docs/migration.md"
            raise OptionError(text)
        levels = [level for level in self.layers if isinstance(level, Level)]
        before = [(level.frozen, level.estimator) for level in levels]
        for level in levels:
            level.frozen = level.frozen or frozen
            if temperature is not None:
                level.estimator = self.keywords.estimator(self.codebook_dim, temperature)
        try:
            founds = self.residual.descend(tokens, depth, beam=beam)
        finally:
            for level, (was, estimator) in zip(levels, before, strict=True):
                level.frozen, level.estimator = was, estimator
        losses = tokens.new_zeros(self.num_quantizers, dtype=torch.float32)
        residual, total, terms = tokens, None, []
        share = cast("EachLevel", self.residual.estimator).share
        for part, found in zip(self.layers, founds, strict=False):
            level = part if isinstance(part, VectorQuantize) else None
            if self.training:
                terms.append(self.keywords.loss(level, residual, found, samples=samples))
            elif beam is not None and beam.width > 1:
                terms.append(
                    found.figures["commitment_loss"] * (self.keywords.commitment_weight or 1.0)
                )
            residual = residual - partly_detached(found.vectors, share)
            total = found.vectors if total is None else total + found.vectors
        if terms:
            losses = torch.cat([torch.stack(terms).float(), losses[len(terms) :]])
        codes = founds[0].codes.new_full((len(tokens), self.num_quantizers), PADDING)
        codes[:, :depth] = torch.stack([found.codes for found in founds], dim=1)
        total = cast("torch.Tensor", total)
        if self.diveq and self.training:
            places = torch.arange(len(total), device=total.device)
            total = Reparam().estimate(tokens, total, places, None)
        return total, codes, losses

    def _given(self, indices: torch.Tensor, count: int) -> torch.Tensor:
        """Read the indices that a cross entropy is wanted of, (N, q)."""
        if indices.numel() != count * self.num_quantizers:
            text = (
                f"indices must hold num_quantizers={self.num_quantizers} for each of {count} "
                f"latents, got shape {tuple(indices.shape)}"
            )
            raise ShapeError(text)
        return require_codes(indices, indices.ndim).reshape(count, self.num_quantizers)

    def _against(
        self, tokens: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of given codes, and the sum of the levels' cross entropies."""
        if self.implicit_neural_codebook:
            text = "cross entropies of implicit neural codebooks are not supported"
            raise OptionError(text)
        require_range(codes, self.codebook_sizes)
        residual, terms, total = tokens, [], None
        for level, part in enumerate(self.layers):
            book = cast("VectorQuantize", part)
            own = codes[:, level]
            points = unit_rows(residual) if book.metric == "cosine" else residual
            terms.append(cross_entropy(points, book.code_vectors(), own, book.metric))
            vectors = book.decode_tokens(own)
            residual = residual - vectors.detach()
            total = vectors if total is None else total + vectors
        return cast("torch.Tensor", total), torch.stack(terms).sum()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for level, part in enumerate(self.layers):
            place = 0 if self.shared_codebook else level
            inner = "base." if isinstance(part, NeuralCodebook) else ""
            new = f"{prefix}residual.parts.{place}.{inner}"
            take_layer_state(state_dict, f"{prefix}layers.{level}.", {new: _codebook(part)})
            old = f"{prefix}mlps.{level - 1}."
            for name in [name for name in state_dict if name.startswith(old)]:
                renamed = f"{prefix}residual.parts.{level}.transform.{name.removeprefix(old)}"
                state_dict[renamed] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)


def _codebook(level: Quantizer) -> VectorQuantize:
    return level.base if isinstance(level, NeuralCodebook) else cast("VectorQuantize", level)


def _sizes(codebook_size: int | tuple[int, ...], levels: int | None) -> tuple[int, ...]:
    if isinstance(codebook_size, int):
        if levels is None:
            text = f"num_quantizers must be at least 1 for one codebook_size, got {levels}"
            raise OptionError(text)
        return (codebook_size,) * levels
    if not codebook_size or levels not in (None, len(codebook_size)):
        text = (
            f"codebook_size must be one for each of num_quantizers={levels} levels, got "
            f"{codebook_size}"
        )
        raise OptionError(text)
    return tuple(codebook_size)


def _network(mlp_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    given = dict(mlp_kwargs or {})
    unknown = given.keys() - _MLP
    if unknown:
        text = f"mlp_kwargs may hold {sorted(_MLP)}, got {sorted(unknown)}"
        raise OptionError(text)
    require(**given)
    return {"depth": given.get("depth", 4), "hidden": given.get("dim_hidden"), "skip": False}


def _keywords(given: dict[str, Any], *, diveq: bool, neural: bool) -> LevelKeywords:
    """Read the keywords of the levels, and set those that others imply."""
    keywords = dict(given)
    if neural:
        if keywords.get("use_cosine_sim"):
            text = "implicit_neural_codebook with use_cosine_sim is not supported"
            raise OptionError(text)
        keywords.update(learnable_codebook=True, ema_update=False)
    if diveq:
        keywords.update(ema_update=False, learnable_codebook=True, commitment_weight=0.0)
        keywords.update(route_gradients_to_input=False)
    read = LevelKeywords.read(keywords)
    if neural and (read.frozen or read.stochastic_sample_codes or read.affine_param):
        text = (
            "implicit_neural_codebook goes with neither freeze_codebook, stochastic_sample_codes "
            "nor affine_param; see docs/migration.md"
        )
        raise OptionError(text)
    return read
