"""The torch backend in the memory that there is: blocks are halved, and no code depends on them."""

import numpy as np
import pytest
import torch

import certvq
from certvq.assign._filter_torch import TorchFilter
from certvq.errors import DeviceMemoryError


@pytest.fixture
def given(rng):
    """Half of the latents are as far from two code vectors, which only integers can tell."""
    codebook = rng.integers(-40, 41, (40, 3)).astype(np.float64)
    middles = (codebook[:20] + codebook[20:]) / 2
    latents = np.concatenate([middles, rng.standard_normal((80, 3)) * 20, middles])
    return torch.from_numpy(latents[rng.permutation(120)]), certvq.prepare(codebook)


def short_of_memory(monkeypatch, most):
    """Let blocks of more than `most` latents find no memory; return the sizes that were tried."""
    tried, whole = [], TorchFilter._run

    def run(self, latents, besides):
        tried.append(len(latents))
        if len(latents) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, latents, besides)

    monkeypatch.setattr(TorchFilter, "_run", run)
    return tried


def test_blocks_are_halved_until_they_fit(monkeypatch, given):
    options = {"backend": "torch", "second": True}
    whole = certvq.assign(*given, **options)
    assert whole.counts()["exact"] > 5
    tried = short_of_memory(monkeypatch, 40)
    found = certvq.assign(*given, **options)
    assert tried == [120, 60, 30, 30, 60, 30, 30] * 2
    assert torch.equal(found.codes, whole.codes)
    assert torch.equal(found.second, whole.second)
    assert torch.equal(found.decided_by, whole.decided_by)


def test_no_memory_at_all_is_named_with_what_is_needed(monkeypatch, given):
    tried = short_of_memory(monkeypatch, 0)
    match = rf"needs at least {8 * 30 * 40} free bytes .* the scores of 30 latents; free some.*CUDA"
    with pytest.raises(DeviceMemoryError, match=match):
        certvq.assign(*given, backend="torch")
    assert tried == [120, 60, 30]


def test_no_memory_for_the_codebook_is_named(monkeypatch, given):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "to", refuse)
    with pytest.raises(DeviceMemoryError, match=r"at least \d+ free bytes .* for the codebook"):
        certvq.assign(*given, backend="torch")
