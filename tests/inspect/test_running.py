"""What is watched is put back, and data are read as batches."""

import pytest
import torch

import certvq
from certvq.inspect._libraries.find import find_layers
from certvq.inspect._running import run_model, watched


@pytest.mark.parametrize("patched", [False, True])
def test_a_watch_is_taken_off_again(layers, patched):
    layer = layers.OneHotQuantizer(4, 2)
    if patched:
        certvq.patch_module(layer)
    before, seen = dict(layer.__dict__), []
    (found,) = find_layers(layer)
    z = torch.randn(3, 2)

    def attempt():
        with watched(found, lambda *each: seen.append(each)):
            layer(z)
            raise KeyError

    with pytest.raises(KeyError):
        attempt()
    layer(z)
    assert layer.__dict__ == before
    ((ordinal, comparison, codes, held),) = seen
    assert (ordinal, held) == (0, torch.float32)
    assert torch.equal(comparison.latents[0], z)
    assert torch.equal(codes[0], certvq.assign(z, layer.embedding.weight).codes)


def test_a_model_is_called_by_place_or_by_name():
    assert run_model(lambda z: z, 3) == run_model(lambda z: z, {"z": 3}) == 3
