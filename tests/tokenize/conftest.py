"""Small models and sources for the job's tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from certvq.models import VQVAE, VQVAEConfig


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Return the folder of a small model of our own."""
    folder = tmp_path_factory.mktemp("models") / "own"
    config = VQVAEConfig(
        hidden=16, residual_blocks=1, residual_hidden=8, dim=8, codebook_size=64, downsampling=4
    )
    VQVAE(config, generator=torch.Generator().manual_seed(0)).save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path, rng):
    """Return a function that fills a folder with pictures of several sizes."""

    def make(count, *, name="pictures", broken=()):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            path = folder / f"{number:04d}.png"
            side = 16 + 4 * (number % 3)
            pixels = rng.integers(0, 256, (16, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            if number in broken:
                path.write_bytes(path.read_bytes()[:60])
        return folder

    return make


@pytest.fixture
def content():
    """Return a function that reads all files of a token data set."""

    def read(folder):
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
