"""One codebook that learns and costs by the original's keywords.

In: tokens, one a row. Out: `Found`, with the terms of the original's loss. Layers of
`VectorQuantize` and levels of `ResidualVQ` and `HierarchicalVQ` are of this class. Must not know of
layouts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import torch
from torch import nn
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._codebook import CodebookView, code_vectors_given
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._tensors import wide_type
from certvq.errors import TransformError
from certvq.nn import (
    EMA,
    PADDING,
    Estimator,
    Found,
    Gumbel,
    KMeans,
    Online,
    Orthogonal,
    VectorQuantize,
)
from certvq.nn._core import search as _search
from certvq.nn._core import similarity as _similarity
from certvq.nn._core.codes import require_range
from certvq.nn._core.losses import known_mean_square, mean_square
from certvq.nn._core.uncompiled import observe
from certvq.nn._regularizers.regularizer import Batch
from certvq.nn._torch.modes import (
    beneath,
    holds_numbers,
    is_batched,
    is_differentiated,
    recomputing,
    transforming,
)
from certvq.nn._vector.neural_codebook import nearest_of_own

Weight: TypeAlias = float | torch.Tensor | Callable[..., torch.Tensor]
"""How much codes move: a number, (K,), (h, K), or what makes that of a batch's sums and counts."""

_Result = TypeVar("_Result")

TERMS: Final[list[str]] = ["commitment", "codebook_diversity", "orthogonal_reg"]
"""The terms of the loss."""

_BLOCK = 1 << 20
"""Numbers of code vectors of tokens' own that are compared at a time."""


@dataclass(frozen=True)
class Call:
    """What one forward pass asks of a layer.

    Attributes:
        frozen: whether nothing is learned from the batch.
        averages: whether averages become code vectors; None is what the keywords say.
        accumulate: whether the batch waits until another one is added to it.
        temperature: of codes that are drawn; None is that of the keywords.
        count: how many codes of each token are wanted; None is one, without an axis.
        transform: makes code vectors (N, K, D) of each token's own out of (K, D), or None.
        wanted: codes (N,) of which the cross entropy takes the place of the loss; -1 is left out.
        against: whether those are the codes that `choose_tokens` is given.
        grid: number of samples and of places in each, where all tokens count.
        routed: whether latents get a gradient; None is whether the tokens have one.
        commits: whether eval mode has a commitment loss.
    """

    frozen: bool = False
    averages: bool | None = None
    accumulate: bool = False
    temperature: float | None = None
    count: int | None = None
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None
    wanted: torch.Tensor | None = None
    against: bool = False
    grid: tuple[int, int] | None = None
    routed: bool | None = None
    commits: bool = False


class _Hit(NamedTuple):
    """What a search found, with its graph; `sqdist` where the codes are the nearest ones."""

    points: torch.Tensor
    book: torch.Tensor
    codes: torch.Tensor
    vectors: torch.Tensor
    sqdist: torch.Tensor | None = None


class Sought(NamedTuple):
    """What `Found` is, where ``Call.count`` codes of each token are wanted with a loss of each."""

    vectors: torch.Tensor
    codes: torch.Tensor
    loss: torch.Tensor
    figures: dict[str, torch.Tensor]


