"""The vector quantizer as a layer.

In: latents of any layout. Out: code vectors, their indices and the loss that trains encoder and
codebook. Codes come from `certvq.assign` alone. Must not know of images or models.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from certvq.assign import Ranking
from certvq.errors import NonFiniteError, ShapeError
from certvq.nn._codebook.affine import AffineMap
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans
from certvq.nn._codebook.learned_codebook import (
    LearnedCodebook,
    Start,
    Update,
    has_started,
    usual_decay,
)
from certvq.nn._codebook.online import InnerOptimizer, Online
from certvq.nn._codebook.statistics import Revive, RunningStatistics
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.latents import (
    PADDING,
    LayoutName,
    among_padding,
    check_batch,
    finite_error,
    kept_rows,
    largest_of,
    require_finite_latents,
    require_same_device,
)
from certvq.nn._core.losses import known_mean_square, mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._core.search import decisions, ranked, search
from certvq.nn._core.similarity import cross_entropy, unit_rows
from certvq.nn._core.uncompiled import learn, observe, refuse_transforms
from certvq.nn._estimators.estimator import Estimator, StraightThrough, committed
from certvq.nn._regularizers.regularizer import Batch, Regularizer
from certvq.nn._torch.distributed import Peers
from certvq.nn._torch.modes import backward_alone, full_precision, recomputing, transforming
from certvq.nn._torch.transaction import all_or_nothing, pass_over_learning
from certvq.nn._vector.vector_options import MetricName, require_agreement, require_options

_AVERAGE = {"euclidean": EMA(), "cosine": EMA(decay=0.95)}
"""How the codebook learns where no option says so: docs/quality.md has what was measured."""

_CLUSTER, _REVIVE, _STRAIGHT = KMeans(), Revive(), StraightThrough()

_SAFE = 2.0**40
"""Up to here the sums of squares of 2^40 numbers are finite in float32."""


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
        update: how the codebook learns, `EMA`, `Gradient` or `Online`, each also through an
            `Affine` map. None is ``EMA()``, of decay
            0.8, and with ``metric="cosine"`` it is ``EMA(decay=0.95)``.
        start: where it starts: `KMeans` of the first training batch, `Uniform` or `Given`.
        revive: when codes are replaced, or None for never.
        estimator: how the gradient reaches the latents in train mode.
        regularizers: further terms of the loss of train mode, each with its own weight.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of every random choice; None is torch's default generator. Its state is
            part of the state dict.
        process_group: the processes that learn the codebook together in train mode, as in
            ``torch.nn.SyncBatchNorm``: a `torch.distributed.ProcessGroup`, None for the default
            group, or False for this process alone; see docs/distributed.md.

    Attributes:
        codebook: (K, D) as stored, an ``nn.Parameter`` with `Gradient` and a buffer otherwise, in
            torch's default type of number unless the module is converted. `code_vectors` returns
            those in use. Whoever writes to it decides: no start replaces it, and averages begin
            anew from it. A tensor that is assigned becomes the codebook itself, as in any module
            of torch, and training writes to it; assign a clone to keep yours.
        started: (), whether there was a batch, or a codebook was set.
        frozen: whether train mode leaves codebook and statistics alone; see `freeze`.
        statistics: running counts, and sums with `EMA` and `Online`.
        affine: the map of `update`, or None.
        inner_optimizer: that of `Online`, or None.
        waiting: (), training batches since averages were taken in; None but with ``EMA(every=n)``.
        update: the object in use, also where the option was None.
        latest: what `metrics` reports, as scalar tensors on the latents' device.

    Raises:
        OptionError: an option out of its range, or one that contradicts another.

    Guarantee: that of `certvq.assign` for every code, also under autocast: latents of another type
    of number than the codebook are taken as they are. With ``metric="cosine"`` the code is the
    nearest to the latent divided by its length, as that is rounded to float32 or wider, among the
    code vectors in use, bit for bit as they are; over the real numbers and unit vectors that would
    be the greatest cosine (``cosine_isNearestCode``), but neither has length one to the bit. A
    latent of length below 1e-6 is divided by 1e-6; zero stays zero, and its code is that of the
    shortest code vector. With an `Affine` map the code is the nearest among the mapped code vectors
    as rounded. An estimator that samples (`Gumbel`) replaces the codes of train mode.
    ``quantized == decode(codes)`` bit for bit, in eval mode, and in train mode with every estimator
    but `Reparam`. With several processes (`torch.distributed`) the codebook is the same on all of
    them. Averages, moments and inner steps are those of one process with all latents, but for the
    order of additions; k-means and revived codes look at the latents of the first process alone.
    Ties: the lowest index.

    Example:
        >>> from certvq.nn import Uniform
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
    waiting: torch.Tensor | None
    statistics: RunningStatistics
    affine: AffineMap | None
    inner_optimizer: InnerOptimizer | None
    frozen: bool = False

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        metric: MetricName = "euclidean",
        commitment_weight: float = 0.25,
        update: Update | None = None,
        start: Start = _CLUSTER,
        revive: Revive | None = _REVIVE,
        estimator: Estimator = _STRAIGHT,
        regularizers: tuple[Regularizer, ...] = (),
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        process_group: Any = None,
    ) -> None:
        require_options(codebook_size, commitment_weight, metric)
        update = _AVERAGE[metric] if update is None else update
        require_agreement(metric, update, regularizers)
        super().__init__(dim, layout=layout)
        self.metric = metric
        self.commitment_weight = commitment_weight
        self.update = update
        self.start = start
        self.revive = revive
        self.estimator = estimator
        self.regularizers = regularizers
        self.draw_from(generator)
        self._codebook_size = codebook_size
        owner = f"VectorQuantize(dim={dim}, codebook_size={codebook_size})"
        self.book = LearnedCodebook(process_group, owner)
        self.book.furnish(self, codebook_size, dim)

    def __setattr__(self, name: str, value: Any) -> None:
        """Notice who holds the codebook; FSDP2 sets it anew around each forward pass."""
        if name == "codebook" and self.book.ties.notice(value) and not self.book.is_given(self):
            self.book.written.forget()  # the whole will be put together from the shards of all
        super().__setattr__(name, value)

    @property
    def codebook_size(self) -> int:
        """K."""
        return self._codebook_size

    @property
    def process_group(self) -> Any:
        """The processes that learn the codebook together: a group, None for the default, False."""
        return self.book.peers.group

    @process_group.setter
    def process_group(self, group: Any) -> None:
        self.book.ties.share(group)

    @property
    def peers(self) -> Peers:
        """Those processes."""
        return self.book.peers

    @property
    def at_rest(self) -> bool:
        """Whether train mode changes nothing; see `refuse_transforms`."""
        return self.frozen

    @property
    def communicates(self) -> bool:
        """Whether a forward pass of it, as things are, talks to other processes."""
        return self.training and not self.at_rest and self.peers.together()

    def remember(self) -> Callable[[], None]:
        """Return what puts back what is neither parameter nor buffer; see `all_or_nothing`."""
        return self.book.remember(self)

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, (K, D), with their graph.

        Returns:
            `codebook`, or what `affine` or the metric make of it.

        Raises:
            DistributedError: the codebook is in shards, as FSDP2 leaves it between forward passes.
        """
        stored = self.codebook
        self.book.ties.require_whole(stored)
        if stored.requires_grad and torch.is_grad_enabled():
            stored = stored.clone()  # a later forward may revive codes before the backward pass
        vectors = stored if self.affine is None else self.affine(stored)
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
        if recomputing():
            pass_over_learning()
        if recomputing() or not self.training:
            return
        if torch.compiler.is_compiling() and candidates is None:
            learn(self, tokens)
            return
        if transforming():
            refuse_transforms(self)
        self.learn_now(tokens, candidates=candidates)

    @torch.no_grad()
    def learn_now(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Do what `learn_tokens` says, out of a compiler's sight."""
        if self.frozen:
            return
        latents = self._points(tokens)

        def picked_from() -> torch.Tensor:
            return latents if candidates is None else self._points(candidates())

        self.book.learn(self, latents, picked_from)

    @torch.no_grad()
    def observe_now(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Keep the counts of the batch, and the sums, where the codebook is stored, by code.

        Args:
            tokens: (N, D), normalised if the metric is.
            codes: int64 (N,).
        """
        if self.frozen:
            return
        stored = tokens
        if self.affine is not None and isinstance(self.update, EMA):
            stored = self.affine.inverse(tokens)
        self.statistics.observe(stored, codes, self.peers)

    @torch.no_grad()
    def settle(self) -> None:
        """Take in now what waits of earlier training batches; `forward` does so by itself.

        Codes that were returned before may then be decoded to other code vectors. An inner
        optimiser that raises leaves everything as it was. A frozen codebook stays.
        """
        if not self.frozen:
            all_or_nothing(self, self.codebook, lambda: self.book.settle(self), learns=True)

    def decay(self) -> float:
        """Return the weight of the past in running averages."""
        return usual_decay(self.update)

    def step_down(self, slope: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
        """Let the inner optimiser step; see `LearnedCodebook.step_down`."""
        self.book.step_down(self, slope)

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
            found = search(latents, fixed)
            chosen, sqdist = found.codes, found.sqdist
            figures = decisions(found)
        if self.training and torch.compiler.is_compiling():
            observe(self, latents, chosen)
        elif self.training:
            self.observe_now(latents, chosen)
        return self._found(points, vectors, chosen, sqdist, figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes; see `Quantizer`."""
        codes: torch.Tensor = search(self._points(tokens), self.code_vectors()).codes
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

    def rank_tokens(self, tokens: torch.Tensor, count: int) -> Ranking:
        """Return the `count` nearest codes of each token; see `certvq.rank`."""
        with full_precision(tokens.device):
            return ranked(self._points(tokens).detach(), self.code_vectors().detach(), count)

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
        require_same_device(self, x, "latents")
        grid = self._layout.grid(x)
        kept = kept_rows(mask, grid, x.device)
        rows = self._points(tokens if kept is None else tokens[kept])
        codes = ranked(rows.detach(), self.code_vectors().detach(), count).codes
        return among_padding(codes, kept, tokens.shape[0], PADDING).reshape(*grid, count)

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
            DeviceError: latents or codes on another device than the layer.
            CodeRangeError: a code outside ``range(K)``.
            NonFiniteError: NaN or infinity in the latents or the codebook, or latents so large that
                sums over the batch could overflow.

        Cost: O(N K D) time, one chunk of memory.
        """
        tokens = self._layout.tokens(x, self.dim)
        require_same_device(self, x, "latents")
        grid = self._layout.grid(x)
        wanted = require_codes(codes, len(grid))
        require_same_device(self, codes, "codes")
        if tuple(wanted.shape) != grid:
            text = f"codes must have the shape {grid}, got {tuple(wanted.shape)}"
            raise ShapeError(text)
        kept = kept_rows(mask, grid, x.device)
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
        return cross_entropy(self._points(tokens), vectors, wanted, self.metric)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, codebook_size={self.codebook_size}, metric={self.metric!r}, "
            f"commitment_weight={self.commitment_weight}, update={self.update}, "
            f"start={self.start}, revive={self.revive}, estimator={self.estimator}, "
            f"regularizers={self.regularizers}, layout={self._layout.name!r}"
        )

    def _found(
        self,
        points: torch.Tensor,
        book: torch.Tensor,
        codes: torch.Tensor,
        sqdist: torch.Tensor | None,
        figures: dict[str, torch.Tensor],
    ) -> Found:
        estimator = self.estimator if self.training else _STRAIGHT
        learns = isinstance(self.update, Gradient)
        if (
            sqdist is None
            or learns
            or type(estimator) is not StraightThrough
            or not backward_alone()
        ):
            vectors, loss, value = self._followed(estimator, points, book, codes, sqdist)
        else:
            vectors, loss, value = committed(points, book, codes, sqdist, self.commitment_weight)
        figures = {"codebook_loss": value, "commitment_loss": value, **figures}
        if self.training and len(codes):
            batch = Batch(points, book, codes, self.metric, self.generator)
            for regularizer in self.regularizers:
                penalty = regularizer.penalty(batch)
                loss = loss + regularizer.weight * penalty
                figures[f"{regularizer.name}_loss"] = penalty.detach()
        return Found(vectors, codes, loss, figures)

    def _followed(
        self,
        estimator: Estimator,
        points: torch.Tensor,
        book: torch.Tensor,
        codes: torch.Tensor,
        sqdist: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what `committed` does, step by step, with the gradients that options ask for."""
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
        return vectors, loss, commitment.detach()

    def _points(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what codes are found for: the tokens, or their directions; with the graph."""
        if self.metric == "euclidean":
            return tokens
        return unit_rows(require_finite_latents(tokens))

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "VectorQuantize":
        given = self.book.is_given(self)
        super()._apply(fn, *args, **kwargs)
        if not given:
            self.book.note(self)
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._save_to_state_dict(destination, prefix, *args, **kwargs)
        if not has_started(self) and self.book.is_given(self):
            destination[prefix + "started"] = torch.ones_like(self.started)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if self.waiting is None:  # whoever resumes may add up other numbers of batches
            state_dict.pop(prefix + "waiting", None)
        elif prefix + "started" in state_dict:
            state_dict.setdefault(prefix + "waiting", state_dict[prefix + "started"])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if prefix + "started" not in state_dict:
            return  # a codebook alone was given by hand
        if prefix + "codebook" in state_dict:
            self.book.written.note(self.codebook, None)
        else:
            self.book.written.forget()
