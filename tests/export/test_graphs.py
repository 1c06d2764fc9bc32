"""Exported halves of a model give the codes and images of the model."""

import pytest
import torch

import certvq
from certvq.errors import CodeRangeError
from certvq.export import DecodeGraph, EncodeGraph

pytestmark = pytest.mark.slow

AXES = {0: torch.export.Dim("batch", min=2, max=1 << 20)}


def test_an_exported_encoder_gives_certified_codes(model, images):
    program = torch.export.export(EncodeGraph(model), (images,), dynamic_shapes=(AXES,))
    graphs = [part for part in program.graph_module.modules() if hasattr(part, "graph")]
    names = {node.target for part in graphs for node in part.graph.nodes}
    assert torch.ops.certvq.assign.default in names
    graph = program.module()
    for batch in (images, images[:2]):
        codes = graph(batch)
        latents = model.latents(batch).reshape(-1, model.config.dim)
        expected = certvq.assign(latents, model.quantizer.codebook, backend="reference").codes
        assert torch.equal(codes.flatten(), expected)
    assert len(codes.unique()) > 5


def test_an_exported_decoder_refuses_codes_out_of_range(model, images):
    codes = model.encode(images)
    graph = torch.export.export(DecodeGraph(model), (codes,), dynamic_shapes=(AXES,)).module()
    assert torch.equal(graph(codes), model.decode(codes))
    codes[1, 2, 3] = 512
    message = r"range\(512\), got 512 at position \(1, 2, 3\)"
    with torch.no_grad(), pytest.raises(CodeRangeError, match=message):  # restores the grad mode
        graph(codes)


def ahead_of_time(graph, example, path):
    """Compile, load and run a graph."""
    program = torch.export.export(graph, (example,))
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    return torch._inductor.aoti_load_package(str(path))(example)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own
def test_aot_inductor_encodes_and_decodes(model, images, tmp_path):
    """Compiled ahead of time, loaded, and run: the search is called by the compiled program."""
    codes = model.encode(images)
    with torch.no_grad():  # restores what a compiled program leaves behind
        found = [
            ahead_of_time(EncodeGraph(model), images, tmp_path / "encode.pt2"),
            ahead_of_time(DecodeGraph(model), codes, tmp_path / "decode.pt2"),
        ]
    latents = model.latents(images).detach().reshape(-1, model.config.dim)
    radii = certvq.stability_radius(latents, model.quantizer.codebook, codes.flatten())
    firm = (radii > 1e-4).reshape(codes.shape)  # the compiled encoder rounds in another order
    assert firm.float().mean() > 0.5
    assert torch.equal(found[0][firm], codes[firm])
    assert torch.allclose(found[1], model.decode(codes), atol=1e-5)
