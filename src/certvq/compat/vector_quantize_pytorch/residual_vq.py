"""The original's `ResidualVQ` and `GroupedResidualVQ`.

In: latents (b, ..., d), or channel first. Out: sums of code vectors, indices and losses of all
levels. Must not search by itself.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked, require
from certvq.compat.vector_quantize_pytorch._codebook import (
    CodebookView,
    code_vectors_given,
    take_layer_state,
)
from certvq.compat.vector_quantize_pytorch._layer import (
    Call,
    Layer,
    asked,
    estimated,
    with_gradient,
)
from certvq.compat.vector_quantize_pytorch._levels import Groups, Levels
from certvq.compat.vector_quantize_pytorch._module import rename
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._tensors import (
    Given,
    among_latents,
    as_returned,
    grid_of_latents,
    mapped_back,
    of_levels,
    require_one_layout,
    through,
    wide_type,
)
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import VectorQuantize
from certvq.errors import OptionError, ShapeError
from certvq.nn import (
    PADDING,
    Beam,
    EachLevel,
    Estimator,
    Found,
    Neural,
    NeuralCodebook,
    Quantizer,
    Reparam,
    Residual,
)
from certvq.nn._core.codes import require_range
from certvq.nn._core.latents import among_padding, kept_rows, require_finite_latents
from certvq.nn._core.uncompiled import refuse_graphs, refuse_transforms
from certvq.nn._levels.residual import add_up, after
from certvq.nn._torch.distributed import peers_of, raise_together
from certvq.nn._torch.modes import exporting, transforming

__getattr__ = names_of(__name__)


class _Unrouted(Estimator):
    """Code vectors without a gradient for the latents (``route_gradients_to_input=False``)."""

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors with the codebook's gradient alone."""
        del latents, generator
        return nn.functional.embedding(codes, codebook)


class NeuralLevel(NeuralCodebook):
    """A level whose network adapts the codebook of a `Layer`.

    Args:
        base: what holds the codebook.
        neural: the network.
        shared: whether the codebook is that of an earlier level, which lets it learn.
    """

    base: Layer

    def __init__(self, base: Layer, neural: Neural, *, shared: bool) -> None:
        super().__init__(base.dim, base.codebook_size, neural=neural, update=base.update)
        self.base = base
        self.learns = not shared

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView([self.base])


