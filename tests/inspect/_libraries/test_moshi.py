"""moshi's codebook, which keeps its code vectors over `load_state_dict`."""

import runpy
from pathlib import Path

import pytest
import torch

import certvq
from certvq.errors import UnknownQuantizerError
from certvq.inspect._libraries.find import adapter_of

LAYERS = runpy.run_path(str(Path(__file__).parents[1] / "scalar_layers.py"))


def test_codes_are_audited_and_patched_also_after_other_weights_are_loaded():
    layer = LAYERS["EuclideanCodebook"](4, 32)
    layer.embedding_sum += 1000
    z = torch.randn(3, 200, 4) + 1000

    def call(model, batch):
        return model.encode(batch)

    assert adapter_of(layer).library == "moshi"
    assert certvq.audit_module(layer, z, call=call).wrong > 50
    layer.encode(z)
    state = {name: value.flip(0) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    with pytest.raises(UnknownQuantizerError, match="set its _embedding to None"):
        certvq.audit_module(layer, z, call=call)
    certvq.patch_module(layer)
    codes = certvq.assign(z.view(-1, 4), state["embedding_sum"]).codes
    assert torch.equal(layer.encode(z).flatten(), codes)
