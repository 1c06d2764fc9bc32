"""The command line as a function, and the folders that it is tried on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from certvq.cli._app import app
from certvq.models import VQVAE, VQVAEConfig


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def certvq_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a command in this process; what is no expected failure is raised.

    It shows no progress, however busy the machine is.
    """
    monkeypatch.setattr("certvq.cli._output._PATIENCE", math.inf)

    def run(*arguments: object) -> Outcome:
        texts = [str(argument) for argument in arguments]
        found = CliRunner().invoke(app, texts, catch_exceptions=False, env={"COLUMNS": "200"})
        return Outcome(found.exit_code, found.stdout, found.stderr)

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two colour pictures, large enough for crops of 64 pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (key, shape) in enumerate({"a": (66, 70, 3), "b": (81, 64, 3)}.items()):
        pixels = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{key}.png")
    return folder


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model whose codebook has been started from noise."""
    generator = torch.Generator().manual_seed(3)
    config = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)
    model = VQVAE(config, generator=generator)
    model(torch.rand(8, 3, 32, 32, generator=generator))
    model.eval().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def tokens(model_dir: Path, pictures: Path, certvq_command: Callable[..., Outcome]) -> Path:
    """The tokens of the two pictures."""
    path = model_dir.parent / "tokens.parquet"
    assert certvq_command("encode", model_dir, pictures, "--out", path).status == 0
    return path


@pytest.fixture
def listing() -> Callable[[Path], dict[str, bytes]]:
    """Read every file below a folder, to see that nothing changed and nothing is left behind."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
