"""The original's `Sequential`.

In: modules, one of them a quantizer. Out: its tuple, with the first entry led through the rest.
Must not know of any quantizer in particular.
"""

from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.errors import OptionError
from certvq.nn import BaseQuantizer

__getattr__ = names_of(__name__)


class Sequential(nn.Module):
    """Apply modules one after the other, exactly one of which is a quantizer.

    Args:
        *fns: the modules; the quantizer is one of this package, or of `certvq.nn`.
    """

    def __init__(self, *fns: nn.Module) -> None:
        super().__init__()
        count = sum(map(_quantizes, fns))
        if count != 1:
            text = f"Sequential must contain exactly one quantizer, got {count}"
            raise OptionError(text)
        self.fns = nn.ModuleList(fns)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> tuple[Any, ...]:
        """Return ``(x, *rest)``; keywords go to the quantizer."""
        rest: tuple[Any, ...] = ()
        for fn in self.fns:
            if _quantizes(fn):
                x, *others = fn(x, **kwargs)
                rest = tuple(others)
            else:
                x = fn(x)
        return (x, *rest)


def _quantizes(module: nn.Module) -> bool:
    return isinstance(module, BaseQuantizer | Translated)
