"""How the codebook of a layer starts, moves and revives codes.

In: a layer, and tokens with their codes, batch by batch. Out: the layer's codebook, changed. Must
not know how codes are chosen, nor of estimators or losses.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import torch
from torch import nn

from certvq.nn._codebook.affine import AffineMap
from certvq.nn._codebook.ema import EMA
from certvq.nn._codebook.given import Given
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans, cluster
from certvq.nn._codebook.online import InnerOptimizer, Online, batch_slope, codebook_slope
from certvq.nn._codebook.statistics import (
    Revive,
    RunningStatistics,
    Written,
    dead_codes,
    pick_tokens,
)
from certvq.nn._codebook.uniform import Uniform, uniform_codebook
from certvq.nn._core.search import search
from certvq.nn._core.similarity import unit_rows
from certvq.nn._torch.device import default_device
from certvq.nn._torch.distributed import Peers, Ties, require_lasting
from certvq.nn._torch.modes import holds_numbers
from certvq.nn._torch.transaction import draws, learned

Update: TypeAlias = EMA | Gradient | Online
Start: TypeAlias = KMeans | Uniform | Given

_USAGE_DECAY = 0.99
"""Decay of the running counts where no `EMA` option gives one."""


class Learner(Protocol):
    """A layer that holds the numbers of a codebook, under names that its states have.

    Attributes:
        codebook: (K, D) as stored.
        started: (), whether there was a batch, or a codebook was set.
        waiting: (), training batches since averages were taken in; None but with ``EMA(every=n)``.
        statistics: running counts, and sums with `EMA` and `Online`.
        affine: the map of `update`, or None.
        inner_optimizer: that of `Online`, or None.
    """

    codebook: torch.Tensor
    started: torch.Tensor
    waiting: torch.Tensor | None
    statistics: RunningStatistics
    affine: AffineMap | None
    inner_optimizer: InnerOptimizer | None
    metric: str
    update: Update
    start: Start
    revive: Revive | None
    generator: torch.Generator | None

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, (K, D)."""
        ...

    def settle(self) -> None:
        """Take in what waits of earlier training batches; see `LearnedCodebook.settle`."""
        ...

    def decay(self) -> float:
        """Return the weight of the past in running averages."""
        ...

    def step_down(self, slope: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
        """Let the inner optimiser step down a slope; see `LearnedCodebook.step_down`."""
        ...


class LearnedCodebook:
    """What a layer does to its codebook in train mode.

    The numbers are parameters, buffers and modules of the layer itself, so that states, optimisers
    and FSDP find them under its names; so each method is given the layer.

    Args:
        process_group: the processes that learn the codebook together.
        owner: name of the layer, for errors.

    Attributes:
        ties: those processes, and the shard that FSDP2 keeps.
        written: what the layer itself last wrote.
    """

    def __init__(self, process_group: Any, owner: str) -> None:
        self.ties = Ties(process_group, owner)
        self.written = Written()

    @property
    def peers(self) -> Peers:
        """The processes that learn the codebook together."""
        return self.ties.peers

    def furnish(self, layer: Any, codebook_size: int, dim: int) -> None:
        """Make the numbers that a `Learner` holds, by its options.

        Args:
            layer: a module with the options of a `Learner`; gets the other attributes.
            codebook_size: K.
            dim: D.

        Raises:
            OptionError: given code vectors that are not (K, D).
        """
        update, start = layer.update, layer.start
        if isinstance(start, Given):
            codebook = start.require(codebook_size, dim)
        else:
            bound = start.bound if isinstance(start, Uniform) else None
            codebook = uniform_codebook(codebook_size, dim, layer.generator, bound=bound)
        if layer.metric == "cosine":
            codebook = unit_rows(codebook).to(codebook.dtype)
        codebook = codebook.to(default_device())
        if isinstance(update, Gradient):
            layer.codebook = nn.Parameter(codebook)
        else:
            layer.register_buffer("codebook", codebook)
        layer.register_buffer("started", torch.zeros(()))  # a float, for averages of models
        width = 0 if isinstance(update, Gradient) else dim
        layer.statistics = RunningStatistics(codebook_size, width)
        layer.register_buffer("waiting", torch.zeros(()) if _every(update) > 1 else None)
        layer.affine = None if update.affine is None else AffineMap(update.affine, dim)
        layer.inner_optimizer = (
            InnerOptimizer(update.optimizer, layer.codebook) if isinstance(update, Online) else None
        )
        self.written.note(layer.codebook, layer.statistics.counts)

    def learn(
        self, layer: Learner, latents: torch.Tensor, candidates: Callable[[], torch.Tensor]
    ) -> None:
        """Bring the codebook up to date before codes are chosen.

        Args:
            layer: whose codebook it is.
            latents: (N, D), detached, directions if the metric is cosine.
            candidates: returns the tokens (M, D) that new code vectors may be picked from.
        """
        drawn = draws()
        self.agree(layer)
        begins = not bool(layer.started)
        if self.written.counts is None:  # a loaded state may hold no more than a codebook
            begins = begins or not bool(layer.statistics.weight)
        due = begins or _is_due(layer)
        if layer.revive is not None or (begins and isinstance(layer.start, KMeans)):
            require_lasting(layer.codebook, self.peers.owner)
        if begins:
            self._begin(layer, latents)
        elif due:
            layer.settle()
        if layer.waiting is not None:
            layer.waiting.add_(1)
        if layer.affine is not None:
            layer.affine.observe(latents, layer.codebook.detach(), self.peers)
        if layer.revive is not None and due and not begins:
            self.replace_dead_codes(layer, candidates)
        if isinstance(layer.update, Online) and layer.update.immediate:
            codes = search(latents, layer.code_vectors()).codes
            layer.step_down(lambda vectors: batch_slope(vectors, latents, codes, self.peers))
        learned(layer.generator, drew=draws() > drawn)

    def settle(self, layer: Learner) -> None:
        """Take in what waits of earlier training batches."""
        self.adopt(layer)
        if layer.waiting is not None:
            layer.waiting.zero_()
        statistics = layer.statistics
        if isinstance(layer.update, Online) and not layer.update.immediate:
            waits = bool(statistics.pending_counts.any()) and not statistics.held
            if waits and layer.inner_optimizer is not None:
                layer.step_down(
                    lambda vectors: codebook_slope(
                        vectors, statistics.pending_counts, statistics.pending_sums
                    )
                )
        if self._move(layer):
            return
        if statistics.average(layer.decay()) and isinstance(layer.update, EMA):
            self.store_means(layer)

    def _move(self, layer: Learner) -> bool:
        """Average and store the means at once, where the compiled kernel can; say whether so."""
        codebook, update, statistics = layer.codebook, layer.update, layer.statistics
        plain = layer.metric == "euclidean" and codebook.is_cpu and self.ties.shard is None
        if not isinstance(update, EMA) or not plain:
            return False
        if not statistics.waits():
            return True
        own = self.written.shared(codebook)
        both = codebook, codebook if own is None else own
        if not statistics.move(layer.decay(), update.eps, *both):
            return False
        self.keep(layer)
        if own is None:
            self.note(layer)
        else:
            self.written.counts = statistics.counts.clone()
        return True

    def agree(self, layer: Learner) -> None:
        """Take over the state of the first process, once, as DDP does when it is built."""
        if not self.peers.together() or self.ties.agreed:
            return
        if self.peers.is_first() and has_started(layer):
            self.adopt(layer)
        module: Any = layer
        self.peers.copy_from_first([*module.parameters(), *module.buffers()])
        if not self.peers.is_first():
            self.note(layer)
        self.ties.agreed = True

    def is_given(self, layer: Learner) -> bool:
        """Say whether the codebook was set by somebody whom a start or averages would overrule."""
        if has_started(layer) and not isinstance(layer.update, EMA):
            return False  # what moves it moves it from where it is
        if self.ties.in_shards(layer.codebook):
            return False
        own = isinstance(layer.update, Gradient) or not isinstance(layer.codebook, nn.Parameter)
        return own and self.written.overruled(layer.codebook, layer.statistics.counts)

    def adopt(self, layer: Learner) -> None:
        """Let averages begin anew from a codebook that somebody set, in place of a start."""
        if self.is_given(layer):
            self.restart(layer)
            layer.started.fill_(1.0)

    def restart(self, layer: Learner) -> None:
        """Let averages begin anew from the codebook, each code with the mean count.

        That is at least one token, or as many as a revived code seems to have: the codebook stays.
        """
        statistics = layer.statistics
        fresh = statistics.weight if layer.revive is None else layer.revive.fresh(statistics)
        statistics.restart(layer.codebook, torch.maximum(fresh, statistics.weight))
        self.note(layer)

    def note(self, layer: Learner) -> None:
        """Take the codebook as it is for the layer's own work."""
        if self.ties.in_shards(layer.codebook):
            return
        if isinstance(layer.update, EMA) or not has_started(layer):
            self.written.note(layer.codebook, layer.statistics.counts)
        else:
            self.written.forget()

    def _begin(self, layer: Learner, latents: torch.Tensor) -> None:
        update, start, statistics = layer.update, layer.start, layer.statistics
        if self.peers.is_first() and len(latents):
            counts = torch.ones_like(statistics.counts)
            debias = update.debias if isinstance(update, EMA) else True
            decay = layer.decay() if debias else 0.0
            given = not isinstance(start, Uniform) and self.is_given(layer)
            if isinstance(start, Given) or bool(layer.started) or given:
                decay = 0.0
                tokens = len(latents) * self.peers.size() * _every(update)
                counts *= max(1.0, tokens / len(counts))
            elif isinstance(start, KMeans):
                found = cluster(
                    latents,
                    layer.codebook.detach(),
                    iterations=start.iterations,
                    generator=layer.generator,
                    unit=layer.metric == "cosine",
                )
                layer.codebook.copy_(found.codebook)
                counts = found.counts.clamp(min=1)
            statistics.begin(layer.codebook, counts, decay)
            layer.started.fill_(1.0)
        if layer.waiting is not None:
            layer.waiting.zero_()
        self.peers.copy_from_first([layer.codebook, layer.started, *statistics.buffers()])
        if isinstance(start, KMeans):
            self.keep(layer)
        self.note(layer)

    def replace_dead_codes(self, layer: Learner, candidates: Callable[[], torch.Tensor]) -> None:
        """Put tokens in the place of codes that are chosen too rarely."""
        statistics, revive = layer.statistics, layer.revive
        assert revive is not None
        dead = dead_codes(statistics.counts, revive.least(statistics))
        if not len(dead):
            return
        if self.peers.is_first():
            vectors = pick_tokens(candidates(), len(dead), layer.generator)
            if layer.affine is not None:
                vectors = layer.affine.inverse(vectors)
            vectors = vectors.to(layer.codebook.dtype)
            rows = dead[: len(vectors)]
            layer.codebook[rows] = vectors
            statistics.replace(rows, vectors, revive.fresh(statistics))
        self.peers.copy_from_first([layer.codebook, *statistics.buffers()])
        self.keep(layer)
        self.note(layer)

    def step_down(
        self, layer: Learner, slope: Callable[[torch.Tensor], torch.Tensor | None]
    ) -> None:
        """Let the inner optimiser take a step.

        Args:
            layer: whose codebook it is.
            slope: returns the gradient at the code vectors in use (K, D), or None for no step.
        """
        assert layer.inner_optimizer is not None
        by_vectors = slope(layer.code_vectors().detach())
        if by_vectors is None:
            return
        if layer.affine is not None:
            by_vectors = by_vectors * layer.affine.ratio().to(by_vectors.dtype)
        layer.inner_optimizer.add(by_vectors)
        layer.inner_optimizer.step(layer.codebook)
        if layer.metric == "cosine":
            layer.codebook.copy_(unit_rows(layer.codebook.detach()))
        self.keep(layer)

    def store_means(self, layer: Learner) -> None:
        """Make code vectors of the averages of `EMA`."""
        assert isinstance(layer.update, EMA)
        rows, vectors = layer.statistics.means(layer.update.eps)
        if layer.metric == "cosine":
            vectors = unit_rows(vectors)
        vectors = vectors.to(layer.codebook.dtype)
        layer.codebook.index_copy_(0, rows, vectors)
        self.keep(layer)
        self.written.note_rows(rows, vectors, layer.codebook, layer.statistics.counts)

    def keep(self, layer: Learner) -> None:
        """Let what was written to the codebook outlive the forward pass, where it is in shards."""
        require_lasting(layer.codebook, self.peers.owner)
        self.ties.write_back(layer.codebook)

    def remember(self, layer: Learner) -> Callable[[], None]:
        """Return what puts this back as it is; see `all_or_nothing`."""
        agreed, restore_note = self.ties.agreed, self.written.remember()

        def restore() -> None:
            self.ties.agreed = agreed
            self.ties.write_back(layer.codebook)
            restore_note()

        return restore


def usual_decay(update: Update) -> float:
    """Return the weight of the past in running averages, as an option says."""
    return update.decay if isinstance(update, EMA) else _USAGE_DECAY


def _every(update: Update) -> int:
    return update.every if isinstance(update, EMA) else 1


def _is_due(layer: Learner) -> bool:
    """Say whether averages are taken in, and codes revived, before this batch."""
    if layer.statistics.held:
        return not bool(layer.statistics.pending_counts.any())
    return layer.waiting is None or int(layer.waiting) >= _every(layer.update)


def has_started(layer: Learner) -> bool:
    return holds_numbers(layer.started) and bool(layer.started)
