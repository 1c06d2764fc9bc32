"""A codebook that learns from the tokens that chose its codes.

In: tokens with their codes, batch by batch. Out: the code vectors in use. Whoever derives from it
chooses the codes. Must not know of estimators or losses.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn

from certvq.nn._codebook.affine import AffineMap
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans, cluster
from certvq.nn._codebook.online import InnerOptimizer, Online, batch_slope, codebook_slope
from certvq.nn._codebook.revive import Revive, dead_codes, pick_tokens
from certvq.nn._codebook.statistics import RunningStatistics
from certvq.nn._codebook.ties import Ties, require_lasting
from certvq.nn._codebook.uniform import Uniform, uniform_codebook
from certvq.nn._core.device import default_device
from certvq.nn._core.distributed import Peers
from certvq.nn._core.eager import recomputing
from certvq.nn._core.finite import require_finite_latents
from certvq.nn._core.opaque import learn
from certvq.nn._core.quantizer import Quantizer
from certvq.nn._core.transaction import all_or_nothing
from certvq.nn._core.unit import unit_rows
from certvq.nn._families.search import search

Update: TypeAlias = EMA | Gradient | Online
Start: TypeAlias = KMeans | Uniform

_USAGE_DECAY = 0.99
"""Decay of the running counts where no `EMA` option gives one."""


class LearnedCodebook(Quantizer):
    """A quantizer with one codebook: how it starts, moves and revives codes.

    The options are those of `VectorQuantize`, which has checked them.

    Args:
        dim: D.
        codebook_size: K.
        metric: ``"euclidean"`` or ``"cosine"``.
        update: how the codebook learns.
        start: where it starts.
        revive: when codes are replaced, or None.
        layout: of the latents.
        generator: source of every random choice.
        process_group: the processes that learn the codebook together.

    Attributes:
        codebook: (K, D) as stored.
        started: (), whether there was a batch.
        statistics: running counts, and sums with `EMA` and `Online`.
        affine: the map of `update`, or None.
        inner_optimizer: that of `Online`, or None.
    """

    codebook: torch.Tensor
    started: torch.Tensor

    def __init__(  # noqa: PLR0913 (the options of `VectorQuantize`, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        metric: str,
        update: Update,
        start: Start,
        revive: Revive | None,
        layout: str,
        generator: torch.Generator | None,
        process_group: Any = None,
    ) -> None:
        super().__init__(dim, layout=layout)
        self._ties = Ties(
            process_group, f"VectorQuantize(dim={dim}, codebook_size={codebook_size})"
        )
        self._codebook_size = codebook_size
        self.metric = metric
        self.update = update
        self.start = start
        self.revive = revive
        self.generator = generator
        bound = start.bound if isinstance(start, Uniform) else None
        codebook = uniform_codebook(codebook_size, dim, generator, bound=bound)
        if metric == "cosine":
            codebook = unit_rows(codebook).to(codebook.dtype)
        codebook = codebook.to(default_device())
        if isinstance(update, Gradient):
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("started", torch.tensor(False))
        width = 0 if isinstance(update, Gradient) else dim
        self.statistics = RunningStatistics(codebook_size, width)
        self.affine = None if update.affine is None else AffineMap(update.affine, dim)
        self.inner_optimizer = (
            InnerOptimizer(update.optimizer, self.codebook) if isinstance(update, Online) else None
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Notice who holds the codebook; FSDP2 sets it anew around each forward pass."""
        if name == "codebook":
            self._ties.notice(value)
        super().__setattr__(name, value)

    @property
    def codebook_size(self) -> int:
        """K."""
        return self._codebook_size

    @property
    def process_group(self) -> Any:
        """The processes that learn the codebook together: a group, None for the default, False."""
        return self._ties.peers.group

    @process_group.setter
    def process_group(self, group: Any) -> None:
        self._ties.share(group)

    @property
    def peers(self) -> Peers:
        """Those processes."""
        return self._ties.peers

    @property
    def at_rest(self) -> bool:
        """Whether train mode changes nothing; see `refuse_transforms`."""
        return False

    @property
    def communicates(self) -> bool:
        """Whether a forward pass of it, as things are, talks to other processes."""
        return self.training and not self.at_rest and self.peers.together()

    def remember(self) -> Callable[[], None]:
        """Return what brings the shard of a codebook in line with the whole; see `Ties`."""
        agreed = self._ties.agreed

        def restore() -> None:
            self._ties.agreed = agreed
            self._ties.write_back(self.codebook)

        return restore

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, (K, D), with their graph.

        Returns:
            `codebook`, or what `affine` or the metric make of it.

        Raises:
            DistributedError: the codebook is in shards, as FSDP2 leaves it between forward passes.
        """
        stored = self.codebook
        self._ties.require_whole(stored)
        if stored.requires_grad and torch.is_grad_enabled():
            stored = stored.clone()  # a later forward may revive codes before the backward pass
        vectors = stored if self.affine is None else self.affine(stored)
        if self.metric == "cosine" and isinstance(self.update, Gradient):
            return unit_rows(vectors).to(vectors.dtype)
        return vectors

    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Bring the codebook up to date; see `Quantizer`. What can fail has been checked."""
        if recomputing() or not self.training:
            return
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
        self._agree()
        begins = not bool(self.started)
        if self.revive is not None or (begins and isinstance(self.start, KMeans)):
            require_lasting(self.codebook, self.peers.owner)
        if begins:
            self._begin(latents)
        else:
            self.settle()
        if self.affine is not None:
            self.affine.observe(latents, self.codebook.detach(), self.peers)
        if self.revive is not None and not begins:
            pick = (lambda: latents) if candidates is None else lambda: self._points(candidates())
            self._replace_dead_codes(pick, self.revive)
        if isinstance(self.update, Online) and self.update.immediate:
            codes = search(latents, self.code_vectors()).codes
            self._step(lambda vectors: batch_slope(vectors, latents, codes, self.peers))

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
        self.statistics.observe(stored, codes, self.peers)

    @torch.no_grad()
    def settle(self) -> None:
        """Take in now what waits of the latest training batch; `forward` does so by itself.

        Codes that were returned before may then be decoded to other code vectors. An inner
        optimiser that raises leaves everything as it was.
        """
        all_or_nothing(self, self.codebook, self._settle, learns=True)

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

    def _points(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what codes are found for: the tokens, or their directions; with the graph."""
        if self.metric == "euclidean":
            return tokens
        return unit_rows(require_finite_latents(tokens))

    def _agree(self) -> None:
        """Take over the state of the first process, once, as DDP does when it is built."""
        if self.peers.together() and not self._ties.agreed:
            self.peers.copy_from_first([*self.parameters(), *self.buffers()])
            self._ties.agreed = True

    def _begin(self, latents: torch.Tensor) -> None:
        if self.peers.is_first() and len(latents):
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
        self.peers.copy_from_first([self.codebook, self.started, *self.statistics.buffers()])
        if isinstance(self.start, KMeans):
            self._lasts()

    def _replace_dead_codes(self, candidates: Callable[[], torch.Tensor], revive: Revive) -> None:
        statistics = self.statistics
        dead = dead_codes(statistics.counts, revive.least(statistics))
        if not len(dead):
            return
        if self.peers.is_first():
            vectors = pick_tokens(candidates(), len(dead), self.generator)
            if self.affine is not None:
                vectors = self.affine.inverse(vectors)
            vectors = vectors.to(self.codebook.dtype)
            rows = dead[: len(vectors)]
            self.codebook[rows] = vectors
            statistics.replace(rows, vectors, revive.fresh(statistics))
        self.peers.copy_from_first([self.codebook, *statistics.buffers()])
        self._lasts()

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
        self._lasts()

    def _lasts(self) -> None:
        """Let what was written to the codebook outlive the forward pass, where it is in shards."""
        require_lasting(self.codebook, self.peers.owner)
        self._ties.write_back(self.codebook)

    def _decay(self) -> float:
        return self.update.decay if isinstance(self.update, EMA) else _USAGE_DECAY
