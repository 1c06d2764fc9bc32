"""Photographs and configurations small enough that a training step takes milliseconds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from certvq.data import Photograph
from certvq.models import VQVAEConfig
from certvq.train import TrainConfig

_MODEL = VQVAEConfig(
    hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8, downsampling=4
)
_CONFIG = TrainConfig(
    model=_MODEL,
    steps=6,
    seconds=None,
    batch_size=4,
    crop=16,
    validate_every=4,
    checkpoint_every=3,
)


@pytest.fixture
def tiny_config() -> Callable[..., TrainConfig]:
    """Make a tiny configuration; keyword arguments replace its fields, or those of its model."""

    def make(**changes: Any) -> TrainConfig:
        model = {name: changes.pop(name) for name in list(changes) if hasattr(_MODEL, name)}
        return replace(_CONFIG, model=replace(_MODEL, **model), **changes)

    return make


@pytest.fixture
def photographs() -> list[Photograph]:
    """Three photographs of noise over a slope, of different sizes."""
    draw = np.random.default_rng(7)
    found = []
    for key, height, width in (("a", 24, 20), ("b", 17, 33), ("c", 22, 19)):
        slope = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 3))
        noise = draw.integers(0, 56, (height, width, 3))
        found.append(Photograph(key, (slope + noise).astype(np.uint8)))
    return found
