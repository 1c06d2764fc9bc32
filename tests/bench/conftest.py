"""Stand-ins for contenders, and a small model."""

import numpy as np
import pytest
import torch

from certvq.bench import _run
from certvq.bench._contender import Contender
from certvq.bench._contenders import CERTVQ, contenders
from certvq.models import VQVAE, VQVAEConfig


@pytest.fixture
def zeros():
    """Return a contender that gives code 0 to everything."""
    return Contender("zeros", (), lambda codebook: lambda z: np.zeros(len(z), np.int64))


@pytest.fixture
def fails():
    """Return a contender that runs out of memory."""

    def prepare(codebook):
        raise MemoryError("no room\nleft")

    return Contender("fails", (), prepare)


@pytest.fixture
def absent():
    """Return a contender whose library is not installed."""
    return Contender("absent", ("no_such_module", "numpy"), lambda codebook: lambda z: z)


@pytest.fixture
def own():
    """Return certvq as a contender."""
    return contenders()[CERTVQ]


@pytest.fixture
def stand_ins(monkeypatch, own, zeros, fails, absent):
    """Measure stand-ins in the place of the peers."""
    every = {one.name: one for one in (own, zeros, fails, absent)}
    monkeypatch.setattr(_run, "contenders", lambda *args: every)


@pytest.fixture
def model_dir(tmp_path):
    """Save a model whose codebook has been started from noise."""
    generator = torch.Generator().manual_seed(3)
    config = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)
    model = VQVAE(config, generator=generator)
    model(torch.rand(8, 3, 32, 32, generator=generator))
    model.eval().save_pretrained(tmp_path / "model")
    return tmp_path / "model"
