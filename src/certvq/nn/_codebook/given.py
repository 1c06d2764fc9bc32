"""A start from code vectors that are there already.

In: code vectors. Out: the option. Must not search for codes.
"""

from dataclasses import dataclass

import torch

from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn._core.latents import require_floats
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
