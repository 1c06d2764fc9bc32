"""The vector quantizer as a layer.

In: latents of any layout. Out: code vectors, their indices and the loss that trains encoder and
codebook. Codes come from `certvq.assign` alone. Must not know of images or models.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional

from certvq.assign import Assignment, DecidedBy, Ranking, assign, rank
from certvq.errors import NonFiniteError, OptionError
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans, cluster
from certvq.nn._codebook.revive import Revive, dead_codes, pick_tokens
from certvq.nn._codebook.statistics import RunningStatistics
from certvq.nn._codebook.uniform import Uniform, uniform_codebook
from certvq.nn._core.batch import check_batch
from certvq.nn._core.distributed import copy_from_first, is_first
from certvq.nn._core.losses import mean_square
from certvq.nn._core.operators import assign_operator
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._estimators.estimator import Estimator
from certvq.nn._estimators.straight_through import StraightThrough, straight_through

Update: TypeAlias = EMA | Gradient
Start: TypeAlias = KMeans | Uniform

_AVERAGE, _CLUSTER, _REVIVE, _STRAIGHT = EMA(), KMeans(), Revive(), StraightThrough()

_USAGE_DECAY = 0.99
"""Decay of the running counts where no `EMA` option gives one."""

_REVIVED_SHARE = 0.5
"""Running count of a revived code, in units of the mean count."""


class VectorQuantize(Quantizer):
    """Replace each latent by the provably nearest code vector.

    Mathematics: ``quantized = c_i`` with ``i = min { i : for all j, |z - c_i| <= |z - c_j| }``,
    ``loss = codebook_loss (with Gradient only) + commitment_weight * commitment_loss``,
    ``codebook_loss = mse(sg[z], c_i)``, ``commitment_loss = mse(z, sg[c_i])``; straight through,
    the gradient of `quantized` goes to the latents unchanged.

    In training the codebook changes at the beginning of a forward pass and never after it: the
    batch is validated, the statistics of the previous batch are taken in (or the codebook is
    started from this one), dead codes are revived, and then codes are assigned. In eval mode
    nothing changes, ever.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, >= 1.
        commitment_weight: beta, finite and >= 0.
        update: how the codebook learns, `EMA` or `Gradient`.
        start: where it starts, `KMeans` of the first training batch or `Uniform`.
        revive: when codes are replaced, or None for never.
        estimator: how the gradient reaches the latents in train mode.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``.
        generator: source of every random choice; None is torch's default generator. Its state is
            not part of the layer's state.

    Attributes:
        codebook: (K, D), an ``nn.Parameter`` with `Gradient` and a buffer with `EMA`, in torch's
            default type of number unless the module is converted.
        latest: what `metrics` reports, as scalar tensors on the latents' device.

    Raises:
        OptionError: an option out of its range.

    Guarantee: that of `certvq.assign` for every code, also under autocast: latents of another type
    of number than the codebook are taken as they are. ``quantized == decode(codes)`` bit for bit,
    in train and eval mode. With several processes (`torch.distributed`) the codebook is the same on
    all of them.
    Ties: the lowest index.

    Example:
        >>> layer = VectorQuantize(2, 3, start=Uniform()).eval()
        >>> _ = layer.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]]))
        >>> quantized, codes, loss = layer(torch.tensor([[[1.0, -0.5], [0.9, 0.8]]]))
        >>> codes
        tensor([[0, 1]])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        equations 1 to 3 and appendix A.1.
    """

    codebook: torch.Tensor
    started: torch.Tensor

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        commitment_weight: float = 0.25,
        update: Update = _AVERAGE,
        start: Start = _CLUSTER,
        revive: Revive | None = _REVIVE,
        estimator: Estimator = _STRAIGHT,
        layout: str = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, layout=layout)
        _require_options(codebook_size, commitment_weight)
        self._codebook_size = codebook_size
        self.commitment_weight = commitment_weight
        self.update = update
        self.start = start
        self.revive = revive
        self.estimator = estimator
        self.generator = generator
        codebook = uniform_codebook(codebook_size, dim, generator)
        if isinstance(update, Gradient):
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("started", torch.tensor(False))
        self.statistics = RunningStatistics(codebook_size, dim if isinstance(update, EMA) else 0)

    @property
    def codebook_size(self) -> int:
        """K."""
        return self._codebook_size

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the codebook learn in train mode, then quantize; see `Quantizer`."""
        if self.training:
            self.learn_tokens(tokens.detach())
        return self.choose_tokens(tokens)

    @torch.no_grad()
    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Bring the codebook up to date; see `Quantizer`. What can fail has been checked."""
        if not bool(self.started):
            self._begin(tokens)
            return
        if self.statistics.average(self._decay()) and isinstance(self.update, EMA):
            self.codebook.copy_(self.statistics.means(self.update.eps))
        if self.revive is not None:
            self._replace_dead_codes(candidates or (lambda: tokens), self.revive.threshold)

    def choose_tokens(self, tokens: torch.Tensor, *, codes: torch.Tensor | None = None) -> Found:
        """Quantize with the codebook as it is; see `Quantizer`.

        Args:
            tokens: (N, D).
            codes: int64 (N,), what a search over several levels has chosen; None is the nearest.
        """
        latents = tokens.detach()
        codebook = self.codebook.detach()
        ways = None
        chosen = codes
        if chosen is None:
            assignment = self._assign(latents)
            chosen, ways = assignment.codes, assignment.decided_by
        if not self.training:
            return self._found(tokens, straight_through(tokens, codebook, chosen), chosen, ways)
        self.statistics.observe(latents, chosen)
        vectors = self.estimator.estimate(tokens, codebook, chosen, self.generator)
        return self._found(tokens, vectors, chosen, ways)

    def rank_tokens(self, tokens: torch.Tensor, count: int) -> Ranking:
        """Return the `count` nearest codes of each token; see `certvq.rank`."""
        with torch.autocast(tokens.device.type, enabled=False):
            return rank(tokens.detach(), self.codebook.detach(), count)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes; see `Quantizer`."""
        return assign_operator(tokens, self.codebook.detach())[0]

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Look code vectors up; see `Quantizer`."""
        return functional.embedding(codes, self.codebook)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse what would destroy the averages; see `Quantizer`."""
        return check_batch(tokens, self.codebook.detach(), self.statistics.counts.dtype)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, codebook_size={self.codebook_size}, "
            f"commitment_weight={self.commitment_weight}, update={self.update}, "
            f"start={self.start}, revive={self.revive}, layout={self._layout.name!r}"
        )

    def _assign(self, latents: torch.Tensor) -> Assignment:
        with torch.autocast(latents.device.type, enabled=False):
            return assign(latents, self.codebook.detach())

    def _found(
        self,
        tokens: torch.Tensor,
        vectors: torch.Tensor,
        codes: torch.Tensor,
        ways: torch.Tensor | None,
    ) -> Found:
        commitment = mean_square(tokens, vectors.detach())
        loss = self.commitment_weight * commitment
        if isinstance(self.update, Gradient):
            learning = functional.embedding(codes, self.codebook)
            loss = mean_square(tokens.detach(), learning) + loss
        value = commitment.detach()
        figures = {"codebook_loss": value, "commitment_loss": value}
        for way in DecidedBy if ways is not None else ():
            figures[f"{way.name.lower()}_rows"] = (ways == way).sum()
        return Found(vectors, codes, loss, figures)

    def _begin(self, latents: torch.Tensor) -> None:
        if is_first() and len(latents):
            counts = self.statistics.counts.new_ones(self.codebook_size)
            if isinstance(self.start, KMeans):
                found = cluster(
                    latents,
                    self.codebook.detach(),
                    iterations=self.start.iterations,
                    generator=self.generator,
                )
                self.codebook.copy_(found.codebook)
                counts = found.counts.clamp(min=1)
            self.statistics.begin(self.codebook, counts, self._decay())
            self.started.fill_(True)
        copy_from_first([self.codebook, self.started, *self.statistics.buffers()])

    def _replace_dead_codes(self, candidates: Callable[[], torch.Tensor], threshold: float) -> None:
        dead = dead_codes(self.statistics.counts, threshold)
        if not len(dead):
            return
        if is_first():
            vectors = pick_tokens(candidates(), len(dead), self.generator).to(self.codebook.dtype)
            rows = dead[: len(vectors)]
            self.codebook[rows] = vectors
            self.statistics.replace(rows, vectors, _REVIVED_SHARE)
        copy_from_first([self.codebook, *self.statistics.buffers()])

    def _decay(self) -> float:
        return self.update.decay if isinstance(self.update, EMA) else _USAGE_DECAY


def _require_options(codebook_size: int, commitment_weight: float) -> None:
    if codebook_size < 1:
        text = f"codebook_size must be at least 1, got {codebook_size}"
        raise OptionError(text)
    if not 0.0 <= commitment_weight < math.inf:
        text = f"commitment_weight must be finite and at least 0, got {commitment_weight}"
        raise OptionError(text)
