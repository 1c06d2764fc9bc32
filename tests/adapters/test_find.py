"""Which modules are known, by name, path and attributes."""

import pytest
import torch

from certvq.adapters._find import ADAPTERS, adapter_of, find_layers, unknown_names
from certvq.errors import UnknownQuantizerError


def test_names_are_those_of_named_modules(layers):
    model = torch.nn.ModuleDict(
        {
            "a": torch.nn.Sequential(layers.OneHotQuantizer(4, 2)),
            "b": layers.VectorQuantize(4, 4, 2),
        }
    )
    assert [layer.name for layer in find_layers(model)] == ["a.0", "b"]
    assert [layer.name for layer in find_layers(model["b"])] == [""]


def test_a_name_alone_is_not_enough():
    class VectorQuantizer(torch.nn.Module):
        embedding = None

    assert adapter_of(VectorQuantizer()) is None
    text = r"these look like quantizers but are not known: 'q' \(.*VectorQuantizer\); known"
    model = torch.nn.Sequential()
    model.add_module("q", VectorQuantizer())
    with pytest.raises(UnknownQuantizerError, match=text):
        find_layers(model)


def test_a_path_alone_is_not_enough(layers):
    """`Codebook` of another library is not that of vector-quantize-pytorch."""
    Codebook = type("Codebook", (torch.nn.Module,), {"__module__": "vector_quantize_pytorch_x.y"})
    assert adapter_of(Codebook()) is None
    Codebook.__module__ = "vector_quantize_pytorch.z"
    assert adapter_of(Codebook()) is ADAPTERS[0]


def test_a_class_without_the_method_is_refused():
    kind = type(
        "EncodecEuclideanCodebook",
        (torch.nn.Module,),
        {"__module__": "transformers.models.encodec.modeling_encodec"},
    )
    text = r"layer '' must find its codes in quantize .*EncodecEuclideanCodebook has no quantize"
    with pytest.raises(UnknownQuantizerError, match=text):
        find_layers(kind())


def test_kin_of_known_layers_are_not_called_unknown(layers):
    class ResidualQuantizer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = layers.OneHotQuantizer(4, 2)
            self.inner.add_module("vq", torch.nn.Linear(1, 1))

    model = torch.nn.ModuleDict({"r": ResidualQuantizer()})
    assert unknown_names(model, [each.name for each in find_layers(model)]) == ()
