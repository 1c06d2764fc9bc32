"""Quantizers one after the other, each for what the ones before it left over.

In: tokens. Out: for each token one code of every level, and the sum of their vectors. Every level
is found by its own part. Must not search for codes.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import Sizes, require_integers, require_range, spread_sizes
from certvq.nn._core.latents import PADDING, LayoutName, largest_of
from certvq.nn._core.losses import mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer, require_distinct
from certvq.nn._estimators.each_level import EachLevel, partly_detached
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._estimators.exchange import exchange
from certvq.nn._estimators.gumbel import Gumbel
from certvq.nn._levels.beam import Beam, require_beam, search
from certvq.nn._levels.level_dropout import LevelDropout, require_min_levels
from certvq.nn._torch.distributed import any_process, peers_of, raise_together
from certvq.nn._torch.modes import holds_numbers, sizes, transforming
from certvq.nn._torch.transaction import all_or_nothing
from certvq.nn._vector.neural_codebook import NeuralCodebook
from certvq.nn._vector.vector_quantize import VectorQuantize

_STRAIGHT = StraightThrough()

_SAFE = 2.0**40


@checked
class Residual(Quantizer):
    """Quantize latents, then what is left over, and so on.

    Mathematics: ``r_0 = z``, ``v_l`` = the vector of level l for ``r_l``, ``r_(l+1) = r_l - v_l``,
    ``quantized = (v_0 + v_1) + ... + v_(Q-1)``, ``loss`` = sum of the levels' losses.

    Args:
        parts: the quantizers of the levels, of one dim and code shape; their layouts play no role.
            A part may itself be a product, so that codes have more axes.
        num_quantizers: Q, how many levels; None is one level for each part. With another number
            `parts` holds one quantizer, which serves all levels: it learns once in a forward pass,
            from the tokens of all levels together.
        dropout: how many levels are used in train mode, or None for all.
        beam: a search over levels that are all `VectorQuantize`, or None for the greedy choice.
        estimator: an `Estimator`, applied once to the sum in train mode, or `EachLevel`, which
            leaves it to the parts. With an `Estimator` no gradient reaches the parts through their
            vectors, only through their losses.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the random depth and of what the estimator draws.

    Attributes:
        parts: the different quantizers, as an ``nn.ModuleList``.
        latest: for each level used, its part's figures as ``level0/...``; ``depth``, how many
            levels were used; ``commitment_loss``, the mean squared error of the sum.

    Raises:
        OptionError: an option out of its range, or parts that do not fit together.

    Guarantee: without a beam each level's code has its part's guarantee for the residual as
    computed, that is, after the rounding of each subtraction; with one, see `Beam`. The codes of
    all levels together need not be the best ones. Over the real numbers the latents are the sum of
    the vectors and the last residual (``residual_telescopes``). ``quantized == decode(codes)`` bit
    for bit, in train and eval mode, where the parts and the estimator keep that. Levels that were
    dropped have the code `PADDING`, which `decode` takes in the last levels for "not coded"; codes
    with fewer levels (``codes[..., :q]``) are decoded likewise. If a level meets numbers that it
    cannot learn from, no level has learned anything.
    Ties: those of the parts.

    Example:
        >>> from certvq.nn import VectorQuantize
        >>> layer = Residual([VectorQuantize(2, 3), VectorQuantize(2, 5)]).eval()
        >>> quantized, codes, loss = layer(torch.zeros(1, 4, 2))
        >>> codes.shape
        torch.Size([1, 4, 2])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Juang and Gray, "Multiple stage vector quantization for speech coding", 1982; Zeghidour et
        al., "SoundStream: An End-to-End Neural Audio Codec", 2021, algorithm 1.
    """

    def __init__(
        self,
        parts: Sequence[Quantizer],
        *,
        num_quantizers: int | None = None,
        dropout: LevelDropout | None = None,
        beam: Beam | None = None,
        estimator: Estimator | EachLevel = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        count = _require_parts(parts, num_quantizers)
        require_min_levels(dropout, count)
        super().__init__(parts[0].dim, layout=layout, code_shape=(count, *parts[0].code_shape))
        self.parts = nn.ModuleList(parts)
        self.shared = len(parts) != count
        require_beam(beam, self.quantizers)
        if isinstance(estimator, Gumbel):
            text = "Gumbel chooses codes, so it is an estimator of the levels; use EachLevel here"
            raise OptionError(text)
        self.dropout = dropout
        self.beam = beam
        self.estimator = estimator
        self.draw_from(generator)

    @property
    def quantizers(self) -> tuple[Quantizer, ...]:
        """The part of each level."""
        parts = cast("tuple[Quantizer, ...]", tuple(self.parts))
        return parts * self.code_shape[0] if self.shared else parts

    @property
    def codebook_size(self) -> Sizes:
        """K of the parts; a tuple where it differs between levels."""
        sizes = [part.codebook_size for part in self.quantizers]
        return spread_sizes(sizes, self.code_shape[1:])

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Levels, and what the parts have; see `Quantizer`."""
        return ("level", *self.quantizers[0].code_axes)

    @property
    def shares_codebook(self) -> bool:
        """Whether one quantizer serves all levels, and its codes look up one codebook."""
        part = self.quantizers[0]
        return self.shared and (not part.code_shape or part.shares_codebook)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize with all levels, or in train mode with as many as `dropout` says."""
        depth = len(self.quantizers)
        if self.training and self.dropout is not None:
            depth = self.dropout.depth(depth, self.generator, tokens.device, peers=peers_of(self))
        return self.quantize_levels(tokens, depth)

    def quantize_levels(self, tokens: torch.Tensor, depth: int) -> Found:
        """Quantize with the first levels only; see `Quantizer.quantize_tokens`.

        Args:
            tokens: (N, D).
            depth: how many levels are used, in ``range(1, Q + 1)``.
        """
        founds = self.descend(tokens, depth, beam=self.beam)
        codes = torch.stack([found.codes for found in founds], dim=1)
        if depth < len(self.quantizers):
            shape = tokens.shape[0], len(self.quantizers) - depth, *self.code_shape[1:]
            codes = torch.cat([codes, codes.new_full(shape, PADDING)], dim=1)
        vectors = self._sum(tokens, [found.vectors for found in founds], codes)
        figures = {
            f"level{level}/{name}": value
            for level, found in enumerate(founds)
            for name, value in found.figures.items()
        }
        figures["depth"] = torch.tensor(float(depth))
        figures["commitment_loss"] = mean_square(tokens.detach(), vectors.detach())
        losses = [found.loss for found in founds]
        return Found(vectors, codes, torch.stack(losses).sum(), figures)

    def descend(
        self,
        tokens: torch.Tensor,
        depth: int,
        *,
        beam: Beam | None = None,
        codes: torch.Tensor | None = None,
    ) -> list[Found]:
        """Return what each of the first levels finds; in train mode, let them learn.

        Args:
            tokens: (N, D).
            depth: how many levels are used.
            beam: how the levels are searched together, or None for the greedy choice.
            codes: int64 (N, depth) of levels that are all `VectorQuantize`, in place of a search.
        """
        return all_or_nothing(self, tokens, lambda: self._descend(tokens, depth, beam, codes))

    def _descend(
        self, tokens: torch.Tensor, depth: int, beam: Beam | None, codes: torch.Tensor | None
    ) -> list[Found]:
        estimator, latents = self.estimator, tokens.detach()
        risky = self._may_overflow(latents, depth)
        if self.training and self.shared:
            self._learn_shared(latents, depth)
        chosen = self._search(latents, depth, beam, risky=risky) if codes is None else codes

        def step(level: int, residual: torch.Tensor, total: torch.Tensor | None) -> Found:
            part = self.quantizers[level]
            if risky and level:
                self._ask(part, residual.detach(), f"level {level} of {depth}")
            if isinstance(part, VectorQuantize) and chosen is not None:
                return part.choose_tokens(residual, codes=chosen[:, level])
            if self.shared:
                return part.choose_tokens(residual)
            return after(part, total).quantize_tokens(residual)

        if isinstance(estimator, EachLevel):
            return descend(tokens, depth, step, share=estimator.share)
        return descend(tokens, depth, step, each=False)

    @property
    def steady(self) -> bool:
        """Whether no depth is drawn, nor anything by the estimator, and all levels are steady."""
        plain = isinstance(self.estimator, StraightThrough | EachLevel)
        levels = all(part.steady for part in cast("tuple[Quantizer, ...]", tuple(self.parts)))
        return plain and self.dropout is None and levels

    def reach(self, largest: float) -> float:
        """Add up the levels' bounds; see `Quantizer`."""
        return sum(self._reaches(largest, self.quantizers))

    @staticmethod
    def _reaches(largest: float, levels: Sequence[Quantizer]) -> list[float]:
        """Bound the vectors of each level."""
        reaches: list[float] = []
        for part in levels:
            reaches.append(part.reach(largest))
            largest += reaches[-1]
        return reaches

    def _may_overflow(self, latents: torch.Tensor, depth: int) -> bool:
        """Say whether later levels have to be asked about what they are given.

        Up to 2^40 the sums of squares of 2^40 numbers are finite in float32. Compiled programs do
        not look.
        """
        if not holds_numbers(latents) or not self.training or depth < 2:
            return False
        largest = largest_of([latents])
        far = largest + sum(self._reaches(largest, self.quantizers[:depth])) <= _SAFE
        return any_process(self, not far, latents.device)

    def _ask(self, part: Quantizer, residual: torch.Tensor, name: str) -> None:
        error = part.token_error(residual)
        named = None if error is None else NonFiniteError(f"{name}: {error}")
        raise_together(self, named, residual.device)

    def _search(
        self, latents: torch.Tensor, depth: int, beam: Beam | None, *, risky: bool
    ) -> torch.Tensor | None:
        """Choose the codes of the first levels together, where a beam says so."""
        width = 1 if beam is None else beam.width_in(training=self.training)
        if beam is None or width == 1:
            return None
        levels = cast("tuple[VectorQuantize, ...]", self.quantizers[:depth])

        def learn(level: int, residuals: torch.Tensor) -> None:
            if not self.training or self.shared:
                return
            if risky and level:
                self._ask(levels[level], residuals, f"level {level} of {depth}")
            levels[level].learn_tokens(residuals)

        return search(latents, levels, beam, width=width, learn=learn)

    def _learn_shared(self, latents: torch.Tensor, depth: int) -> None:
        self.quantizers[0].learn_tokens(latents, candidates=lambda: self._residuals(latents, depth))

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of all levels; see `Quantizer`."""
        if self.beam is not None and self.beam.width > 1 and len(tokens):
            levels = cast("tuple[VectorQuantize, ...]", self.quantizers)
            return search(tokens, levels, self.beam, width=self.beam.width)
        residual, total = tokens, None
        codes: list[torch.Tensor] = []
        for part in self.quantizers:
            step = after(part, total)
            codes.append(step.encode_tokens(residual))
            vectors = step.decode_tokens(codes[-1])
            residual = residual - vectors
            total = vectors if total is None else total + vectors
        return torch.stack(codes, dim=1)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Add the vectors of the levels, in their order; see `Quantizer`."""
        parts = self.quantizers
        total = parts[0].decode_tokens(codes[:, 0])
        for level, part in enumerate(parts[1:], start=1):
            dropped = (codes[:, level] == PADDING).unsqueeze(1).flatten(1).any(dim=1)
            if holds_numbers(codes) and not transforming() and bool(dropped.all()):
                break
            vectors = after(part, total).decode_tokens(codes[:, level].clamp(min=0))
            total = torch.where(dropped[:, None], total, total + vectors)
        return total

    def complete_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Fill levels that are left out at the end with `PADDING`; see `Quantizer`."""
        require_integers(codes)
        axis = codes.ndim - len(self.code_shape)
        if axis < 0 or not 0 < sizes(codes)[axis] < self.code_shape[0]:
            return codes
        shape = list(codes.shape)
        shape[axis] = self.code_shape[0] - shape[axis]
        padding = torch.full(shape, PADDING, device=codes.device)
        return torch.cat([codes.long(), padding], dim=axis)

    def require_coded(self, codes: torch.Tensor) -> torch.Tensor:
        """Refuse codes out of range, and `PADDING` anywhere but in the last levels."""
        axis = codes.ndim - len(self.code_shape)
        padded = codes == PADDING
        for place in range(axis + 1, codes.ndim):
            padded = padded.all(dim=place, keepdim=True)
        coded_later = (~padded).long().flip(axis).cumsum(axis).flip(axis) > 0
        levels = torch.arange(self.code_shape[0], device=codes.device)
        later = levels.reshape(-1, *(1 for _ in self.code_shape[1:])) > 0
        dropped = (~coded_later & later).expand(codes.shape)
        coded = require_range(codes.masked_fill(dropped, 0), self.codebook_size)
        return torch.where(dropped, codes, coded)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Ask all parts; see `Quantizer`. Later levels are asked about their codebooks only."""
        error = self.quantizers[0].token_error(tokens)
        for part in self.quantizers[1:] if not self.shared else ():
            error = error or part.token_error(tokens[:0])
        return error

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, num_quantizers={self.code_shape[0]}, shared={self.shared}, "
            f"dropout={self.dropout}, estimator={self.estimator}, layout={self._layout.name!r}"
        )

    @torch.no_grad()
    def _residuals(self, tokens: torch.Tensor, depth: int) -> torch.Tensor:
        """Return what all levels are given, (depth N, D), without learning anything."""
        residuals = [tokens]
        for part in self.quantizers[: depth - 1]:
            vectors = part.decode_tokens(part.encode_tokens(residuals[-1]))
            residuals.append(residuals[-1] - vectors)
        return torch.cat([residual.to(residuals[-1].dtype) for residual in residuals])

    def _sum(
        self, tokens: torch.Tensor, vectors: list[torch.Tensor], codes: torch.Tensor
    ) -> torch.Tensor:
        estimator = self.estimator
        each = isinstance(estimator, EachLevel)
        total = vectors[0] if each else vectors[0].detach()
        for found in vectors[1:]:
            total = total + (found if each else found.detach())
        if isinstance(estimator, EachLevel):
            return total
        if not self.training:
            estimator = _STRAIGHT
        elif not estimator.exact:
            total = self.decode_tokens(codes)  # with its graph, from which code vectors may learn
        if type(estimator) is StraightThrough:  # every row has its own vector: nothing to look up
            return exchange(tokens, total.detach())
        places = torch.arange(total.shape[0], device=total.device)
        return estimator.estimate(tokens, total, places, self.generator)


