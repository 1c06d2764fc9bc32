"""The original's `Sequential`.

In: modules, one of them a quantizer. Out: its tuple, with the first entry led through the rest.
Must not know of any quantizer in particular.
"""

from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch.finite_scalar_perturbation import FSP as FSP
from certvq.compat.vector_quantize_pytorch.finite_scalar_quantization import FSQ as FSQ
from certvq.compat.vector_quantize_pytorch.hierarchical_vq import HierarchicalVQ as HierarchicalVQ
from certvq.compat.vector_quantize_pytorch.latent_quantization import (
    LatentQuantize as LatentQuantize,
)
from certvq.compat.vector_quantize_pytorch.lookup_free_quantization import LFQ as LFQ
from certvq.compat.vector_quantize_pytorch.random_projection_quantizer import (
    RandomProjectionQuantizer as RandomProjectionQuantizer,
)
from certvq.compat.vector_quantize_pytorch.residual_fsq import (
    GroupedResidualFSQ as GroupedResidualFSQ,
)
from certvq.compat.vector_quantize_pytorch.residual_fsq import ResidualFSQ as ResidualFSQ
from certvq.compat.vector_quantize_pytorch.residual_lfq import (
    GroupedResidualLFQ as GroupedResidualLFQ,
)
from certvq.compat.vector_quantize_pytorch.residual_lfq import ResidualLFQ as ResidualLFQ
from certvq.compat.vector_quantize_pytorch.residual_sim_vq import ResidualSimVQ as ResidualSimVQ
from certvq.compat.vector_quantize_pytorch.residual_vq import GroupedResidualVQ as GroupedResidualVQ
from certvq.compat.vector_quantize_pytorch.residual_vq import ResidualVQ as ResidualVQ
from certvq.compat.vector_quantize_pytorch.sim_vq import SimVQ as SimVQ
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import (
    VectorQuantize as VectorQuantize,
)
from certvq.errors import OptionError
from certvq.nn import BaseQuantizer

__getattr__ = absent(__name__)


class Sequential(nn.Module):
    """Apply modules one after the other, exactly one of which is a quantizer.

    Args:
        *fns: the modules; the quantizer is one of this package, or of `certvq.nn`.

    Raises:
        OptionError: no quantizer, or more than one.
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
