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

from certvq.assign import Assignment, DecidedBy, Ranking, rank
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn._codebook.affine import Affine, AffineMap
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans, cluster
from certvq.nn._codebook.online import InnerOptimizer, Online, batch_slope, codebook_slope
from certvq.nn._codebook.revive import Revive, dead_codes, pick_tokens
from certvq.nn._codebook.statistics import RunningStatistics
from certvq.nn._codebook.uniform import Uniform, uniform_codebook
from certvq.nn._core import similarity as _similarity
from certvq.nn._core.batch import check_batch, finite_error
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.distributed import copy_from_first, is_first
from certvq.nn._core.finite import largest_of, require_finite_latents
from certvq.nn._core.losses import known_mean_square, mean_square
from certvq.nn._core.mask import PADDING, among_padding, kept_rows
from certvq.nn._core.opaque import learn, observe
from certvq.nn._core.operators import assign_operator
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._core.transaction import all_or_nothing
from certvq.nn._core.unit import unit_rows
from certvq.nn._estimators.estimator import Estimator
from certvq.nn._estimators.straight_through import StraightThrough
from certvq.nn._regularizers.regularizer import Batch, Regularizer

Update: TypeAlias = EMA | Gradient | Online
Start: TypeAlias = KMeans | Uniform

METRICS = ("euclidean", "cosine")

_AVERAGE, _CLUSTER, _REVIVE, _STRAIGHT = EMA(), KMeans(), Revive(), StraightThrough()

_SAFE = 2.0**40
"""Up to here the sums of squares of 2^40 numbers are finite in float32."""

_USAGE_DECAY = 0.99
"""Decay of the running counts where no `EMA` option gives one."""


