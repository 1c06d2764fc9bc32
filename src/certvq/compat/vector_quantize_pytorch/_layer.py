"""One codebook that learns by the original's keywords.

In: tokens, one a row. Out: codes and code vectors. What certvq's own layer does at the beginning of
each training forward happens here too, in parts that the original's arguments switch off. Must not
know of layouts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from certvq import bounds
from certvq.assign import assign
from certvq.compat.vector_quantize_pytorch._maps import wide_type
from certvq.compat.vector_quantize_pytorch._readable import Readable
from certvq.errors import TransformError
from certvq.nn import EMA, Gumbel, KMeans, Online
from certvq.nn._core import search as _search
from certvq.nn._core import similarity as _similarity
from certvq.nn._core.search import assign_operator
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import beneath, transforming, widened

Weight: TypeAlias = float | torch.Tensor | Callable[..., torch.Tensor]
"""How much codes move: a number, (K,), (h, K), or what makes that of a batch's sums and counts."""

_CHUNK = 1 << 20
"""Numbers of a chunk of differences."""


@dataclass(frozen=True)
class Search:
    """What one forward asks of a layer.

    Attributes:
        count: how many codes of each token are wanted; None is one, without an axis.
        sample: how codes are drawn; None is the nearest.
        transform: makes code vectors (N, K, D) of each token's own out of (K, D), or None.
    """

    count: int | None = None
    sample: Gumbel | None = None
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class Hit:
    """What a layer found.

    Attributes:
        points: (N, D), tokens or their directions, with the graph.
        book: (K, D), code vectors in use, with the graph.
        codes: int64 (N,) or (N, count).
        vectors: code vectors of the codes, with the graph: (N, D) or (N, count, D).
        sqdist: float64 (N,), where the codes are the nearest ones.
    """

    points: torch.Tensor
    book: torch.Tensor
    codes: torch.Tensor
    vectors: torch.Tensor
    sqdist: torch.Tensor | None


