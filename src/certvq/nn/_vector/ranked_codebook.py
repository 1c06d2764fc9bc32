"""What a codebook says of several codes of each latent: the nearest ones, how unlikely each is.

In: latents, and codes to compare. Out: ranked codes; a cross entropy. Changes nothing. Must not
know of estimators.
"""

from typing import Any

import torch

from certvq.assign import Ranking, rank
from certvq.errors import ExportError, ShapeError
from certvq.nn._core import similarity as _similarity
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.latents import (
    PADDING,
    among_padding,
    check_batch,
    finite_error,
    kept_rows,
    require_same_device,
)
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import recorded, transforming
from certvq.nn._vector.learned_codebook import LearnedCodebook


class RankedCodebook(LearnedCodebook):
    """A learned codebook that compares codes with each other; its options are those of that."""

    def rank_tokens(self, tokens: torch.Tensor, count: int) -> Ranking:
        """Return the `count` nearest codes of each token; see `certvq.rank`."""
        with torch.autocast(tokens.device.type, enabled=False):
            return _rank(self._points(tokens).detach(), self.code_vectors().detach(), count)

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
        codes = _rank(rows.detach(), self.code_vectors().detach(), count).codes
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
        return _similarity.cross_entropy(self._points(tokens), vectors, wanted, self.metric)


def _rank(latents: torch.Tensor, vectors: torch.Tensor, count: int) -> Ranking:
    if recorded():
        text = (
            f"a ranking of the {count} nearest codes has no operator in graphs, got a layer with a "
            "Beam; export it with beam=None, or export decode alone"
        )
        raise ExportError(text)
    if torch.compiler.is_compiling():  # a compiler would compute NumPy's part in its own way
        untraced: Any = torch.compiler.disable(rank)
        ranking: Ranking = untraced(latents, vectors, count)
        return ranking
    if not transforming():
        return rank(latents, vectors, count)

    def step(rows: torch.Tensor, book: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = rank(rows, book, count)
        return found.codes, found.sqdist

    return Ranking(*apart(step, [latents], [vectors]))