@checked
class VectorQuantize(Quantizer):
    """Replace each latent by the provably nearest code vector.

    Mathematics: ``quantized = c_i`` with ``i = min { i : for all j, |z - c_i| <= |z - c_j| }``,
    ``loss = commitment_weight * commitment_loss + regularizers``, with `Gradient` also
    ``+ weight * codebook_loss``; ``codebook_loss = mse(sg[z], c_i)``,
    ``commitment_loss = mse(z, sg[c_i])``. How the gradient of `quantized` reaches the latents is
    the estimator's choice; `StraightThrough` sends it there unchanged.

    With ``metric="cosine"`` z is the latent divided by its length, and so are the code vectors:
    where `EMA` or `Online` moves them, as they are stored; with `Gradient`, whenever they are used.

    In training the codebook changes at the beginning of a forward pass and never after it: the
    batch is validated, the statistics of the previous batch are taken in (or the codebook is
    started from this one), dead codes are revived, and then codes are assigned. In eval mode
    nothing changes, ever.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, >= 1.
        metric: ``"euclidean"`` or ``"cosine"``.
        commitment_weight: beta, finite and >= 0.
        update: how the codebook learns, `EMA`, `Gradient` or `Online`.
        start: where it starts, `KMeans` of the first training batch or `Uniform`.
        revive: when codes are replaced, or None for never.
        affine: an `Affine` map of the code vectors that follows the latents, or None.
        estimator: how the gradient reaches the latents in train mode.
        regularizers: further terms of the loss of train mode, each with its own weight.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``.
        generator: source of every random choice; None is torch's default generator. Its state is
            not part of the layer's state.

    Attributes:
        codebook: (K, D) as stored, an ``nn.Parameter`` with `Gradient` and a buffer otherwise, in
            torch's default type of number unless the module is converted. `code_vectors` returns
            those in use.
        latest: what `metrics` reports, as scalar tensors on the latents' device.

    Raises:
        OptionError: an option out of its range, or one that contradicts another.

    Guarantee: that of `certvq.assign` for every code, also under autocast: latents of another type
    of number than the codebook are taken as they are. With ``metric="cosine"`` the code is the
    nearest to the latent divided by its length, as that is rounded to float32 or wider, among the
    code vectors in use, bit for bit as they are; over the real numbers and unit vectors that would
    be the greatest cosine (``cosine_isNearestCode``), but neither has length one to the bit. A
    latent of length below 1e-6 is divided by 1e-6; zero stays zero, and its code is that of the
    shortest code vector. With `affine` the code is the nearest among the mapped code vectors as
    rounded. An estimator that samples (`Gumbel`) replaces the codes of train mode.
    ``quantized == decode(codes)`` bit for bit, in eval mode, and in train mode with every estimator
    but `Reparam`. With several processes (`torch.distributed`) the codebook is the same on all of
    them.
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
        metric: str = "euclidean",
        commitment_weight: float = 0.25,
        update: Update = _AVERAGE,
        start: Start = _CLUSTER,
        revive: Revive | None = _REVIVE,
        affine: Affine | None = None,
        estimator: Estimator = _STRAIGHT,
        regularizers: tuple[Regularizer, ...] = (),
        layout: str = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, layout=layout)
        _require_options(codebook_size, commitment_weight, metric)
        _require_agreement(metric, update, affine, regularizers)
        self._codebook_size = codebook_size
        self.metric = metric
        self.commitment_weight = commitment_weight
        self.update = update
        self.start = start
        self.revive = revive
        self.estimator = estimator
        self.regularizers = regularizers
        self.generator = generator
        bound = start.bound if isinstance(start, Uniform) else None
        codebook = uniform_codebook(codebook_size, dim, generator, bound=bound)
        if metric == "cosine":
            codebook = unit_rows(codebook).to(codebook.dtype)
        if isinstance(update, Gradient):
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("started", torch.tensor(False))
        width = 0 if isinstance(update, Gradient) else dim
        self.statistics = RunningStatistics(codebook_size, width)
        self.affine = None if affine is None else AffineMap(affine, dim)
        self.inner_optimizer = (
            InnerOptimizer(update.optimizer, self.codebook) if isinstance(update, Online) else None
        )

    @property
    def codebook_size(self) -> int:
        """K."""
        return self._codebook_size

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, (K, D), with their graph.

        Returns:
            `codebook`, or what `affine` or the metric make of it.
        """
        vectors = self.codebook if self.affine is None else self.affine(self.codebook)
        if self.metric == "cosine" and isinstance(self.update, Gradient):
            return unit_rows(vectors).to(vectors.dtype)
        return vectors

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the codebook learn in train mode, then quantize; see `Quantizer`."""
        if self.training:
            self.learn_tokens(tokens.detach())
        return self.choose_tokens(tokens)

    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Bring the codebook up to date; see `Quantizer`. What can fail has been checked."""
        if candidates is None:
            learn(self, tokens)
        else:
            self.learn_now(tokens, candidates=candidates)

    @torch.no_grad()
    def learn_now(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Do what `learn_tokens` says, out of a compiler's sight."""
        latents = self._points(tokens)
        begins = not bool(self.started)
        if begins:
            self._begin(latents)
        else:
            self.settle()
        if self.affine is not None:
            self.affine.observe(latents, self.codebook.detach())
        if self.revive is not None and not begins:
            pick = (lambda: latents) if candidates is None else lambda: self._points(candidates())
            self._replace_dead_codes(pick, self.revive)
        if isinstance(self.update, Online) and self.update.immediate:
            codes = _assign(latents, self.code_vectors().detach()).codes
            self._step(lambda vectors: batch_slope(vectors, latents, codes))

    def choose_tokens(self, tokens: torch.Tensor, *, codes: torch.Tensor | None = None) -> Found:
        """Quantize with the codebook as it is; see `Quantizer`.

        Args:
            tokens: (N, D).
            codes: int64 (N,), what a search over several levels has chosen; None is the nearest, or
                what the estimator draws.
        """
        points = self._points(tokens)
        latents = points.detach()
        vectors = self.code_vectors()
        fixed = vectors.detach()
        figures: dict[str, torch.Tensor] = {}
        sqdist = None
        chosen = codes
        if chosen is None and self.training:
            chosen = self.estimator.choose(latents, fixed, self.generator)
        if chosen is None:
            found = _assign(latents, fixed)
            chosen, sqdist = found.codes, found.sqdist
            figures = _count_ways(found.decided_by)
        if self.training:
            observe(self, latents, chosen)
        return self._found(points, vectors, chosen, sqdist, figures)

    def rank_tokens(self, tokens: torch.Tensor, count: int) -> Ranking:
        """Return the `count` nearest codes of each token; see `certvq.rank`."""
        with torch.autocast(tokens.device.type, enabled=False):
            return rank(self._points(tokens).detach(), self.code_vectors().detach(), count)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes; see `Quantizer`."""
        codes: torch.Tensor = _assign(self._points(tokens), self.code_vectors().detach()).codes
        return codes

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Look code vectors up; see `Quantizer`."""
        return functional.embedding(codes, self.code_vectors())

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse what would destroy the averages; see `Quantizer`."""
        if self.metric == "cosine":
            codebook = self.codebook.detach()
            return finite_error(codebook, "codebook") or finite_error(tokens, "latents")
        return check_batch(tokens, self.codebook.detach(), self.statistics.counts.dtype)

    def reach(self, largest: float) -> float:
        """Bound the code vectors by all that they are made of; see `Quantizer`.

        Averages exceed what was averaged by rounding, and k-means adds noise of a hundredth of a
        deviation. What an affine map or an optimiser do is not known.
        """
        free = self.affine is not None or isinstance(self.update, Online)
        if free or not self.estimator.exact or self.codebook.dtype == torch.float16:
            return math.inf
        own = largest_of([*self.parameters(), *self.buffers()])
        return 1.125 * max(own, largest) if max(own, largest) <= _SAFE else math.inf

    @torch.no_grad()
    def nearest(
        self, x: torch.Tensor, count: int, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return several codes of each latent, the nearest first; changes nothing.

        Args:
            x: finite latents of the layer's layout, any float type.
            count: how many, in 1..K.
            mask: as for `forward`.

        Returns:
            int64, the shape of `encode`'s codes with a last axis of size `count`; `PADDING` where
            the mask says so.

        Raises:
            OptionError: `count` out of range.
            ShapeError, DTypeError, NonFiniteError: as for `encode`.

        Guarantee: that of `certvq.rank`. The first code is that of `encode`.
        Ties: the lowest index first.
        """
        tokens = self._layout.tokens(x, self.dim)
        grid = self._layout.grid(x)
        kept = kept_rows(mask, grid)
        rows = self._points(tokens if kept is None else tokens[kept])
        codes = rank(rows.detach(), self.code_vectors().detach(), count).codes
        return among_padding(codes, kept, len(tokens), PADDING).reshape(*grid, count)

    def cross_entropy(
        self, x: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return how unlikely given codes are, if nearer ones are likelier.

        Mathematics: ``-mean log softmax_k(s)[code]`` with s minus the Euclidean distance, or with
        ``metric="cosine"`` the dot product, of latent and code vector. Changes nothing.

        Args:
            x: latents of the layer's layout.
            codes: integers of the shape of `encode`'s codes.
            mask: as for `forward`.

        Returns:
            Scalar with a gradient for the latents, and for the codebook with `Gradient`.

        Raises:
            ShapeError, DTypeError: wrong latents, codes or mask.
            CodeRangeError: a code outside ``range(K)``.
            NonFiniteError: NaN or infinity in the latents or the codebook, or latents so large that
                sums over the batch could overflow.

        Cost: O(N K D) time, one chunk of memory.
        """
        tokens = self._layout.tokens(x, self.dim)
        grid = self._layout.grid(x)
        wanted = require_codes(codes, len(grid))
        if tuple(wanted.shape) != grid:
            text = f"codes must have the shape {grid}, got {tuple(wanted.shape)}"
            raise ShapeError(text)
        kept = kept_rows(mask, grid)
        wanted = wanted.reshape(-1)
        if kept is not None:
            tokens, wanted = tokens[kept], wanted[kept]
        require_range(wanted, self.codebook_size)
        vectors = self.code_vectors()
        wide = torch.promote_types(torch.promote_types(tokens.dtype, vectors.dtype), torch.float32)
        error = check_batch(tokens.detach(), vectors.detach(), wide, where="cross_entropy")
        if error is not None and self.metric == "cosine":
            error = finite_error(vectors.detach(), "codebook") or finite_error(tokens.detach())
        if error is not None:
            raise error
        return _similarity.cross_entropy(self._points(tokens), vectors, wanted, self.metric)

    @torch.no_grad()
    def settle(self) -> None:
        """Take in now what waits of the latest training batch; `forward` does so by itself.

        Codes that were returned before may then be decoded to other code vectors. An inner
        optimiser that raises leaves everything as it was.
        """
        with all_or_nothing(self, self.codebook, learns=True):
            self._settle()

    def _settle(self) -> None:
        if isinstance(self.update, Online) and not self.update.immediate:
            waits = bool(self.statistics.pending_counts.any()) and not self.statistics.held
            if waits and self.inner_optimizer is not None:
                statistics = self.statistics
                self._step(
                    lambda vectors: codebook_slope(
                        vectors, statistics.pending_counts, statistics.pending_sums
                    )
                )
        if self.statistics.average(self._decay()) and isinstance(self.update, EMA):
            self._store(self.statistics.means(self.update.eps))

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, codebook_size={self.codebook_size}, metric={self.metric!r}, "
            f"commitment_weight={self.commitment_weight}, update={self.update}, "
            f"start={self.start}, revive={self.revive}, estimator={self.estimator}, "
            f"regularizers={self.regularizers}, layout={self._layout.name!r}"
        )

    def _points(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what codes are found for: the tokens, or their directions; with the graph."""
        if self.metric == "euclidean":
            return tokens
        return unit_rows(require_finite_latents(tokens))

    def _found(
        self,
        points: torch.Tensor,
        book: torch.Tensor,
        codes: torch.Tensor,
        sqdist: torch.Tensor | None,
        figures: dict[str, torch.Tensor],
    ) -> Found:
        estimator = self.estimator if self.training else _STRAIGHT
        vectors = estimator.estimate(points, book, codes, self.generator)
        chosen = vectors.detach() if estimator.exact else functional.embedding(codes, book.detach())

        def error(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return (
                mean_square(left, right)
                if sqdist is None
                else known_mean_square(left, right, sqdist)
            )

        commitment = error(points, chosen)
        loss = self.commitment_weight * commitment
        if isinstance(self.update, Gradient):
            learning = functional.embedding(codes, book)
            loss = self.update.weight * error(points.detach(), learning) + loss
        value = commitment.detach()
        figures = {"codebook_loss": value, "commitment_loss": value, **figures}
        if self.training and len(codes):
            batch = Batch(points, book, codes, self.metric, self.generator)
            for regularizer in self.regularizers:
                penalty = regularizer.penalty(batch)
                loss = loss + regularizer.weight * penalty
                figures[f"{regularizer.name}_loss"] = penalty.detach()
        return Found(vectors, codes, loss, figures)

    @torch.no_grad()
    def observe_now(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Keep the counts of the batch, and the sums, where the codebook is stored, by code.

        Args:
            tokens: (N, D), normalised if the metric is.
            codes: int64 (N,).
        """
        stored = tokens
        if self.affine is not None and isinstance(self.update, EMA):
            stored = self.affine.inverse(tokens)
        self.statistics.observe(stored, codes)

    def _begin(self, latents: torch.Tensor) -> None:
        if is_first() and len(latents):
            counts = self.statistics.counts.new_ones(self.codebook_size)
            if isinstance(self.start, KMeans):
                found = cluster(
                    latents,
                    self.codebook.detach(),
                    iterations=self.start.iterations,
                    generator=self.generator,
                    unit=self.metric == "cosine",
                )
                self.codebook.copy_(found.codebook)
                counts = found.counts.clamp(min=1)
            debias = self.update.debias if isinstance(self.update, EMA) else True
            self.statistics.begin(self.codebook, counts, self._decay() if debias else 0.0)
            self.started.fill_(True)
        copy_from_first([self.codebook, self.started, *self.statistics.buffers()])

    def _replace_dead_codes(self, candidates: Callable[[], torch.Tensor], revive: Revive) -> None:
        statistics = self.statistics
        dead = dead_codes(statistics.counts, revive.least(statistics))
        if not len(dead):
            return
        if is_first():
            vectors = pick_tokens(candidates(), len(dead), self.generator)
            if self.affine is not None:
                vectors = self.affine.inverse(vectors)
            vectors = vectors.to(self.codebook.dtype)
            rows = dead[: len(vectors)]
            self.codebook[rows] = vectors
            statistics.replace(rows, vectors, revive.fresh(statistics))
        copy_from_first([self.codebook, *statistics.buffers()])

    def _step(self, slope: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
        """Let the inner optimiser take a step down the slope at the code vectors in use."""
        assert self.inner_optimizer is not None
        vectors = self.code_vectors().detach()
        by_vectors = slope(vectors)
        if by_vectors is None:
            return
        if self.affine is not None:
            by_vectors = by_vectors * self.affine.ratio().to(by_vectors.dtype)
        self.inner_optimizer.add(by_vectors)
        self.inner_optimizer.step(self.codebook)
        if self.metric == "cosine":
            self._store(self.codebook.detach())

    def _store(self, vectors: torch.Tensor) -> None:
        scaled = unit_rows(vectors) if self.metric == "cosine" else vectors
        self.codebook.copy_(scaled)

    def _decay(self) -> float:
        return self.update.decay if isinstance(self.update, EMA) else _USAGE_DECAY


def _assign(latents: torch.Tensor, vectors: torch.Tensor) -> Assignment:
    return Assignment(*assign_operator(latents.detach(), vectors))


def _count_ways(decided_by: torch.Tensor) -> dict[str, torch.Tensor]:
    """Count the rows decided by each means; compilers cannot follow `torch.bincount`."""
    if torch.compiler.is_compiling():
        counts = {way: torch.eq(decided_by, int(way)).sum() for way in DecidedBy}
    else:
        tally = torch.bincount(decided_by, minlength=len(DecidedBy) + 1)
        counts = {way: tally[way] for way in DecidedBy}
    return {f"{way.name.lower()}_rows": count for way, count in counts.items()}


def _require_options(codebook_size: int, commitment_weight: float, metric: str) -> None:
    if codebook_size < 1:
        text = f"codebook_size must be at least 1, got {codebook_size}"
        raise OptionError(text)
    if not 0.0 <= commitment_weight < math.inf:
        text = f"commitment_weight must be finite and at least 0, got {commitment_weight}"
        raise OptionError(text)
    if metric not in METRICS:
        text = f"metric must be 'euclidean' or 'cosine', got {metric!r}"
        raise OptionError(text)


def _require_agreement(
    metric: str, update: Update, affine: Affine | None, regularizers: tuple[Regularizer, ...]
) -> None:
    if metric == "cosine" and affine is not None:
        text = (
            f"affine={affine} moves code vectors off the unit sphere that metric='cosine' keeps "
            "them on; use metric='euclidean'"
        )
        raise OptionError(text)
    for regularizer in regularizers:
        if regularizer.needs_gradient and not isinstance(update, Gradient):
            text = (
                f"{type(regularizer).__name__} acts on code vectors by their gradient, but "
                f"update={update} moves them without one; use update=Gradient()"
            )
            raise OptionError(text)
