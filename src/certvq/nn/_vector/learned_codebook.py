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
from certvq.nn._codebook.given import Given
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.kmeans import KMeans, cluster
from certvq.nn._codebook.online import InnerOptimizer, Online, batch_slope, codebook_slope
from certvq.nn._codebook.statistics import Revive, RunningStatistics, dead_codes, pick_tokens
from certvq.nn._codebook.uniform import Uniform, uniform_codebook
from certvq.nn._core.latents import LayoutName, require_finite_latents
from certvq.nn._core.quantizer import Quantizer
from certvq.nn._core.search import search
from certvq.nn._core.similarity import unit_rows
from certvq.nn._core.uncompiled import learn, refuse_transforms
from certvq.nn._torch.device import default_device
from certvq.nn._torch.distributed import Peers, Ties, require_lasting
from certvq.nn._torch.modes import holds_numbers, recomputing, transforming
from certvq.nn._torch.transaction import all_or_nothing, draws, learned, pass_over_learning

Update: TypeAlias = EMA | Gradient | Online
Start: TypeAlias = KMeans | Uniform | Given

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
        codebook: (K, D) as stored. Whoever writes to it decides: no start replaces it, and averages
            begin anew from it.
        started: (), whether there was a batch, or a codebook was set.
        frozen: whether train mode leaves codebook and statistics alone; see `freeze`.
        statistics: running counts, and sums with `EMA` and `Online`.
        affine: the map of `update`, or None.
        inner_optimizer: that of `Online`, or None.
        waiting: (), training batches since averages were taken in; None but with ``EMA(every=n)``.
    """

    codebook: torch.Tensor
    started: torch.Tensor
    waiting: torch.Tensor | None
    frozen: bool = False

    def __init__(  # noqa: PLR0913 (the options of `VectorQuantize`, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        metric: str,
        update: Update,
        start: Start,
        revive: Revive | None,
        layout: LayoutName,
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
        self.draw_from(generator)
        if isinstance(start, Given):
            codebook = start.require(codebook_size, dim)
        else:
            bound = start.bound if isinstance(start, Uniform) else None
            codebook = uniform_codebook(codebook_size, dim, generator, bound=bound)
        if metric == "cosine":
            codebook = unit_rows(codebook).to(codebook.dtype)
        codebook = codebook.to(default_device())
        if isinstance(update, Gradient):
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("started", torch.zeros(()))  # a float, for averages of models
        width = 0 if isinstance(update, Gradient) else dim
        self.statistics = RunningStatistics(codebook_size, width)
        waiting = torch.zeros(())
        self.register_buffer("waiting", waiting if self._every() > 1 else None)
        self.written = Written()
        self.written.note(self.codebook, self.statistics.counts)
        self.affine = None if update.affine is None else AffineMap(update.affine, dim)
        self.inner_optimizer = (
            InnerOptimizer(update.optimizer, self.codebook) if isinstance(update, Online) else None
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Notice who holds the codebook; FSDP2 sets it anew around each forward pass."""
        if name == "codebook" and self._ties.notice(value) and not self._is_given():
            self.written.forget()  # the whole will be put together from the shards of all
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
        return self.frozen

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
        drawn = draws()
        latents = self._points(tokens)
        self._agree()
        begins = not bool(self.started)
        if self.written.counts is None:  # a loaded state may hold no more than a codebook
            begins = begins or not bool(self.statistics.weight)
        due = begins or self._is_due()
        if self.revive is not None or (begins and isinstance(self.start, KMeans)):
            require_lasting(self.codebook, self.peers.owner)
        if begins:
            self._begin(latents)
        elif due:
            self.settle()
        if self.waiting is not None:
            self.waiting.add_(1)
        if self.affine is not None:
            self.affine.observe(latents, self.codebook.detach(), self.peers)
        if self.revive is not None and due and not begins:
            pick = (lambda: latents) if candidates is None else lambda: self._points(candidates())
            self._replace_dead_codes(pick, self.revive)
        if isinstance(self.update, Online) and self.update.immediate:
            codes = search(latents, self.code_vectors()).codes
            self._step(lambda vectors: batch_slope(vectors, latents, codes, self.peers))
        learned(self.generator, drew=draws() > drawn)

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
        if self.frozen:
            return
        all_or_nothing(self, self.codebook, self._settle, learns=True)

    def _settle(self) -> None:
        self._adopt()
        if self.waiting is not None:
            self.waiting.zero_()
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
            self._store_means(self.update.eps)

    def _points(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what codes are found for: the tokens, or their directions; with the graph."""
        if self.metric == "euclidean":
            return tokens
        return unit_rows(require_finite_latents(tokens))

    def _agree(self) -> None:
        """Take over the state of the first process, once, as DDP does when it is built."""
        if not self.peers.together() or self._ties.agreed:
            return
        if self.peers.is_first() and self._has_started():
            self._adopt()
        self.peers.copy_from_first([*self.parameters(), *self.buffers()])
        if not self.peers.is_first():
            self._note()
        self._ties.agreed = True

    def _is_due(self) -> bool:
        """Say whether averages are taken in, and codes revived, before this batch."""
        if self.statistics.held:
            return not bool(self.statistics.pending_counts.any())
        return self.waiting is None or int(self.waiting) >= self._every()

    def _every(self) -> int:
        return self.update.every if isinstance(self.update, EMA) else 1

    def _has_started(self) -> bool:
        return holds_numbers(self.started) and bool(self.started)

    def _is_given(self) -> bool:
        """Say whether the codebook was set by somebody whom a start or averages would overrule."""
        if self._has_started() and not isinstance(self.update, EMA):
            return False  # what moves it moves it from where it is
        if self._ties.in_shards(self.codebook):
            return False
        own = isinstance(self.update, Gradient) or not isinstance(self.codebook, nn.Parameter)
        return own and self.written.overruled(self.codebook, self.statistics.counts)

    def _adopt(self) -> None:
        """Let averages begin anew from a codebook that somebody set."""
        if self._is_given():
            self.statistics.restart(self.codebook)
            self._note()

    def _note(self) -> None:
        """Take the codebook as it is for the layer's own work."""
        if self._ties.in_shards(self.codebook):
            return
        if isinstance(self.update, EMA) or not self._has_started():
            self.written.note(self.codebook, self.statistics.counts)
        else:
            self.written.forget()

    def _begin(self, latents: torch.Tensor) -> None:
        if self.peers.is_first() and len(latents):
            statistics = self.statistics
            counts = statistics.counts.new_ones(self.codebook_size)
            debias = self.update.debias if isinstance(self.update, EMA) else True
            decay = self._decay() if debias else 0.0
            given = not isinstance(self.start, Uniform) and self._is_given()
            if isinstance(self.start, Given) or bool(self.started) or given:
                decay = 0.0
                tokens = len(latents) * self.peers.size() * self._every()
                counts *= max(1.0, tokens / self.codebook_size)
            elif isinstance(self.start, KMeans):
                found = cluster(
                    latents,
                    self.codebook.detach(),
                    iterations=self.start.iterations,
                    generator=self.generator,
                    unit=self.metric == "cosine",
                )
                self.codebook.copy_(found.codebook)
                counts = found.counts.clamp(min=1)
            statistics.begin(self.codebook, counts, decay)
            self.started.fill_(1.0)
        if self.waiting is not None:
            self.waiting.zero_()
        self.peers.copy_from_first([self.codebook, self.started, *self.statistics.buffers()])
        if isinstance(self.start, KMeans):
            self._lasts()
        self._note()

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
        self._note()

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
            self.codebook.copy_(unit_rows(self.codebook.detach()))
        self._lasts()

    def _store_means(self, eps: float) -> None:
        rows, vectors = self.statistics.means(eps)
        if self.metric == "cosine":
            vectors = unit_rows(vectors)
        vectors = vectors.to(self.codebook.dtype)
        self.codebook.index_copy_(0, rows, vectors)
        self._lasts()
        self.written.note_rows(rows, vectors, self.codebook, self.statistics.counts)

    def _lasts(self) -> None:
        """Let what was written to the codebook outlive the forward pass, where it is in shards."""
        require_lasting(self.codebook, self.peers.owner)
        self._ties.write_back(self.codebook)

    def _decay(self) -> float:
        return self.update.decay if isinstance(self.update, EMA) else _USAGE_DECAY

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "LearnedCodebook":
        given = self._is_given()
        super()._apply(fn, *args, **kwargs)
        if not given:
            self._note()
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._save_to_state_dict(destination, prefix, *args, **kwargs)
        if not self._has_started() and self._is_given():
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
            self.written.note(self.codebook, None)
        else:
            self.written.forget()


class Written(nn.Module):
    """What a layer itself last wrote into its codebook.

    A codebook that is another one was set by somebody: by assignment, ``copy_``, or a state that
    holds nothing but code vectors. Whoever replaces the counts along with it, as loaders of whole
    states do, says more than that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.codebook: torch.Tensor | None = None
        self.counts: torch.Tensor | None = None
        self._changes = 0

    @torch.inference_mode(False)  # what is made within could not be written to later
    @torch.no_grad()
    def note(self, codebook: torch.Tensor, counts: torch.Tensor | None) -> None:
        """Remember a codebook (K, D) and its counts (K,); without counts none are compared."""
        known = holds_numbers(codebook)
        self.codebook = codebook.detach().clone() if known else None
        self.counts = counts.clone() if known and counts is not None else None

    def note_rows(
        self,
        rows: torch.Tensor,
        vectors: torch.Tensor,
        codebook: torch.Tensor,
        counts: torch.Tensor,
    ) -> None:
        """Do the same where only some rows (M,) of the codebook have become other vectors."""
        own = self.codebook
        same = own is not None and (own.device, own.dtype) == (codebook.device, codebook.dtype)
        if own is None or not same or own.is_inference() or torch.is_inference_mode_enabled():
            self.note(codebook, counts)
            return
        self._changes += 1  # first: `remember` has to know, wherever Ctrl-C comes
        own.index_copy_(0, rows, vectors)
        self.counts = counts.clone()

    def forget(self) -> None:
        """Take any codebook for the layer's own until the next `note`."""
        self.codebook = self.counts = None

    def overruled(self, codebook: torch.Tensor, counts: torch.Tensor) -> bool:
        """Say whether somebody set the codebook since the layer wrote it, and not the counts."""
        own, before = self.codebook, self.counts
        if own is None or own.shape != codebook.shape or not holds_numbers(codebook):
            return False
        if torch.equal(own.to(codebook.device), codebook.detach()):
            return False
        return before is None or torch.equal(before.to(counts.device), counts)

    def remember(self) -> Callable[[], None]:
        """Return what puts the note back; see `all_or_nothing`."""
        note, changes = (self.codebook, self.counts), self._changes

        def restore() -> None:
            self.codebook, self.counts = note
            if self._changes != changes:  # to the very tensor
                self.forget()

        return restore
