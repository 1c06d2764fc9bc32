"""FAISS as it is installed, and as somebody who knows it runs it.

In: a codebook, then latents. Out: codes. FAISS 1.15 takes BLAS only for large batches, and the BLAS
that it brings does not know newer processors, so each cell is measured in several ways; `measure`
keeps the fastest one. Must not measure.
"""

from functools import partial
from typing import Final

from certvq._types import Array
from certvq.bench._contender import Prepare, Search
from certvq.bench._data import Float32Array
from certvq.bench._process import Elsewhere

_THRESHOLDS: Final = {"the default threshold of BLAS": None, "BLAS from 20 numbers on": 20}
"""``faiss.cvar.distance_compute_blas_threshold``: rows times dims from 1.15 on, before rows."""

_SETTINGS: Final = {
    "avx512_vnni": ("AVX512_SPR", ("SkylakeX", "Cooperlake", "Haswell", "Zen")),
    "avx512": ("AVX512", ("SkylakeX", "Haswell", "Zen")),
    "avx_vnni": ("AVX2", ("Haswell", "Zen")),
    "avx2": ("AVX2", ("Haswell", "Zen")),
}
"""By the kernel's instruction set: ``FAISS_SIMD_LEVEL``, and what ``OPENBLAS_CORETYPE`` may be."""


def as_installed() -> dict[str, Prepare]:
    """Return the ways to run FAISS `IndexFlatL2` in this process, by name."""
    return {way: partial(flat, threshold=threshold) for way, threshold in _THRESHOLDS.items()}


def as_expert(isa: str) -> dict[str, Prepare]:
    """Return the ways to run it in processes whose environment chooses its instructions, by name.

    Args:
        isa: of certvq's kernel; FAISS and its BLAS are held to the same one.
    """
    level, cores = _SETTINGS.get(isa, ("", ("",)))
    found: dict[str, Prepare] = {}
    for core in cores:
        environment = {"OPENBLAS_CORETYPE": core, "FAISS_SIMD_LEVEL": level} if level else {}
        for way, prepare in as_installed().items():
            name = ", ".join([*(f"{key}={value}" for key, value in environment.items()), way])
            found[name] = partial(Elsewhere, prepare, environment=environment)
    return found


def flat(codebook: Float32Array, *, threshold: int | None) -> Search:
    """Prepare `IndexFlatL2` for one neighbour.

    Args:
        codebook: float32 (K, D).
        threshold: from which BLAS is used; None leaves it as it is.
    """
    import faiss  # pyright: ignore[reportMissingImports] (a peer need not be installed)

    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)

    def search(latents: Float32Array) -> Array:
        before = faiss.cvar.distance_compute_blas_threshold
        if threshold is not None:
            faiss.cvar.distance_compute_blas_threshold = threshold
        try:
            return index.search(latents, 1)[1][:, 0]
        finally:
            faiss.cvar.distance_compute_blas_threshold = before

    return search
