"""`examples/search_the_bits.py`: the search finds bits of a closer picture than the encoder's."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    before = list(sys.path)
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("search_the_bits")
    finally:
        sys.path[:] = before


@pytest.fixture(scope="module")
def model(example):
    return example.train_model(seed=0, seconds=math.inf, most_steps=20)


def test_the_search_comes_closer(example, model):
    picture = example.piece()
    figures = example.search(model, picture, generations=12)
    assert figures.bits == 8 * 8 * 8
    assert 0 < figures.changed < figures.bits
    assert figures.found > figures.encoded + 0.1


def test_the_figures_are_those_of_the_pictures(example, model):
    """With no generation nothing is found but what the encoder gives."""
    picture = example.piece()
    figures = example.search(model, picture, generations=0)
    with torch.no_grad():
        decoded = model(picture).reconstruction.clamp(-0.5, 0.5)
    error = float((decoded - picture).double().square().mean())
    assert figures.encoded == figures.found == pytest.approx(-10 * math.log10(error), abs=1e-4)
    assert figures.changed == 0


def test_the_piece_is_held_out(example):
    picture = example.piece()
    assert picture.shape == (1, 3, 32, 32)
    assert -0.5 <= picture.min() < picture.max() <= 0.5
    train, heldout = example.example.photographs()
    pixels = ((picture[0].permute(1, 2, 0) + 0.5) * 255).round().to(torch.uint8).numpy()
    height, width = heldout[0].pixels.shape[:2]
    top, left = (height - 32) // 2, (width - 32) // 2
    assert (heldout[0].pixels[top : top + 32, left : left + 32] == pixels).all()
    assert heldout[0].key not in {photograph.key for photograph in train}


def test_nothing_held_out_is_trained_on(example, monkeypatch):
    seen = []

    def fit(model, train, **options):
        seen.extend(photograph.key for photograph in train)
        return 0

    monkeypatch.setattr(example.example, "fit", fit)
    example.train_model(seed=0, seconds=0.0)
    train, heldout = example.example.photographs()
    assert seen == [photograph.key for photograph in train]
    assert not {photograph.key for photograph in heldout} & set(seen)


def test_the_command_prints_both_figures(example, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--steps", "1", "--generations", "1"])
    example.main()
    words = capsys.readouterr().out
    assert words.startswith("the encoder's bits: ")
    assert "after 1 generations" in words
    assert "of 512 bits changed" in words
