"""Who is measured: certvq, and the kernels that people use.

In: a codebook, then latents. Out: codes. Each contender has the codebook prepared before the clock
starts, as its library allows. Must not measure.
"""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

import certvq
from certvq._types import Array
from certvq.bench._data import Float32Array

if TYPE_CHECKING:
    import torch

Search: TypeAlias = Callable[[Float32Array], Array]
"""Latents (N, D) to codes (N,), a NumPy array."""


@dataclass(frozen=True)
class Changing:
    """A search that changes what it searches, so that every call needs one of its own.

    Attributes:
        fresh: returns a search in the state before any call. It is not what is measured.
    """

    fresh: Callable[[], Search]

    def __call__(self, latents: Float32Array) -> Array:
        return self.fresh()(latents)


def ready(search: Search) -> Search:
    """Return what may be called once, so that only that call need be timed."""
    return search.fresh() if isinstance(search, Changing) else search


@dataclass(frozen=True)
class Contender:
    """One way to find codes.

    Attributes:
        name: as tables show it.
        modules: what has to be installed for it.
        prepare: takes the codebook, returns the search.
        matrices: how many float32 matrices N x K it is reckoned to hold at once; 0 where it goes
            through the latents in blocks.
        note: what its figures mean, where that is not what those of the others mean.
    """

    name: str
    modules: tuple[str, ...]
    prepare: Callable[[Float32Array], Search]
    matrices: int = 0
    note: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(name for name in self.modules if not _is_installed(name))


CERTVQ: Final = "certvq"
"""The name of the contender that all others are compared with."""

_MATRICES: Final = 3
"""Of a formula: scores, what they are made of, and a copy on the way to the minimum."""

_MATRICES_OF_LAYER: Final = 6
"""Of the layer, as its peak memory is; one-hot codes of 8 bytes are the most of it."""


def contenders(backend: str = "auto") -> dict[str, Contender]:
    """Return all contenders by name, certvq first.

    Args:
        backend: certvq's.
    """
    layer = ("torch", "vector_quantize_pytorch")
    found = (
        Contender(CERTVQ, (), partial(_certvq, backend=backend)),
        Contender("faiss", ("faiss",), _faiss),
        Contender("torch-addmm", ("torch",), _torch_addmm, _MATRICES),
        Contender("torch-cdist", ("torch",), _torch_cdist, _MATRICES),
        Contender("scikit-learn", ("sklearn",), _scikit_learn),
        Contender("vector-quantize-pytorch", layer, _vector_quantize_pytorch, _MATRICES_OF_LAYER),
        Contender(
            "vector-quantize-pytorch-train",
            layer,
            _vector_quantize_pytorch_train,
            _MATRICES_OF_LAYER,
            "the whole forward in train mode, its update of the codebook included; wrong codes are "
            "those of that forward, against the codebook before it",
        ),
    )
    return {contender.name: contender for contender in found}


def _certvq(codebook: Float32Array, *, backend: str) -> Search:
    prepared = certvq.prepare(codebook)
    return lambda latents: certvq.assign(latents, prepared, backend=backend).codes


def _faiss(codebook: Float32Array) -> Search:
    """`IndexFlatL2`, k = 1."""
    import faiss  # pyright: ignore[reportMissingImports] (a peer need not be installed)

    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)
    return lambda latents: index.search(latents, 1)[1][:, 0]


def _torch_addmm(codebook: Float32Array) -> Search:
    """Argmax of ``z.c - |c|^2 / 2``: the expansion, as one product and a maximum."""
    import torch

    vectors = torch.from_numpy(codebook)
    half_norms, transposed = -0.5 * (vectors * vectors).sum(1), vectors.T

    def search(latents: Float32Array) -> Array:
        with torch.inference_mode():
            scores = torch.addmm(half_norms, torch.from_numpy(latents), transposed)
            return scores.max(1).indices.numpy()

    return search


def _torch_cdist(codebook: Float32Array) -> Search:
    import torch

    vectors = torch.from_numpy(codebook)

    def search(latents: Float32Array) -> Array:
        with torch.inference_mode():
            return torch.cdist(torch.from_numpy(latents), vectors).argmin(1).numpy()

    return search


def _scikit_learn(codebook: Float32Array) -> Search:
    from sklearn.metrics import pairwise_distances_argmin

    return lambda latents: np.asarray(pairwise_distances_argmin(latents, codebook))


def _vector_quantize_pytorch(codebook: Float32Array) -> Search:
    """The layer's forward pass in eval mode, in which it leaves its codebook alone."""
    import torch

    layer = _layer(codebook).eval()

    def search(latents: Float32Array) -> Array:
        with torch.no_grad():
            return layer(torch.from_numpy(latents)[None])[1][0].numpy()

    return search


def _vector_quantize_pytorch_train(codebook: Float32Array) -> Search:
    """The layer's forward pass as in training: loss, straight-through gradient, EMA update."""
    import torch

    layer = _layer(codebook).train()

    def fresh() -> Search:
        own: Callable[[torch.Tensor], Any] = copy.deepcopy(layer)

        def search(latents: Float32Array) -> Array:
            given = torch.from_numpy(latents)[None].requires_grad_()
            return own(given)[1][0].numpy()

        return search

    return Changing(fresh)


def _layer(codebook: Float32Array) -> "torch.nn.Module":
    import torch
    from vector_quantize_pytorch import (  # pyright: ignore[reportMissingImports] (likewise)
        VectorQuantize,
    )

    size, dim = codebook.shape
    layer = VectorQuantize(dim=dim, codebook_size=size)
    with torch.no_grad():
        layer.codebook = torch.from_numpy(codebook)
    return layer


NAMES: Final = tuple(contenders())


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
