"""The ways to run FAISS."""

import numpy as np
import pytest

import certvq
from certvq.bench import _faiss

faiss = pytest.importorskip("faiss")

pytestmark = pytest.mark.peer


def test_the_threshold_is_set_for_the_search_alone(rng, monkeypatch):
    latents, codebook = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 9))
    right = certvq.assign(latents, codebook).codes.tolist()
    before = faiss.cvar.distance_compute_blas_threshold
    for prepare in _faiss.as_installed().values():
        assert prepare(codebook)(latents).tolist() == right
    assert faiss.cvar.distance_compute_blas_threshold == before


def test_an_expert_holds_faiss_to_the_same_instructions():
    ways = _faiss.as_expert("avx2")
    assert {way.split(",")[0] for way in ways} == {
        "OPENBLAS_CORETYPE=Haswell",
        "OPENBLAS_CORETYPE=Zen",
    }
    environments = [prepare.keywords["environment"] for prepare in ways.values()]
    assert {one["FAISS_SIMD_LEVEL"] for one in environments} == {"AVX2"}
    assert len(_faiss.as_expert("neon")) == len(_faiss.as_installed())  # no such setting there


def test_an_expert_finds_the_codes(rng):
    (search,) = [
        p for way, p in _faiss.as_expert("avx2").items() if "Haswell" in way and "default" in way
    ]
    latents, codebook = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 9))
    assert search(codebook)(latents).tolist() == certvq.assign(latents, codebook).codes.tolist()
