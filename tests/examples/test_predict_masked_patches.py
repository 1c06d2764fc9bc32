"""`examples/predict_masked_patches.py`: a network learns to name hidden patches of photographs."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from certvq.nn import PADDING

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "examples" / "predict_masked_patches.py"


def load_example():
    spec = importlib.util.spec_from_file_location("predict_masked_patches", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = load_example()


@pytest.fixture(scope="module")
def photographs():
    return EXAMPLE.photographs()


@pytest.fixture(scope="module")
def patches_of(photographs):
    return EXAMPLE.Patches(photographs[0])


def trained(photographs, patches_of, steps):
    network, quantizer = EXAMPLE.models(0)
    train, heldout = photographs
    before = {name: buffer.clone() for name, buffer in quantizer.named_buffers()}
    done = EXAMPLE.fit(
        network, quantizer, train, patches_of, seed=0, seconds=math.inf, most_steps=steps
    )
    assert done == steps
    assert all(torch.equal(before[name], now) for name, now in quantizer.named_buffers())
    return EXAMPLE.measure(network, quantizer, heldout, patches_of, seed=0)


def test_training_beats_the_most_frequent_code(photographs, patches_of):
    early = trained(photographs, patches_of, 1)
    late = trained(photographs, patches_of, 25)
    assert early.patches == late.patches > 10_000
    assert early.most_frequent == late.most_frequent < 0.3
    assert late.accuracy > late.most_frequent + 0.1
    assert late.accuracy > early.accuracy


def test_patches_have_the_training_set_s_spread(photographs, patches_of):
    every = torch.cat(
        [patches_of(one.pixels[None])[0].flatten(1) for one in photographs[0]], dim=1
    ).double()
    assert every.mean(dim=1).abs().max() < 1e-3, "the sums are those of float32"
    assert (every.std(dim=1) - 1.0).abs().max() < 1e-3


def test_a_patch_holds_its_pixels(patches_of):
    """Of 9 x 10 pixels one row and two columns make no whole patch."""
    pixels = np.arange(9 * 10 * 3, dtype=np.uint8).reshape(1, 9, 10, 3)
    patches = patches_of(pixels)
    assert patches.shape == (1, 48, 2, 2)
    back = patches * patches_of.spread[:, None, None] + patches_of.mean[:, None, None]
    found = (back[0, :, 1, 0] * 255).round().to(torch.uint8)
    block = torch.from_numpy(pixels[0, 4:8, 0:4]).permute(2, 0, 1).reshape(-1)
    assert torch.equal(found, block)


def test_what_is_hidden_is_not_seen(photographs, patches_of):
    """Other pixels under the noise change nothing that the network gets."""
    patches = patches_of(photographs[1][0].pixels[None])
    visible, hidden = EXAMPLE.hide(patches, torch.Generator().manual_seed(3))
    other = torch.where(hidden[:, None], patches + 1.0, patches)
    again, same = EXAMPLE.hide(other, torch.Generator().manual_seed(3))
    assert torch.equal(visible, again)
    assert torch.equal(hidden, same)
    assert 0.2 < hidden.double().mean() < 0.3
    assert torch.equal(visible[:, 0][~hidden], patches[:, 0][~hidden])


def test_only_hidden_patches_are_asked_for(photographs, patches_of):
    """Their codes are those of the patches themselves, not of what hides them."""
    _, quantizer = EXAMPLE.models(0)
    patches = patches_of(photographs[1][0].pixels[None])
    _, hidden = EXAMPLE.hide(patches, torch.Generator().manual_seed(3))
    codes = quantizer.encode(patches, hidden)
    assert (codes[~hidden] == PADDING).all()
    assert torch.equal(codes[hidden], quantizer.encode(patches)[hidden])


def test_the_command_prints_both_shares(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["predict_masked_patches.py", "--steps", "1"])
    EXAMPLE.main()
    words = capsys.readouterr().out
    assert words.startswith("1 steps: ")
    assert "by the most frequent of 64 codes" in words
