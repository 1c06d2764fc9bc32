"""`examples/train_a_quantizer.py`: every family trains on photographs and comes back."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "examples" / "train_a_quantizer.py"


def load_example():
    spec = importlib.util.spec_from_file_location("train_a_quantizer", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = load_example()


@pytest.fixture(scope="module")
def photographs():
    train, heldout = EXAMPLE.photographs()
    return train, heldout[:1]


def trained(name, photographs, steps):
    torch.manual_seed(0)
    quantizer = EXAMPLE.FAMILIES[name](torch.Generator().manual_seed(0))
    model = EXAMPLE.Autoencoder(quantizer, quantizer.dim, quantizer.width)
    before = [parameter.clone() for parameter in model.encoder.parameters()]
    train, heldout = photographs
    done = EXAMPLE.fit(model, train, seed=0, seconds=math.inf, most_steps=steps)
    figures = EXAMPLE.measure(model, heldout, quantizer.codebook_size, done)
    moved = [
        not torch.equal(old, new)
        for old, new in zip(before, model.encoder.parameters(), strict=True)
    ]
    return quantizer, figures, moved


@pytest.mark.parametrize("name", EXAMPLE.FAMILIES)
def test_every_family_trains(name, photographs):
    quantizer, figures, moved = trained(name, photographs, 3)
    assert figures.steps == 3
    assert all(moved), "the gradient reaches the whole encoder"
    assert 5.0 < figures.psnr < 40.0
    assert 0.0 < figures.usage <= 1.0
    size = quantizer.codebook_size
    sizes = (
        size
        if isinstance(size, tuple)
        else (size,) * max(1, math.prod(getattr(quantizer, "code_shape", ())))
    )
    assert math.prod(sizes) == 256
    assert 1.0 <= figures.perplexity <= max(sizes)


def test_training_helps(photographs):
    _, early, _ = trained("vector", photographs, 1)
    _, late, _ = trained("vector", photographs, 40)
    assert late.psnr > early.psnr + 2.0


def test_a_seed_decides_the_crops(photographs):
    first, second = (next(EXAMPLE.batches(photographs[0], seed)) for seed in (3, 3))
    assert torch.equal(first, second)
    assert not torch.equal(first, next(EXAMPLE.batches(photographs[0], 4)))
    assert first.shape == (EXAMPLE.BATCH, 3, EXAMPLE.CROP, EXAMPLE.CROP)


def test_it_ends_in_time(photographs):
    """With no time at all one step is made."""
    torch.manual_seed(0)
    quantizer = EXAMPLE.FAMILIES["fsq"](None)
    model = EXAMPLE.Autoencoder(quantizer, quantizer.dim, quantizer.width)
    assert EXAMPLE.fit(model, photographs[0], seed=0, seconds=0.0) == 1


def test_the_command_names_the_families(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_a_quantizer.py", "--list"])
    EXAMPLE.main()
    assert capsys.readouterr().out.split() == list(EXAMPLE.FAMILIES)
