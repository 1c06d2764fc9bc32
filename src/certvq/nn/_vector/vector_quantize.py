"""The vector quantizer as a layer.

In: latents of any layout. Out: code vectors, their indices and the loss that trains encoder and
codebook. Codes come from `certvq.assign` alone. Must not know of images or models.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from certvq.errors import NonFiniteError
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans
from certvq.nn._codebook.online import Online
from certvq.nn._codebook.statistics import Revive
from certvq.nn._core.latents import LayoutName, check_batch, finite_error, largest_of
from certvq.nn._core.losses import known_mean_square, mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found
from certvq.nn._core.search import decisions, search
from certvq.nn._core.uncompiled import observe
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._regularizers.regularizer import Batch, Regularizer
from certvq.nn._vector.learned_codebook import Start, Update
from certvq.nn._vector.ranked_codebook import RankedCodebook
from certvq.nn._vector.vector_options import MetricName, require_agreement, require_options

_AVERAGE = {"euclidean": EMA(), "cosine": EMA(decay=0.95)}
"""How the codebook learns where no option says so: docs/quality.md has what was measured."""

_CLUSTER, _REVIVE, _STRAIGHT = KMeans(), Revive(), StraightThrough()

_SAFE = 2.0**40
"""Up to here the sums of squares of 2^40 numbers are finite in float32."""


@checked
class VectorQuantize(RankedCodebook):
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
            those in use.
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
        super().__init__(
            dim,
            codebook_size,
            metric=metric,
            update=update,
            start=start,
            revive=revive,
            layout=layout,
            generator=generator,
            process_group=process_group,
        )
        self.commitment_weight = commitment_weight
        self.estimator = estimator
        self.regularizers = regularizers

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the codebook learn in train mode, then quantize; see `Quantizer`."""
        if self.training:
            self.learn_tokens(tokens.detach())
        return self.choose_tokens(tokens)

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
