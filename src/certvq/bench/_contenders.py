"""Who is measured: certvq, and the kernels that people use.

In: a codebook, then latents. Out: codes. Each contender has the codebook prepared before the clock
starts, as its library allows. Must not measure.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import certvq
from certvq import _native
from certvq._types import Array
from certvq.bench import _faiss
from certvq.bench._contender import Changing, Contender, Prepare, Search
from certvq.bench._data import Float32Array

if TYPE_CHECKING:
    import torch

CERTVQ: Final = "certvq"
"""The name of the contender that all others are compared with."""

EXPERT: Final = "faiss-expert"
"""FAISS with the fastest environment for it."""

_MATRICES: Final = 3
"""Of a formula: scores, what they are made of, and a copy on the way to the minimum."""

_MATRICES_OF_LAYER: Final = 6
"""Of the layer, as its peak memory is; one-hot codes of 8 bytes are the most of it."""


def at(name: str, isa: str) -> str:
    """Name a contender that is held to an instruction set."""
    return f"{name} ({isa})"


def contenders(backend: str = "auto", isas: Sequence[str] = ()) -> dict[str, Contender]:
    """Return all contenders by name, certvq first.

    Args:
        backend: certvq's.
        isas: instruction sets; certvq and FAISS are there once more for each.
    """
    layer = ("torch", "vector_quantize_pytorch")
    found = (
        Contender(CERTVQ, (), partial(_certvq, backend=backend)),
        _with_ways("faiss", _faiss.as_installed()),
        _with_ways(
            EXPERT, _faiss.as_expert(_native.forced_isa() or next(iter(_native.isas()), ""))
        ),
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
    held = [
        one
        for isa in isas
        for one in (
            _held(isa),
            _with_ways(at(EXPERT, isa), _faiss.as_expert(isa)),
        )
    ]
    return {contender.name: contender for contender in (*found, *held)}


def _held(isa: str) -> Contender:
    prepare = partial(_certvq, backend="native")
    return Contender(at(CERTVQ, isa), (), prepare, environment={_native.ISA_VARIABLE: isa})


def _with_ways(name: str, ways: dict[str, Prepare]) -> Contender:
    return Contender(name, ("faiss",), next(iter(ways.values())), ways=ways)


def _certvq(codebook: Float32Array, *, backend: str) -> Search:
    prepared = certvq.prepare(codebook)
    return lambda latents: certvq.assign(latents, prepared, backend=backend).codes


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
