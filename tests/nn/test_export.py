"""Layers in graphs of torch.jit.trace and torch.onnx.export: what is refused, and when."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

from certvq.compat import vector_quantize_pytorch as vq
from certvq.errors import ExportError
from certvq.nn import FSQ, Beam, ResidualVQ, VectorQuantize

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.slow,
]

LATENTS = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))


class Method(torch.nn.Module):
    """One method of a layer."""

    def __init__(self, layer, name):
        super().__init__()
        self.layer, self.name = layer, name

    def forward(self, x):
        return getattr(self.layer, self.name)(x)


def traced(module, example):
    return torch.jit.trace(module, (example,), check_trace=False)


def in_onnx(module, example):
    file = io.BytesIO()
    torch.onnx.export(module, (example,), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue())
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


@pytest.mark.parametrize(("run", "words"), [(traced, "out of range"), (in_onnx, "out of data")])
def test_a_graph_looks_beyond_the_end_for_what_it_cannot_code(run, words):
    """It is the only error that standard operators have; they go on afterwards."""
    layer = FSQ((5, 4)).eval()
    codes = layer.encode(LATENTS)
    cases = [
        ("encode", LATENTS, [np.nan, np.inf, -np.inf]),
        ("decode", codes, [-1, 20, 2**62]),
    ]
    for name, example, wrong in cases:
        graph = run(Method(layer, name), example)
        for number in wrong:
            broken = example.clone()
            broken[1, 2] = number
            with pytest.raises(Exception, match=words):
                graph(broken)
        assert torch.equal(graph(example), getattr(layer, name)(example))


def test_layers_that_learn_nothing_are_traced_in_train_mode():
    """As users of the original do, who forget to call `eval`."""
    layer = vq.FSQ(levels=[5, 5])
    graph = traced(layer, LATENTS)
    for found, expected in zip(graph(LATENTS[:2]), layer(LATENTS[:2]), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("layer", "example", "words"),
    [
        (VectorQuantize(2, 3), LATENTS, "got VectorQuantize in train mode"),
        (vq.VectorQuantize(2, 3), LATENTS, "got Layer at 'layers.0' in train mode"),
        (vq.ResidualVQ(dim=2, codebook_size=3, num_quantizers=2), LATENTS, "in train mode"),
        (ResidualVQ(2, 3, num_quantizers=2, beam=Beam(2)).eval(), LATENTS, "with a Beam"),
    ],
)
def test_what_no_graph_can_hold_is_named(layer, example, words):
    with pytest.raises(ExportError, match=words):
        traced(layer, example)


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode")
def test_the_exporter_of_programs_names_what_no_graph_can_hold():
    """It tries two tracers, one of which hides from a layer that it is at work."""
    with pytest.raises(torch.onnx.errors.OnnxExporterError) as caught:
        torch.onnx.export(VectorQuantize(2, 3), (LATENTS,), io.BytesIO(), dynamo=True)
    assert isinstance(caught.value.__cause__, ExportError)
    assert "got VectorQuantize in train mode" in str(caught.value.__cause__)


def test_the_search_of_onnx_takes_no_float64():
    layer = Method(VectorQuantize(2, 3).double().eval(), "encode")
    with pytest.raises(ExportError, match="takes float32, got float64 latents"):
        torch.onnx.export(layer, (LATENTS.double(),), io.BytesIO(), dynamo=False)
