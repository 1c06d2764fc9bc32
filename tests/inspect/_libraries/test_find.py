"""Which modules are known, by name, path and attributes."""

import pytest
import torch

from certvq.errors import UnknownQuantizerError
from certvq.inspect._libraries.find import ADAPTERS, adapter_of, find_layers, unknown_names


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


@pytest.mark.rows(
    "name",
    [
        *("FSQ", "ResidualFSQ", "LFQ", "BSQ", "FSP", "BinaryMapper", "SimVQ", "LookupFreeQuant_VQ"),
        *("VQVAE", "MyVQGAN2", "JanusVQVAEQuantizer", "VQLayer"),
    ],
)
def test_names_that_look_like_quantizers(layers, name):
    model = torch.nn.ModuleDict(
        {"q": type(name, (torch.nn.Module,), {})(), "known": layers.OneHotQuantizer(4, 2)}
    )
    assert unknown_names(model, ["known"]) == ("q",)


@pytest.mark.rows(
    "name",
    [
        *("Linear", "MSQLoss", "Disp", "BFQueue", "FSpace", "Sequential"),
        *("JanusVQVAEEncoder", "ChameleonVQVAEEncoderAttnBlock", "VQGANDecoder"),
    ],
)
def test_names_that_do_not(name):
    model = torch.nn.ModuleDict({"q": type(name, (torch.nn.Module,), {})()})
    assert unknown_names(model, ["known"]) == ()


def test_parts_of_a_quantizer_that_is_the_model_itself_are_not_unknown():
    class VectorQuantizer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base = type("Codebook", (torch.nn.Module,), {})()

    assert unknown_names(VectorQuantizer(), [""]) == ()


@pytest.mark.filterwarnings("ignore")  # torch's own, of torch.jit
def test_scripts_and_graphs_have_no_layers_left(layers):
    traced = torch.jit.trace(layers.OneHotQuantizer(4, 2), torch.ones(3, 2))
    text = r"like quantizers but are not known: '' \(script of VectorQuantizer\).* no layers left"
    with pytest.raises(UnknownQuantizerError, match=text):
        find_layers(traced)
    graph = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.ReLU()))
    with pytest.raises(UnknownQuantizerError, match="found in .*; a script, trace or graph has no"):
        find_layers(graph)
    model = torch.nn.ModuleDict({"script": traced, "known": layers.OneHotQuantizer(4, 2)})
    assert unknown_names(model, ["known"]) == ("script",)


def test_who_shares_a_known_codebook_is_known():
    class VectorQuantizer(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    inner = torch.nn.Linear(2, 2)
    model = torch.nn.ModuleList([VectorQuantizer(inner), VectorQuantizer(inner)])
    assert unknown_names(model, {"0.inner"}) == ()
    assert unknown_names(model, {}) == ("0", "1")