class Layer(Readable):
    """`VectorQuantize` with the original's switches.

    Attributes:
        writes: whether averages become code vectors.
        by_hand: whether averages become code vectors, and the inner optimiser steps, only when the
            user says so.
        step_loss: codebook loss before the latest step of the inner optimiser.
        left: (K, D), the codebook as the latest training forward left it; only where it is a
            parameter beside its averages (`free`).
    """

    left: torch.Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        decay: float,
        bridge: nn.Module | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, codebook_size, **options)
        self._rate = decay
        self._bridge = [bridge]  # in a list: the state dict has it at the owner
        self.writes = True
        self.by_hand = False
        self.step_loss: torch.Tensor | None = None
        self.statistics.begin(self.codebook.detach(), torch.ones(codebook_size), 0.0)
        self.started.fill_(not isinstance(self.start, KMeans))
        self._note()

    def free(self) -> None:
        """Make the codebook a parameter, which an optimiser may move beside the averages."""
        if isinstance(self.codebook, nn.Parameter):
            return
        codebook = self.codebook
        del self.codebook
        self.codebook = nn.Parameter(codebook)
        if isinstance(self.update, EMA):
            self.register_buffer("left", codebook.clone())

    def remember(self) -> Callable[[], None]:
        """Return what puts back the state that is no tensor."""
        before = super().remember()
        state = self.writes, self.step_loss, self.statistics.held

        def restore() -> None:
            before()
            self.writes, self.step_loss, self.statistics.held = state

        return restore

    def code_vectors(self) -> torch.Tensor:
        """Return the code vectors in use, behind the bridge if there is one."""
        vectors = super().code_vectors()
        bridge = self._bridge[0]
        return vectors if bridge is None else bridge(vectors[None])[0]

    @torch.no_grad()
    def settle(self) -> None:
        """Take in what waits, unless the user does so by hand.

        The step that an optimiser has taken since the training forward (`free`) is added to it.
        """
        if self._ties.in_shards(self.codebook):
            return  # in shards between forward passes: the next one takes in what waits
        if not isinstance(self.update, EMA):
            super().settle()
            return
        self._adopt()
        if self.statistics.average(self.update.decay) and self.writes and not self.by_hand:
            moved = self.codebook - self.left if hasattr(self, "left") else None
            if moved is not None:
                self.codebook.copy_(self.left)
            self.write()
            if moved is not None:
                self.codebook += moved
                self._lasts()
                self._note()

    def write(self) -> None:
        """Make code vectors of the averages; see `Readable`."""
        super().write()
        self._leave()

    def _leave(self) -> None:
        """Take the codebook as it is for what an optimiser starts from."""
        if hasattr(self, "left"):
            self.left.copy_(self.codebook.detach())

    def give(self, vectors: torch.Tensor) -> None:
        """Go on from given code vectors; see `Readable`."""
        super().give(vectors)
        self._leave()

    def moves(self, keeping: "Keeping") -> bool:
        """Say whether train mode without freezing changes anything of the layer."""
        return (
            keeping.writes
            or self.revive is not None
            or self.affine is not None
            or self.inner_optimizer is not None
            or not bool(beneath(self.started).all())
        )

    def require_settled(self) -> None:
        """Require that no batch waits to be learned from, which would happen at the next one.

        Raises:
            TransformError: one does.
        """
        statistics = self.statistics
        if not statistics.held and bool(beneath(statistics.pending_counts).any()):
            text = (
                "a layer must change nothing under torch.func, got a batch that waits to be "
                "learned from; call .eval() once, which takes it in"
            )
            raise TransformError(text)

    def refresh(self, tokens: torch.Tensor, *, frozen: bool) -> None:
        """Do what precedes the search in train mode.

        Args:
            tokens: (N, D), detached and checked.
            frozen: whether nothing is to be learned from this batch.
        """
        if transforming():  # which has been allowed because nothing would change
            return
        if frozen:
            if bool(self.started):
                self.settle()
            return
        self.learn_tokens(tokens)

    def find(self, tokens: torch.Tensor, search: Search) -> Hit:
        """Search with the codebook as it is."""
        points = self._points(tokens)
        latents, book = points.detach(), self.code_vectors()
        if search.transform is not None:
            return self._find_own(points, book, search.transform)
        sqdist = None
        if search.sample is not None:
            codes = _draw(search.sample, latents, book.detach(), search.count)
        elif search.count is not None:
            codes = self.rank_tokens(tokens, search.count).codes
        else:
            found = _search.search(latents, book)
            codes, sqdist = found.codes, found.sqdist
        return Hit(points, book, codes, nn.functional.embedding(codes, book), sqdist)

    def keep(self, hit: Hit, options: "Keeping") -> None:
        """Keep the counts and sums of a batch for the next forward."""
        self.observe_now(hit.points.detach(), hit.codes)
        self.statistics.held = options.accumulate
        self.writes = options.writes
        self._leave()

    def pending(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return copies of the sums and counts that wait."""
        statistics = self.statistics
        counts = statistics.pending_counts
        sums = statistics.pending_sums if statistics.width else counts.new_zeros(len(counts), 0)
        return sums.clone(), counts.clone()

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
        self._agree()
        self.settle()
        self.writes = True
        self.observe_now(self._points(tokens).detach(), codes)
        self.settle()

    @torch.no_grad()
    def expire(self, tokens: torch.Tensor) -> None:
        """Replace dead codes by tokens."""
        if self.revive is not None:
            self._replace_dead_codes(lambda: self._points(tokens), self.revive)

    def step(self) -> None:
        """Let the inner optimiser take the step that was put off."""
        inner = self.inner_optimizer
        if inner is not None and inner.vectors.grad is not None:
            inner.step(self.codebook)

    @torch.no_grad()
    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Learn as certvq does; keep the loss before an inner step."""
        if isinstance(self.update, Online):
            found = assign_operator(self._points(tokens), self.code_vectors().detach())[2]
            self.step_loss = (found.sum() / max(1, tokens.numel())).to(wide_type(self.codebook))
        super().learn_tokens(tokens, candidates=candidates)

    def _decay(self) -> float:
        return self._rate

    def _step(self, slope: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
        if not self.by_hand or self.inner_optimizer is None:
            super()._step(slope)
            return
        by_vectors = slope(self.code_vectors().detach())
        if by_vectors is not None:
            factor = 1.0 if self.affine is None else self.affine.ratio().to(by_vectors.dtype)
            self.inner_optimizer.add(by_vectors * factor)

    def _find_own(
        self,
        points: torch.Tensor,
        book: torch.Tensor,
        transform: Callable[[torch.Tensor], torch.Tensor],
    ) -> Hit:
        books = transform(book)
        if self.metric == "cosine":
            books = nn.functional.normalize(books, dim=-1, eps=1e-6)
        if transforming():
            (codes,) = apart(_nearest, [points, books], [])
        else:
            codes = nearest_of_own(points.detach(), books.detach())
        rows = torch.arange(codes.shape[0], device=codes.device)
        return Hit(points, book, codes, books[rows, codes], None)


@dataclass(frozen=True)
class Keeping:
    """How the statistics of a batch are kept: the original's arguments of `forward`."""

    writes: bool = True
    accumulate: bool = False
    weight: Weight | None = None


def _nearest(points: torch.Tensor, books: torch.Tensor) -> tuple[torch.Tensor]:
    return (nearest_of_own(points, books),)


def nearest_of_own(points: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Find the nearest code of each latent in a codebook of its own.

    Args:
        points: (N, D), finite.
        books: (N, K, D), finite.

    Returns:
        int64 (N,).

    Guarantee: that of `certvq.assign`, row by row: a row is decided by float64 squared distances if
        their intervals do not meet (`bounds.sqdist_lower`), and by `certvq.assign` otherwise.
    Ties: the lowest index.
    """
    rows, size, dim = books.shape
    codes = torch.empty(rows, dtype=torch.int64, device=points.device)
    step = max(1, _CHUNK // max(1, size * dim))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        difference = widened(points[part, None]) - widened(books[part])
        computed = difference.square_().sum(dim=2)
        least = computed.min(dim=1)
        codes[part] = least.indices.to(codes.device)
        reach = bounds.sqdist_upper(least.values.cpu().numpy(), dim)
        open_rows = (bounds.sqdist_lower(computed.cpu().numpy(), dim) <= reach[:, None]).sum(1) != 1
        for row in torch.from_numpy(open_rows).nonzero().flatten().tolist():
            place = start + row
            codes[place] = assign(points[place : place + 1], books[place]).codes[0]
    return codes


def _draw(
    sample: Gumbel, latents: torch.Tensor, book: torch.Tensor, count: int | None
) -> torch.Tensor:
    if count is None:
        codes = sample.choose(latents, book, None)
        assert codes is not None
        return codes
    metric = "cosine" if sample.cosine else "euclidean"
    drawn = torch.empty(len(latents), count, dtype=torch.int64, device=latents.device)
    for part in _similarity.chunks(len(latents), len(book)):
        level = _similarity.similarity(latents[part], book, metric) / sample.temperature
        noise = torch.empty_like(level).exponential_().log_()
        drawn[part] = (level - noise).topk(count, dim=1).indices
    return drawn