class ResidualVQ(Levels):
    """Quantize by one codebook what the codebooks before it left over.

    Keywords that are not explained here mean what they mean in the original.

    Args:
        dim: size of the feature axis.
        num_quantizers: number of levels; may be left out where `codebook_size` is a tuple.
        codebook_size: number of codes of each level, or a tuple of one for each.
        heads: 1; more are refused, as by the original.
        vq_kwargs: keywords of `VectorQuantize`.

    Attributes:
        residual: the `certvq.nn.Residual` that does the work.

    Guarantee: that of `certvq.nn.Residual`.
    """

    fixed = Levels.fixed | {"accept_image_fmap", "shared_codebook"}
    learns = True

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
        if heads != 1:
            text = f"ResidualVQ has one head, got heads={heads}; see docs/migration.md"
            raise OptionError(text)
        super().__init__(
            dim,
            dim if codebook_dim is None else codebook_dim,
            _sizes(codebook_size, num_quantizers),
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.options = self._read_options(vq_kwargs, diveq=diveq, neural=implicit_neural_codebook)
        require_one_layout(
            accept_image_fmap=accept_image_fmap, accept_3d_fmap=self.options.accept_3d_fmap
        )
        self.shared_codebook = shared_codebook
        self.implicit_neural_codebook = implicit_neural_codebook
        self.diveq = diveq
        self.accept_image_fmap = accept_image_fmap
        self.channel_first = (
            accept_image_fmap or self.options.accept_3d_fmap or not self.options.channel_last
        )
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        if eval_beam_size is not None and beam_size is None:
            text = f"eval_beam_size={eval_beam_size} needs beam_size"
            raise OptionError(text)
        self.beam_size = beam_size
        self.eval_beam_size = beam_size if eval_beam_size is None else eval_beam_size
        ones, weights = (1.0,) * self.num_quantizers, beam_score_quantizer_weights
        self.beam_weights = ones if weights is None else tuple(map(float, weights))
        if len(self.beam_weights) != self.num_quantizers:
            text = (
                f"beam_score_quantizer_weights must be one for each of {self.num_quantizers} "
                f"levels, got {len(self.beam_weights)}"
            )
            raise OptionError(text)
        self.add_module("vq_bridge", self.options.vq_bridge)
        networks = _networks(mlp_kwargs) if implicit_neural_codebook else None
        self.residual = Residual(
            self._parts(networks),
            num_quantizers=self.num_quantizers,
            estimator=EachLevel(1.0 if diveq else quant_grad_frac),
        )

    @property
    def quant_grad_frac(self) -> float:
        """Share of each level's gradient that reaches the levels after it."""
        return cast("EachLevel", self.residual.estimator).share

    @property
    def layers(self) -> tuple[Quantizer, ...]:
        """The quantizer of each level, with the latest training batch taken in."""
        for layer in self._books():
            layer.settle_for_readers()
        return self.residual.quantizers

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
        """Read code vectors for each level, without a change."""
        given = list(vectors) if isinstance(vectors, torch.Tensor | list | tuple) else []
        if len(given) != self.num_quantizers:
            text = (
                f"codebooks must be code vectors of each of {self.num_quantizers} levels, got "
                f"{len(given) if given else type(vectors).__name__}"
            )
            raise ShapeError(text)
        books = [
            code_vectors_given(own, layer.codebook, f"codebooks[{place}]")
            for place, (layer, own) in enumerate(zip(self._books(), given, strict=True))
        ]
        if self.shared_codebook and any(not torch.equal(books[0], own) for own in books[1:]):
            text = "codebooks of levels that share one must be equal, got different ones"
            raise OptionError(text)
        return books

    def give(self, books: Sequence[torch.Tensor]) -> None:
        """Let every level go on from code vectors as `readable` returns them."""
        for layer, own in zip(self._books(), books, strict=True):
            layer.give(own)

    @property
    def uniform_codebook_size(self) -> bool:
        """Whether all levels have as many codes."""
        return len(set(self.codebook_sizes)) == 1

    @property
    def vq_is_ema_updating(self) -> bool:
        """Whether the codebooks are moving averages."""
        return self.options.averages

    @property
    def beam_score_weights(self) -> torch.Tensor:
        """Weights of the levels' errors in a beam, (q,)."""
        return torch.tensor(self.beam_weights, device=self._books()[0].codebook.device)

    @property
    def mlps(self) -> tuple[nn.Module | None, ...]:
        """The networks of all levels but the first; None where there is none."""
        levels = self.residual.quantizers[1:]
        return tuple(
            level.transform if isinstance(level, NeuralLevel) else None for level in levels
        )

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        indices: Given | None = None,
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
            indices: (b, ..., q), or a list of (b, ...) for each level, none of them -1; with them
                only vectors and the cross entropy of these are returned.
            return_all_codes: whether `get_codes_from_indices` is returned too.
            sample_codebook_temp: of codes that are drawn, in place of the constructor's.
            freeze_codebook: whether nothing is learned from this batch.
            beam_size: in place of the constructor's.
            rand_quantize_dropout_fixed_seed: of the random depth.
        """
        require(
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            beam_size=beam_size,
            rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed,
        )
        grid = grid_of_latents(x, first=self.channel_first)
        whole, shape = grid.tokens(x, self.dim), grid.of(x)
        kept = kept_rows(mask, shape, x.device)
        tokens = through(self.project_in, whole if kept is None else whole[kept])
        wanted = None
        if indices is not None:
            wanted = as_returned(of_levels(indices), shape, (self.num_quantizers,))
            wanted = require_range(wanted if kept is None else wanted[kept], self.codebook_sizes)
        beam = self._beam(beam_size, given=wanted is not None)
        call = Call(
            frozen=self.options.freeze_codebook or freeze_codebook or wanted is not None,
            temperature=sample_codebook_temp,
            against=wanted is not None,
            grid=(shape[0], math.prod(shape[1:])) if kept is None else None,
            commits=beam is not None and beam.width > 1,
        )

        def step() -> tuple[torch.Tensor, ...]:
            nonlocal tokens
            if self.training:
                tokens = self._refused(tokens)
            elif wanted is not None:
                tokens = require_finite_latents(tokens)
            depth = self.num_quantizers
            if wanted is None:
                peers = () if call.frozen else peers_of(self.residual)
                depth = self.draw_depth(rand_quantize_dropout_fixed_seed, x.device, peers=peers)
            founds = self.residual.descend(tokens, depth, beam=beam, codes=wanted)
            total = add_up(founds)
            if self.diveq and self.training:
                total = estimated(Reparam(), tokens, total)
            out = mapped_back(self.project_out, total, x.dtype)
            if self.return_zeros_for_masked_padding:
                out = among_padding(out, kept, whole.shape[0], 0)
            else:
                out = among_latents(out, kept, whole)
            out = grid.restore(out, shape)
            if wanted is not None:
                return out, self._entropy(founds)
            codes = torch.stack([found.codes for found in founds], dim=1)
            codes = nn.functional.pad(codes, (0, self.num_quantizers - depth), value=PADDING)
            codes = among_padding(codes, kept, whole.shape[0], PADDING)
            codes = codes.reshape(*shape, self.num_quantizers)
            result = (out, codes, self._losses(tokens, founds))
            return (*result, self.get_codes_from_indices(codes)) if return_all_codes else result

        layers = list(dict.fromkeys(self._books()))
        calls = [call] * len(layers)
        return self._whole(tokens, lambda: asked(layers, calls, step))

    def level_vectors(
        self, level: int, places: torch.Tensor, total: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the code vectors of a level; see `Levels`."""
        return after(self.residual.quantizers[level], total).decode_tokens(places)

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Translated`."""
        for level, part in enumerate(self.residual.quantizers):
            neural = isinstance(part, NeuralLevel)
            place = 0 if self.shared_codebook and not neural else level
            inner = "base." if neural else ""
            new = f"{prefix}residual.parts.{place}.{inner}"
            take_layer_state(state_dict, f"{prefix}layers.{level}.", {new: codebook_of(part)})
            network = f"{prefix}residual.parts.{level}.transform."
            rename(state_dict, f"{prefix}mlps.{level - 1}.", network)
            bridge = f"{prefix}layers.{level}._codebook.vq_bridge."
            rename(state_dict, bridge, f"{prefix}vq_bridge.")

    def _books(self) -> list[Layer]:
        return [codebook_of(level) for level in self.residual.quantizers]

    def _shares(self) -> bool:
        return self.shared_codebook

    def _read_options(self, given: dict[str, Any], *, diveq: bool, neural: bool) -> Options:
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
        options = Options.read(keywords, VectorQuantize.keywords, dim=self.codebook_dim)
        if neural and (
            options.freeze_codebook or options.stochastic_sample_codes or options.affine_param
        ):
            text = (
                "implicit_neural_codebook goes with neither freeze_codebook, "
                "stochastic_sample_codes nor affine_param; see docs/migration.md"
            )
            raise OptionError(text)
        return options

    def _parts(self, networks: Neural | None) -> list[Quantizer]:
        """Make the quantizers of the levels, or the one that all share."""
        sizes = self.codebook_sizes
        if self.shared_codebook and not self.uniform_codebook_size:
            text = f"shared_codebook needs one codebook_size for all levels, got sizes {sizes}"
            raise OptionError(text)
        count = 1 if self.shared_codebook else len(sizes)
        bases = [Layer(self.codebook_dim, size, self.options) for size in sizes[:count]]
        if networks is None:
            return list(bases)
        if not self.options.route_gradients_to_input:
            for base in bases:
                base.estimator = _Unrouted()
        every = bases * len(sizes) if self.shared_codebook else bases
        shared = self.shared_codebook
        return [every[0], *(NeuralLevel(base, networks, shared=shared) for base in every[1:])]

    def _beam(self, size: int | None, *, given: bool) -> Beam | None:
        usual = self.beam_size if self.training else self.eval_beam_size
        width = usual if size is None else size
        if self.implicit_neural_codebook and (given or (width or 1) > 1):
            what = "cross entropies of" if given else "a beam over"
            text = f"{what} implicit neural codebooks is not supported; see docs/migration.md"
            raise OptionError(text)
        return None if width is None or given else Beam(width, weights=self.beam_weights)

    def _refused(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens to learn from; raise what is wrong with them, here or elsewhere."""
        if transforming():
            refuse_transforms(self)
        if exporting():
            refuse_graphs(self)
            return require_finite_latents(tokens)
        raise_together(self, self.residual.token_error(tokens.detach()), tokens.device)
        return tokens

    def _losses(self, tokens: torch.Tensor, founds: list[Found]) -> torch.Tensor:
        losses = [
            # one term there, two of one weight here: the same gradients, half the value
            found.loss - level.base.commitment_weight * found.figures["commitment_loss"]
            if isinstance(level, NeuralLevel)
            else found.loss
            for level, found in zip(self.residual.quantizers, founds, strict=False)
        ]
        if not self.training and self.implicit_neural_codebook:
            losses = [torch.zeros_like(loss) for loss in losses]
        depth = len(losses)
        missing = tokens.new_zeros(self.num_quantizers - depth, dtype=wide_type(tokens))
        whole = torch.cat([torch.stack(losses).to(missing.dtype), missing])
        return with_gradient(whole) if self.training else whole

    def _entropy(self, founds: list[Found]) -> torch.Tensor:
        return torch.stack(
            [found.loss / found.figures["given"].clamp(min=1) for found in founds]
        ).sum()


def codebook_of(level: Quantizer) -> Layer:
    """Return the layer that holds the codebook of a level."""
    return cast("Layer", level.base if isinstance(level, NeuralLevel) else level)


def _sizes(codebook_size: int | tuple[int, ...], levels: int | None) -> tuple[int, ...]:
    """Return the number of codes of each level."""
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


def _networks(mlp_kwargs: dict[str, Any] | None) -> Neural:
    """Return the shape of the networks that adapt codebooks."""
    given = dict(mlp_kwargs or {})
    unknown = given.keys() - {"dim_hidden", "depth"}
    if unknown:
        text = f"mlp_kwargs may hold ['depth', 'dim_hidden'], got {sorted(unknown)}"
        raise OptionError(text)
    require(**given)
    return Neural(depth=given.get("depth", 4), hidden=given.get("dim_hidden"), skip=False)


class GroupedResidualVQ(Groups):
    """Cut the features into groups, each with a `ResidualVQ` of its own; see `Groups`.

    Guarantee: that of `ResidualVQ` in each group.
    """

    part = ResidualVQ

    def options_of(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Let the parts know the layout; see `Groups`."""
        return {**kwargs, "accept_image_fmap": self.accept_image_fmap}

    @Groups.codebooks.setter
    def codebooks(self, vectors: torch.Tensor | Sequence[torch.Tensor]) -> None:
        """Let every group go on from code vectors of its own; see `ResidualVQ`."""
        given = list(vectors) if isinstance(vectors, torch.Tensor | list | tuple) else []
        if len(given) != self.groups:
            got = len(given) if given else type(vectors).__name__
            text = f"codebooks must be those of each of {self.groups} groups, got {got}"
            raise ShapeError(text)
        pairs = list(zip(self.parts, given, strict=True))
        for part, books in [(part, part.readable(own)) for part, own in pairs]:
            part.give(books)

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self.parts[0].channel_first else -1

    def forward(
        self,
        x: torch.Tensor,
        indices: Given | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        mask: torch.Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return vectors as x, indices (groups, b, ..., q), losses (groups, q), and all vectors.

        Args:
            x: (b, ..., dim), or channel first.
            indices: (groups, b, ..., q), or a list of (groups, b, ...) for each level or of
                (b, ..., q) for each group; with them only vectors and a cross entropy are returned.
            return_all_codes: whether a tuple of all groups' vectors is returned too.
            sample_codebook_temp: of codes that are drawn.
            freeze_codebook: whether nothing is learned from this batch.
            mask: bool (b, ...), True where there is a latent.
        """
        each = () if indices is None else [{"indices": own} for own in self.each_group(indices)]
        return self.quantize(
            x,
            each,
            mask=mask,
            return_all_codes=return_all_codes,
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
        )
