"""Folders of tiny pictures, a configuration that trains in a second, and a trained model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from certvq.models import VQVAE, VQVAEConfig
from certvq.train import TrainConfig

_MODEL = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)


@pytest.fixture
def tiny_config() -> TrainConfig:
    """A model of a few hundred weights, trained for four steps on crops of 16 pixels."""
    return TrainConfig(
        model=_MODEL,
        steps=4,
        seconds=None,
        batch_size=4,
        crop=16,
        validate_every=4,
        checkpoint_every=2,
    )


@pytest.fixture
def draw_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of pictures of noise; `sizes` are (height, width, channels) by name."""

    def make(name: str = "pictures", **sizes: tuple[int, int, int]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number, (key, shape) in enumerate(sizes.items()):
            pixels = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels if shape[2] == 3 else pixels[:, :, 0]).save(
                folder / f"{key}.png"
            )
        return folder

    return make


@pytest.fixture
def pictures(draw_folder: Callable[..., Path]) -> Path:
    """Two colour pictures."""
    return draw_folder(a=(24, 20, 3), b=(17, 33, 3))


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model whose codebook has been started from noise."""
    generator = torch.Generator().manual_seed(3)
    model = VQVAE(_MODEL, generator=generator)
    model(torch.rand(8, 3, 32, 32, generator=generator))
    model.eval().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Read every file below a folder, to see that nothing changed and nothing is left behind."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
