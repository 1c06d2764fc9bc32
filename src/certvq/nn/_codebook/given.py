"""Codebooks that the user gives: as an option, or by writing to a layer.

In: code vectors. Out: the option; whether a codebook is still the one that the layer itself wrote.
Must not search for codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn._core.layout import require_floats
from certvq.nn._core.options import checked
from certvq.nn._torch.modes import holds_numbers


@checked
@dataclass(frozen=True, eq=False)
class Given:
    """Start from code vectors that are there already, such as those of a trained model.

    Their averages begin as though they had been seen for long, each with an equal share of the
    tokens of the first batch, so that with `EMA` a batch moves them by ``1 - decay`` of the way.

    Attributes:
        codebook: (K, D) finite floats, copied. With ``metric="cosine"`` they are scaled to length
            one where the layer stores unit vectors.

    Raises:
        ShapeError: not two axes.
        DTypeError: no floats.
        NonFiniteError: NaN or infinity.

    Example:
        >>> Given(torch.zeros(512, 64))
        Given((512, 64))
    """

    codebook: torch.Tensor

    def __post_init__(self) -> None:
        if self.codebook.ndim != 2:
            text = f"Given codebook must be (K, D), got shape {tuple(self.codebook.shape)}"
            raise ShapeError(text)
        require_floats(self.codebook)
        if holds_numbers(self.codebook) and not bool(self.codebook.isfinite().all()):
            text = "Given codebook must be finite, got NaN or infinity; load another one"
            raise NonFiniteError(text)
        object.__setattr__(self, "codebook", self.codebook.detach().clone())

    def __repr__(self) -> str:
        return f"Given({tuple(self.codebook.shape)})"

    def require(self, codebook_size: int, dim: int) -> torch.Tensor:
        """Return the code vectors, on the CPU or on meta, of torch's default type of number.

        Raises:
            OptionError: they are not (codebook_size, dim).
        """
        if tuple(self.codebook.shape) != (codebook_size, dim):
            text = (
                f"the codebook of Given must be (codebook_size, dim) = {(codebook_size, dim)}, got "
                f"{tuple(self.codebook.shape)}"
            )
            raise OptionError(text)
        home = "meta" if self.codebook.is_meta else "cpu"  # loaders build on meta
        return self.codebook.to(home, torch.get_default_dtype())


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
