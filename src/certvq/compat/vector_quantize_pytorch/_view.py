"""What users reach for as ``layer._codebook``.

In: layers. Out: their tensors under the original's names. Must not learn by itself.
"""

from typing import NoReturn

import torch

from certvq.compat.vector_quantize_pytorch._layer import Layer


class CodebookView:
    """The original's buffers, (h, K, ...); one codebook is a view that can be written to."""

    __slots__ = ("_layers",)

    def __init__(self, layers: list[Layer]) -> None:
        object.__setattr__(self, "_layers", layers)

    def __setattr__(self, name: str, value: object) -> None:
        text = (
            f"_codebook is a view of the layer's tensors, on which {name} cannot be set: a new one "
            "is made whenever it is asked for; set `codebook` of the layer, or build another layer "
            "and load the state dict of this one"
        )
        raise AttributeError(text)

    def __getattr__(self, name: str) -> NoReturn:
        text = (
            f"_codebook is a view of the layer's tensors, without {name}; it has embed, embed_avg, "
            "cluster_size, initted and update_ema(), and options are attributes of the layer"
        )
        raise AttributeError(text)

    @property
    def embed(self) -> torch.Tensor:
        """Code vectors as stored, (h, K, d)."""
        return self._stacked([layer.codebook for layer in self._layers])

    @property
    def cluster_size(self) -> torch.Tensor:
        """Running counts, (h, K)."""
        return self._stacked([layer.statistics.counts for layer in self._layers])

    @property
    def embed_avg(self) -> torch.Tensor:
        """Running sums, (h, K, d), or (h, K, 0) where the codebook does not follow them."""
        parts = [layer.statistics for layer in self._layers]
        return self._stacked(
            [p.sums if p.width else p.counts.new_zeros(len(p.counts), 0) for p in parts]
        )

    @property
    def initted(self) -> torch.Tensor:
        """Whether the codebook has been started."""
        return self._layers[0].started.bool()

    def update_ema(self) -> None:
        """Take in what waits and make code vectors of the averages."""
        for layer in self._layers:
            layer.settle()
            layer.write()

    @staticmethod
    def _stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
        return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
