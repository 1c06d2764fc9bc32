"""The second run is the one that was asked for."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from certvq.errors import OptionError
from certvq.inspect._stability.second import Second, samples, second_run


class Recorder(nn.Module):
    """Notes what it is called with."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.calls = []

    def forward(self, *args, **kwargs):
        product = self.layer(torch.ones(1, 2, dtype=self.layer.weight.dtype))
        self.calls.append((args, kwargs, product.dtype))


def test_precision_runs_a_copy_on_float64():
    model = Recorder()
    second = second_run(model, "precision", None)
    assert second.module is not model
    assert next(model.parameters()).dtype == torch.float32
    assert next(second.module.parameters()).dtype == torch.float64
    second.run({"a": torch.ones(2), "b": torch.ones(2, dtype=torch.int64), "c": "word"})
    ((args, kwargs, product),) = second.module.calls
    assert (args, product, model.calls) == ((), torch.float64, [])
    assert [getattr(each, "dtype", each) for each in kwargs.values()] == [
        torch.float64,
        torch.int64,
        "word",
    ]


def test_precision_reads_what_a_call_is_given():
    batches = []
    second = second_run(Recorder(), "precision", lambda _, batch: batches.append(batch))
    second.run([np.ones(2, np.float32), (torch.ones(1).bfloat16(), np.ones(1, np.int8)), None])
    ((first, (second_, third), last),) = batches
    assert (first.dtype, second_.dtype, third.dtype) == (np.float64, torch.float64, np.int8)
    assert last is None


def test_another_module_gets_the_batch_on_its_own_device():
    batches = []
    other = Recorder().to("meta")
    second = second_run(Recorder(), other, lambda *given: batches.append(given))
    second.run({"a": torch.ones(2), "b": [(torch.ones(1),), "word", np.ones(1)]})
    ((module, batch),) = batches
    assert module is other
    (inner,), word, array = batch["b"]
    assert (batch["a"].device.type, inner.device.type, word) == ("meta", "meta", "word")
    assert isinstance(array, np.ndarray)
    second_run(other, nn.Identity(), lambda *given: batches.append(given)).run(torch.ones(2))
    assert batches[1][1].device.type == "cpu"  # a module without numbers may be anywhere


def test_bfloat16_runs_the_model_itself_under_autocast():
    model = Recorder()
    second = second_run(model, "bfloat16", None)
    assert second.module is model
    second.run(torch.ones(3))
    assert [product for _, _, product in model.calls] == [torch.bfloat16]
    assert not torch.is_autocast_enabled("cpu")


def test_batch_runs_each_sample():
    model = Recorder()
    second = second_run(model, "batch", None)
    batch = torch.arange(6.0).reshape(3, 2)
    second.run(batch)
    assert [args[0].tolist() for args, _, _ in model.calls] == [[row] for row in batch.tolist()]
    parts = list(samples({"x": batch, "y": torch.arange(3), "z": "word"}))
    assert [part["y"].tolist() for part in parts] == [[0], [1], [2]]
    assert parts[1]["x"].tolist() == [[2.0, 3.0]]
    assert parts[1]["z"] == "word"


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ([torch.ones(2)], "list"),
        ({"a": 1}, "dict"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, "first axes of [2, 3]"),
        (torch.ones(()), "first axes of [-1]"),
    ],
)
def test_batches_that_cannot_be_cut_are_refused(batch, got):
    with pytest.raises(OptionError, match=re.escape(f"got {got}; give a function")):
        list(samples(batch))


def test_a_module_and_a_function():
    model, other = Recorder(), Recorder()
    second = second_run(model, other, None)
    assert second.module is other
    assert second.label == "another module (Recorder)"
    second.run(torch.ones(1))
    assert (len(model.calls), len(other.calls)) == (0, 1)

    def twice(module, batch):
        module(batch)
        module(batch)

    second = second_run(model, twice, None)
    assert second.label == "a function (twice)"
    second.run(torch.ones(1))
    assert len(model.calls) == 2


def test_a_distance():
    assert second_run(Recorder(), 0.5, None) == 0.5
    assert second_run(Recorder(), 0, None) == 0.0
    assert isinstance(second_run(Recorder(), "batch", None), Second)


@pytest.mark.parametrize("given", ["double", -1.0, np.inf, np.nan, True, None])
def test_anything_else_is_refused(given):
    text = (
        r"perturbation must be 'precision', 'bfloat16', 'batch', a finite distance of at least 0, "
        rf"another module or a function of model and batch, got {given!r}"
    )
    with pytest.raises(OptionError, match=text):
        second_run(Recorder(), given, None)
