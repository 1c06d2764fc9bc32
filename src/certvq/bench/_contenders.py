"""Who is measured: certvq, and the kernels that people use.

In: a codebook, then latents. Out: codes. Each contender has the codebook prepared before the clock
starts, as its library allows. Must not measure.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np

import certvq
from certvq._types import Array
from certvq.bench._data import Float32Array

Search: TypeAlias = Callable[[Float32Array], Array]
"""Latents (N, D) to codes (N,), a NumPy array."""


@dataclass(frozen=True)
class Contender:
    """One way to find codes.

    Attributes:
        name: as tables show it.
        modules: what has to be installed for it.
        prepare: takes the codebook, returns the search.
    """

    name: str
    modules: tuple[str, ...]
    prepare: Callable[[Float32Array], Search]

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(name for name in self.modules if not _is_installed(name))


CERTVQ: Final = "certvq"
"""The name of the contender that all others are compared with."""


def contenders(backend: str = "auto") -> dict[str, Contender]:
    """Return all contenders by name, certvq first.

    Args:
        backend: certvq's.
    """
    found = (
        Contender(CERTVQ, (), partial(_certvq, backend=backend)),
        Contender("faiss", ("faiss",), _faiss),
        Contender("torch-addmm", ("torch",), _torch_addmm),
        Contender("torch-cdist", ("torch",), _torch_cdist),
        Contender("scikit-learn", ("sklearn",), _scikit_learn),
        Contender(
            "vector-quantize-pytorch",
            ("torch", "vector_quantize_pytorch"),
            _vector_quantize_pytorch,
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
    from vector_quantize_pytorch import (  # pyright: ignore[reportMissingImports] (likewise)
        VectorQuantize,
    )

    size, dim = codebook.shape
    layer = VectorQuantize(dim=dim, codebook_size=size).eval()
    with torch.no_grad():
        layer.codebook = torch.from_numpy(codebook)

    def search(latents: Float32Array) -> Array:
        with torch.no_grad():
            return layer(torch.from_numpy(latents)[None])[1][0].numpy()

    return search


NAMES: Final = tuple(contenders())


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
