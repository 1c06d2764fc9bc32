"""A codebook that users read and set as they do with the original.

In: code vectors that a user gave. Out: a layer of certvq that goes on from them, and in which
nothing waits when somebody looks. Must not know of classes that hold layers.
"""

from typing import Any

import torch

from certvq.errors import DTypeError, ShapeError
from certvq.nn import EMA, VectorQuantize
from certvq.nn._core.latents import finite_error, require_dense
from certvq.nn._torch.modes import holds_numbers, recomputing, transforming


class Readable(VectorQuantize):
    """A `VectorQuantize` whose latest training batch is taken in before somebody looks."""

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
        """Go on from given code vectors.

        Running averages begin anew from them, each code with the mean count, at least one token
        or as many as a revived code seems to have. k-means will not start.

        Args:
            vectors: (K, D), as `code_vectors_given` returns them.
        """
        statistics, averages = self.statistics, isinstance(self.update, EMA)
        self.settle()
        self.codebook.copy_(vectors)
        if not bool(self.started):
            counts = torch.ones_like(statistics.counts)
            statistics.begin(self.codebook, counts, 0.0 if averages else self._decay())
            self.started.fill_(True)
        fresh = statistics.weight if self.revive is None else self.revive.fresh(statistics)
        statistics.restart(self.codebook, torch.maximum(fresh, statistics.weight))
        self._note()

    @torch.no_grad()
    def write(self) -> None:
        """Make code vectors of the averages."""
        if isinstance(self.update, EMA):
            self._store_means(self.update.eps)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self.settle_for_readers()
        super()._save_to_state_dict(destination, prefix, keep_vars)


def code_vectors_given(given: object, like: torch.Tensor, name: str) -> torch.Tensor:
    """Read what a user sets as code vectors.

    Args:
        given: what was set.
        like: the code vectors that there are.
        name: of the attribute that was set.

    Returns:
        The same numbers, of the type and on the device of `like`.

    Raises:
        DTypeError: no dense tensor of floats.
        ShapeError: another shape.
        NonFiniteError: NaN or infinity, also one that the type of number makes.
    """
    require_dense(given, name)
    assert isinstance(given, torch.Tensor)
    if not given.is_floating_point():
        got = str(given.dtype).removeprefix("torch.")
        text = f"{name} must hold floats, got {got}; convert them"
        raise DTypeError(text)
    if given.shape != like.shape:
        text = f"{name} must have shape {tuple(like.shape)}, got {tuple(given.shape)}"
        raise ShapeError(text)
    numbers = given.detach().to(like)
    error = finite_error(numbers.reshape(-1, like.shape[-1]), name)
    if error is not None:
        raise error
    return numbers
