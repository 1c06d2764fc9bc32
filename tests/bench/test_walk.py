"""bench/walk.py: how many files a training step of a layer enters."""

import importlib.util
from pathlib import Path

import pytest
import torch

import certvq.nn

PATH = Path(__file__).parents[2] / "bench" / "walk.py"
SPEC = importlib.util.spec_from_file_location("walk", PATH)
WALK = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(WALK)

MOST = {"VectorQuantize, training forward": 12}


@pytest.mark.parametrize("name", MOST)
def test_a_walk_is_no_longer_than_was_agreed(name):
    files = WALK.walked(name).files
    assert "nn/_vector/vector_quantize.py" in files
    assert len(files) <= MOST[name], files


def test_the_table_lists_every_walk(capsys):
    assert WALK.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in WALK.WALKS)


def test_a_walk_sees_files_that_torch_calls_back():
    """The backward pass of the loss runs a function of certvq from within torch."""
    loss = certvq.nn.VectorQuantize(3, 4)(torch.randn(1, 5, 3, requires_grad=True)).loss
    with WALK.watched() as walk:
        loss.backward()
    assert "nn/_estimators/estimator.py" in walk.files