class Layer(VectorQuantize):
    """A `VectorQuantize` with the original's switches.

    Its figures are the terms of the loss by the names of `LossBreakdown`, with their graph; with
    `Call.wanted` the loss is a sum, and ``given`` how many codes it is about.

    Attributes:
        options: the keywords.
        call: what the forward pass that runs has asked for.
        commits: whether the loss has a commitment term.
        writes: whether averages become code vectors.
        step_loss: codebook loss before the latest step of the inner optimiser.
        left: (K, D), the codebook as the latest training forward left it; only where it is a
            parameter beside its averages (`orthogonal_reg_weight`).
    """

    left: torch.Tensor

    def __init__(self, dim: int, codebook_size: int, options: Options) -> None:
        super().__init__(dim, codebook_size, **options.layer(dim, codebook_size))
        self.options = options
        self.call = Call()
        self.commits = options.commits
        self.writes = True
        self.step_loss: torch.Tensor | None = None
        self.statistics.begin(self.codebook.detach(), torch.ones(codebook_size), 0.0)
        self.started.fill_(not isinstance(self.start, KMeans))
        if options.orthogonal_reg_weight > 0.0 and not isinstance(self.codebook, nn.Parameter):
            codebook = self.codebook
            del self.codebook
            self.codebook = nn.Parameter(codebook)
            if isinstance(self.update, EMA):
                self.register_buffer("left", codebook.clone())
        self.book.note(self)

    def __setattr__(self, name: str, value: Any) -> None:
        """Copy code vectors that a user assigns, as `VectorQuantize.codebook` does."""
        kept = [vars(self).get(kind, {}) for kind in ("_buffers", "_parameters")]
        own = next((each[name] for each in kept if name == "codebook" and name in each), None)
        loading = own is not None and (own.is_meta or getattr(value, "is_meta", False))
        if own is not None and type(value) is torch.Tensor and not loading:
            self.give(code_vectors_given(value, own, name))
        else:
            super().__setattr__(name, value)

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView([self])

    @property
    def use_cosine_sim(self) -> bool:
        """Whether codes are compared by cosine similarity."""
        return self.metric == "cosine"

    @property
    def at_rest(self) -> bool:
        return self.frozen or self.call.frozen or (transforming() and not self._moves())

    def remember(self) -> Callable[[], None]:
        before = super().remember()
        state = self.writes, self.step_loss, self.statistics.held, self.call

        def restore() -> None:
            before()
            self.writes, self.step_loss, self.statistics.held, self.call = state

        return restore

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, behind the bridge if there is one."""
        vectors, bridge = super().code_vectors(), self.options.vq_bridge
        return vectors if bridge is None else bridge(vectors[None])[0]

    def reach(self, largest: float) -> float:
        """Bound the code vectors; see `Quantizer`. What a bridge makes of them is not known."""
        return super().reach(largest) if self.options.vq_bridge is None else float("inf")

    # How it learns

    @torch.no_grad()
    def settle(self) -> None:
        """Take in what waits, unless the user does so by hand.

        The step that an optimiser has taken since the training forward (`left`) is added to it.
        """
        if self.book.ties.in_shards(self.codebook) or self.frozen:
            return  # in shards between forward passes: the next one takes in what waits
        if not isinstance(self.update, EMA):
            super().settle()
            return
        self.book.adopt(self)
        by_hand = self.options.manual_ema_update
        if self.statistics.average(self.update.decay) and self.writes and not by_hand:
            moved = self.codebook - self.left if hasattr(self, "left") else None
            if moved is not None:
                self.codebook.copy_(self.left)
            self.write()
            if moved is not None:
                self.codebook += moved
                self.book.keep(self)
                self.book.note(self)

    @torch.no_grad()
    def write(self) -> None:
        """Make code vectors of the averages."""
        if isinstance(self.update, EMA):
            self.book.store_means(self)
        self._leave()

    def settle_for_readers(self) -> None:
        """Take in what waits of the latest training batch; the original has done so already.

        Nothing happens in eval mode, nor where numbers cannot be looked at: within transformations,
        compiled programs and backward passes.
        """
        blind = torch.compiler.is_compiling() or transforming() or recomputing()
        if not self.training or blind or not holds_numbers(self.statistics.counts):
            return
        if not self.statistics.held and bool(self.statistics.pending_counts.any()):
            self.settle()

    @torch.no_grad()
    def give(self, vectors: torch.Tensor) -> None:
        """Go on from given code vectors (K, D), as `code_vectors_given` returns them.

        Running averages begin anew from them, and k-means will not start.
        """
        statistics, averages = self.statistics, isinstance(self.update, EMA)
        self.settle()
        self.codebook.copy_(vectors)
        if not bool(self.started):
            counts = torch.ones_like(statistics.counts)
            statistics.begin(self.codebook, counts, 0.0 if averages else self.decay())
            self.started.fill_(True)
        self.book.restart(self)
        self._leave()

    @torch.no_grad()
    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Do what precedes the search in train mode; keep the loss before an inner step."""
        if transforming() and not self._moves():
            self._require_settled()
            return
        if self.call.frozen or self.frozen:
            if transforming():
                self._require_settled()
            elif bool(self.started):
                self.settle()
            return
        if isinstance(self.update, Online):
            found = _search.search(self._points(tokens), self.code_vectors()).sqdist
            self.step_loss = (found.sum() / max(1, tokens.numel())).to(wide_type(self.codebook))
        super().learn_tokens(tokens, candidates=candidates)

    @torch.no_grad()
    def observe_now(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Keep the counts and sums of a batch for the next forward."""
        if not self.observes:
            return
        super().observe_now(tokens, codes)
        self.statistics.held, self.writes = self.call.accumulate, self._averages()
        self._leave()

    @property
    def observes(self) -> bool:
        """Whether the forward pass that runs keeps counts and sums."""
        kept = self._averages() or self.options.threshold_ema_dead_code > 0
        return kept and self.call.count is None and not (self.frozen or self.call.frozen)

    def pending(self) -> list[torch.Tensor]:
        """Return copies of the sums and counts that wait."""
        statistics = self.statistics
        counts = statistics.pending_counts
        sums = statistics.pending_sums if statistics.width else counts.new_zeros(len(counts), 0)
        return [sums.clone(), counts.clone()]

    def weigh(self, share: torch.Tensor) -> None:
        """Let codes move by a share (K,) of their own: what waits moves towards what there is."""
        statistics = self.statistics
        counts = statistics.pending_counts
        share = share.to(counts)
        counts.copy_(torch.lerp(statistics.counts, counts, share))
        if statistics.width:
            sums = statistics.pending_sums
            sums.copy_(torch.lerp(statistics.sums, sums, share[:, None]))

    def feed(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Learn at once from tokens whose codes somebody else chose."""
        self.book.agree(self)
        self.settle()
        self.call = Call(averages=True)
        self.observe_now(self._points(tokens).detach(), codes)
        self.settle()

    @torch.no_grad()
    def expire(self, tokens: torch.Tensor) -> None:
        """Replace dead codes by tokens."""
        if self.revive is not None and not self.frozen:
            self.book.replace_dead_codes(self, lambda: self._points(tokens))

    def update_in_place_optimizer(self) -> None:
        """Let the inner optimiser take the step that was put off."""
        inner = self.inner_optimizer
        if inner is not None and inner.vectors.grad is not None:
            inner.step(self.codebook)

    def _averages(self) -> bool:
        given = self.call.averages
        return self.options.averages if given is None else given

    def _moves(self) -> bool:
        """Say whether a forward pass in train mode changes anything."""
        if self.frozen or self.call.frozen:
            return False
        learns = self.revive is not None or self.affine is not None
        return (
            self._averages()
            or learns
            or self.inner_optimizer is not None
            or not bool(beneath(self.started).all())
        )

    def _require_settled(self) -> None:
        """Require that no batch waits to be learned from, which would happen at the next one."""
        statistics = self.statistics
        if not statistics.held and bool(beneath(statistics.pending_counts).any()):
            text = (
                "a layer must change nothing under torch.func, got a batch that waits to be "
                "learned from; call .eval() once, which takes it in"
            )
            raise TransformError(text)

    def _leave(self) -> None:
        """Take the codebook as it is for what an optimiser starts from."""
        if hasattr(self, "left"):
            self.left.copy_(self.codebook.detach())

    def decay(self) -> float:
        return self.options.decay

    def step_down(self, slope: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
        if not self.options.manual_in_place_optimizer_update or self.inner_optimizer is None:
            super().step_down(slope)
            return
        by_vectors = slope(self.code_vectors().detach())
        if by_vectors is not None:
            factor = 1.0 if self.affine is None else self.affine.ratio().to(by_vectors.dtype)
            self.inner_optimizer.add(by_vectors * factor)

    def _save_to_state_dict(self, destination: Any, *args: Any, **kwargs: Any) -> None:
        self.settle_for_readers()
        super()._save_to_state_dict(destination, *args, **kwargs)

    # What it finds

    def choose_tokens(self, tokens: torch.Tensor, *, codes: torch.Tensor | None = None) -> Found:
        return Found(*self.find(tokens, codes=codes))

    def find(self, tokens: torch.Tensor, *, codes: torch.Tensor | None = None) -> Sought:
        """Do what `choose_tokens` does, also where several codes of each token are wanted."""
        hit = self._hit(tokens, codes)
        vectors = self._estimated(hit, tokens)
        wanted, figures = codes if self.call.against else self.call.wanted, {}
        if wanted is None:
            figures = self._terms(hit)
            loss = self.total(figures)
        else:
            loss, count = self._cross_entropy(hit, wanted)
            figures["given"] = torch.tensor(count)
        if self.training and torch.compiler.is_compiling():
            observe(self, hit.points.detach(), hit.codes)
        elif self.training:
            self.observe_now(hit.points.detach(), hit.codes)
        return Sought(vectors, hit.codes, loss, figures)

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weigh the terms of the loss."""
        if not self.training:
            return terms["commitment"] * (self.commitment_weight if self.commits else 1.0)
        commitment = terms["commitment"] * self.commitment_weight
        diversity = terms["codebook_diversity"] * self.options.codebook_diversity_loss_weight
        return diversity + commitment + terms["orthogonal_reg"] * self.options.orthogonal_reg_weight

    def _hit(self, tokens: torch.Tensor, codes: torch.Tensor | None) -> _Hit:
        call, options, temperature = self.call, self.options, self._temperature()
        points, book, sqdist = self._points(tokens), self.code_vectors(), None
        if call.transform is not None:
            books = call.transform(book)
            if self.metric == "cosine":
                books = functional.normalize(books, dim=-1, eps=1e-6)
            rows = max(1, _BLOCK // max(1, books[0].numel())) if len(books) else 1
            parts = zip(points.detach().split(rows), books.detach().split(rows), strict=True)
            codes = torch.cat([nearest_of_own(*part) for part in parts])
            places = torch.arange(codes.shape[0], device=codes.device)
            return _Hit(points, book, codes, books[places, codes])
        if codes is not None:  # what a search over several levels has chosen
            return _Hit(points, book, codes, functional.embedding(codes, book))
        chosen: torch.Tensor
        if self.training and options.stochastic_sample_codes and temperature > 0.0:
            chosen = self._draw(points.detach(), book.detach(), temperature)
        elif call.count is not None:
            chosen = self.rank_tokens(tokens, call.count).codes
        else:
            found = _search.search(points.detach(), book)
            chosen, sqdist = found.codes, found.sqdist
        return _Hit(points, book, chosen, functional.embedding(chosen, book), sqdist)

    def _temperature(self) -> float:
        given = self.call.temperature
        return self.options.sample_codebook_temp if given is None else given

    def _draw(self, points: torch.Tensor, book: torch.Tensor, temperature: float) -> torch.Tensor:
        count = self.call.count
        if count is None:
            return Gumbel(temperature, cosine=self.use_cosine_sim).choose(points, book, None)
        drawn = torch.empty(len(points), count, dtype=torch.int64, device=points.device)
        for part in _similarity.chunks(len(points), len(book)):
            level = _similarity.similarity(points[part], book, self.metric) / temperature
            noise = torch.empty_like(level).exponential_().log_()
            drawn[part] = (level - noise).topk(count, dim=1).indices
        return drawn

    def _estimated(self, hit: _Hit, tokens: torch.Tensor) -> torch.Tensor:
        """Return the vectors with the gradients that the original gives them."""
        call, options, vectors = self.call, self.options, hit.vectors
        if "codebook" not in dict(self.named_parameters(recurse=False)):
            vectors = vectors.detach()
        if not self.training:
            return vectors
        routed = is_differentiated(tokens) if call.routed is None else call.routed
        if not (routed and options.route_gradients_to_input):
            temperature = self._temperature()
            if options.straight_through and temperature > 0.0 and hit.codes.ndim == 1:
                soft = Gumbel(temperature, soft=True, cosine=self.use_cosine_sim)
                return soft.estimate(hit.points, hit.book, hit.codes, None)
            return vectors
        points = hit.points[:, None].expand_as(vectors) if vectors.ndim == 3 else hit.points
        result = estimated(self.estimator, points, hit.vectors)
        if options.sync_update_v > 0.0:
            result = result + options.sync_update_v * (result - result.detach())
        return result

    # What it costs

    def _terms(self, hit: _Hit) -> dict[str, torch.Tensor]:
        options, several = self.options, hit.codes.ndim == 2
        zero = hit.points.new_zeros((), dtype=wide_type(hit.points))
        terms: dict[str, torch.Tensor] = dict.fromkeys(TERMS, zero)
        commits = self.commits
        learns = self.training and options.learns and not self.call.frozen
        vectors = hit.vectors if learns else hit.vectors.detach()
        if several and (commits or not self.training):
            points = hit.points.to(zero.dtype)[:, None]
            terms["commitment"] = (points - vectors).square().mean(dim=-1)
        elif self.training and commits and options.commitment_use_cross_entropy_loss:
            terms["commitment"] = self._cross_entropy(hit, hit.codes)[0] / max(1, len(hit.codes))
        elif (self.training and commits) or self.call.commits:
            terms["commitment"] = (
                mean_square(vectors, hit.points)
                if hit.sqdist is None
                else known_mean_square(vectors, hit.points, hit.sqdist)
            )
        if self.training and options.codebook_diversity_loss_weight > 0.0:
            points, grid = hit.points[None], self.call.grid
            if grid is not None and hit.points.numel():  # the mean over samples, place by place
                points = hit.points.reshape(*grid, -1, self.dim).movedim(1, 0).flatten(1, 2)
            terms["codebook_diversity"] = _similarity.negative_entropy(
                points, hit.book, options.codebook_diversity_temperature, self.metric
            )
        if self.training and options.orthogonal_reg_weight > 0.0:
            active = options.orthogonal_reg_active_codes_only
            term = Orthogonal(1.0, options.orthogonal_reg_max_codes, active)
            vectors = self.codebook.clone()  # which later batches move before the backward pass
            seen = Batch(hit.points, vectors, hit.codes, self.metric, None)
            if len(hit.codes) or not active:
                terms["orthogonal_reg"] = term.penalty(seen)
        return terms

    def _cross_entropy(self, hit: _Hit, wanted: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return the sum of the cross entropies against codes (N,), and of how many; not of -1."""
        given = _given_rows(wanted)
        codes = wanted if given is None else wanted[given]
        points = hit.points if given is None else hit.points[given]
        require_range(codes, self.codebook_size)
        mean = _similarity.cross_entropy(points, hit.book, codes, self.metric)
        return mean * len(codes), len(codes)


def asked(layers: Sequence[Layer], calls: Sequence[Call], step: Callable[[], _Result]) -> _Result:
    """Run a step with what it asks of each layer."""
    before = [layer.call for layer in layers]
    try:
        for layer, call in zip(layers, calls, strict=True):
            layer.call = call
        return step()
    finally:
        for layer, call in zip(layers, before, strict=True):
            layer.call = call


def estimated(estimator: Estimator, latents: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Estimate the gradient of latents (..., d) from vectors of their own, (..., d)."""
    rows, own = latents.reshape(-1, latents.shape[-1]), vectors.reshape(-1, vectors.shape[-1])
    places = torch.arange(own.shape[0], device=own.device)
    return estimator.estimate(rows, own, places, None).reshape(vectors.shape)


def with_gradient(loss: torch.Tensor) -> torch.Tensor:
    """Let a loss be differentiated where nothing of it has a gradient, as the original's can be.

    With latents that have none, the averages alone learn, and training code still calls `backward`.
    """
    return loss + torch.zeros_like(loss, requires_grad=True)


def _given_rows(codes: torch.Tensor) -> torch.Tensor | None:
    """Return which codes (N,) are not -1, bool; None where none is."""
    given = codes != PADDING
    if not transforming():
        return given
    if bool(beneath(given).all()):
        return None
    if is_batched(given):
        text = (
            "indices of -1 must stand at the same places in all samples of torch.func.vmap, as "
            "they say how many tokens count, got indices of their own for each sample; close over "
            "one tensor of indices, or give the samples one after the other"
        )
        raise TransformError(text)
    return beneath(given)
