"""What users reach for as ``layer._codebook``.

In: layers. Out: their tensors under the original's names, with the latest training batch taken in.
Must not search for codes.
"""

from collections.abc import Sequence
from typing import NoReturn

import torch

from certvq.compat.vector_quantize_pytorch._readable import Readable, code_vectors_given


class CodebookView:
    """The original's buffers, (h, K, ...); one codebook is a view that can be written to."""

    __slots__ = ("_layers",)

    def __init__(self, layers: Sequence[Readable]) -> None:
        object.__setattr__(self, "_layers", layers)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "embed":
            like = self._stacked([layer.codebook for layer in self._layers])
            given = code_vectors_given(value, like, "_codebook.embed")
            for layer, own in zip(self._layers, given, strict=True):
                layer.give(own)
            return
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
        if name == "embed_avg":
            text = "_codebook has no embed_avg: it learns by gradient, and no tokens are averaged"
        raise AttributeError(text)

    @property
    def embed(self) -> torch.Tensor:
        """Code vectors as stored, (h, K, d); when set, the layer goes on from them."""
        return self._stacked([layer.codebook for layer in self._read()])

    @property
    def cluster_size(self) -> torch.Tensor:
        """Running counts, (h, K)."""
        return self._stacked([layer.statistics.counts for layer in self._read()])

    @property
    def embed_avg(self) -> torch.Tensor:
        """Running sums, (h, K, d).

        Raises:
            AttributeError: the codebook is a parameter, and nothing is averaged.
        """
        if not self._layers[0].statistics.width:
            raise AttributeError  # for which `__getattr__` has words
        return self._stacked([layer.statistics.sums for layer in self._read()])

    @property
    def initted(self) -> torch.Tensor:
        """Whether the codebook has been started."""
        return self._layers[0].started.bool()

    def update_ema(self) -> None:
        """Take in what waits and make code vectors of the averages."""
        for layer in self._layers:
            layer.settle()
            layer.write()

    def _read(self) -> Sequence[Readable]:
        for layer in self._layers:
            layer.settle_for_readers()
        return self._layers

    @staticmethod
    def _stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
        return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