def descend(
    tokens: torch.Tensor,
    depth: int,
    step: Callable[[int, torch.Tensor, torch.Tensor | None], Found],
    *,
    share: float = 0.0,
    each: bool = True,
) -> list[Found]:
    """Give each level what the levels before it left over.

    Args:
        tokens: (N, D).
        depth: how many levels are used.
        step: what a level finds, by its place, for a residual (N, D), where the vectors of the
            levels before it have a sum (N, D), or None.
        share: share of each level's gradient that reaches the residuals after it.
        each: whether the sums of the vectors that levels are given have a gradient.
    """
    residual, total = tokens, None
    founds: list[Found] = []
    for level in range(depth):
        found = step(level, residual, total)
        passed = partly_detached(found.vectors, share) if share else found.vectors.detach()
        residual = residual - passed
        vectors = found.vectors if each else found.vectors.detach()
        total = vectors if total is None else total + vectors
        founds.append(found)
    return founds


def add_up(founds: Sequence[Found]) -> torch.Tensor:
    """Add the vectors of levels in their order, as decoding does."""
    total = founds[0].vectors
    for found in founds[1:]:
        total = total + found.vectors
    return total


def after(part: Quantizer, total: torch.Tensor | None) -> Any:
    """Return the part for tokens whose earlier levels' vectors have a sum, if that matters."""
    if isinstance(part, NeuralCodebook) and total is not None:
        return part.after(total)
    return part


def _require_parts(parts: Sequence[Quantizer], num_quantizers: int | None) -> int:
    if not parts:
        text = "Residual needs at least one part, got none"
        raise OptionError(text)
    count = len(parts) if num_quantizers is None else num_quantizers
    if count < 1 or len(parts) not in (1, count):
        text = (
            f"num_quantizers must be at least 1 and parts one, or one for each level; got "
            f"{len(parts)} parts and num_quantizers={count}"
        )
        raise OptionError(text)
    require_distinct(parts)
    if len(parts) != count and isinstance(parts[0], NeuralCodebook):
        text = "a NeuralCodebook cannot be shared by levels; give each level its own"
        raise OptionError(text)
    for level, part in enumerate(parts):
        if (part.dim, part.code_shape) != (parts[0].dim, parts[0].code_shape):
            text = (
                f"all parts must have the dim and code shape of the first one, {parts[0].dim} and "
                f"{parts[0].code_shape}; part {level} has {part.dim} and {part.code_shape}"
            )
            raise OptionError(text)
    return count
