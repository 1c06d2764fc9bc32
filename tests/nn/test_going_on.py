"""Training goes on as if nothing had been: copies, lost numbers, shared states, forwards anew.

The cases and helpers are those of test_contract.py.
"""

import copy
import importlib.util
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint


def contract():
    path = Path(__file__).with_name("test_contract.py")
    spec = importlib.util.spec_from_file_location("_contract", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTRACT = contract()
build, over, every = CONTRACT.build, CONTRACT.over, CONTRACT.every
each_class = CONTRACT.each_class
has_generator, latents_of = CONTRACT.has_generator, CONTRACT.latents_of


def again(layer, way):
    """Copy a layer, by way of bytes or not."""
    if way == "deepcopy":
        return copy.deepcopy(layer)
    if way == "pickle":
        return pickle.loads(pickle.dumps(layer))  # noqa: S301 (our own bytes)
    return None


@every
@pytest.mark.rows("way", ["deepcopy", "pickle", "state_dict"])
@pytest.mark.rows("steps", [0, 3])
def test_training_goes_on_from_a_copy(make, way, steps, same_bits, snapshot, unchanged):
    layer = build(make, steps=steps)
    if way == "state_dict":
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        other = build(make, seed=5)
        other.load_state_dict(torch.load(file, weights_only=True))
    else:
        other = again(layer, way)
    before = snapshot(layer)
    assert unchanged(other, before)
    results = [other(latents_of(seed=step)) for step in range(5, 8)]
    assert unchanged(layer, before)
    for step, theirs in zip(range(5, 8), results, strict=True):
        ours = layer(latents_of(seed=step))
        assert torch.equal(ours.codes, theirs.codes)
        assert same_bits(ours.quantized, theirs.quantized)
        assert same_bits(ours.loss, theirs.loss)
    assert unchanged(other, snapshot(layer))


@every
@pytest.mark.rows("meta", [True, False])
def test_training_goes_on_in_a_layer_whose_numbers_were_lost(make, meta, snapshot, unchanged):
    """Whether it was built without numbers or `to_empty` took them: the state dict has enough."""
    layer = build(make, steps=3)
    with torch.device("meta" if meta else "cpu"):
        other = make(layout="b n d", generator=torch.Generator().manual_seed(0))
    assert repr(other)
    numbers = [*other.parameters(), *other.buffers()]
    assert {tensor.device.type for tensor in numbers} <= {"meta" if meta else "cpu"}
    other.to_empty(device="cpu")
    for tensor in other.state_dict().values():
        if isinstance(tensor, torch.Tensor):
            tensor.zero_()  # what memory held before is not all that is there
    other.load_state_dict(layer.state_dict())
    parts = zip(layer.modules(), other.modules(), strict=True)
    for ours, theirs in ((a, b) for a, b in parts if has_generator(a)):
        theirs.generator.set_state(ours.generator.get_state())
    for step in range(5, 8):
        assert torch.equal(layer(latents_of(seed=step)).codes, other(latents_of(seed=step)).codes)
    assert unchanged(other, snapshot(layer))


@every
def test_two_layers_that_share_a_state_train_apart(make, snapshot, unchanged):
    """Loading copies, the state of inner optimisers too."""
    layer, other = build(make, steps=3), build(make, seed=5)
    other.load_state_dict(layer.state_dict())
    twin = copy.deepcopy(layer)
    for step in range(5, 8):
        other(latents_of(seed=step))
    for step in range(3):
        layer(latents_of(seed=step))
        twin(latents_of(seed=step))
    assert unchanged(layer, snapshot(twin))


@each_class
def test_inference_mode_teaches_as_well(make, snapshot, unchanged):
    """What was learned there goes on outside of it."""
    layer, twin = build(make), build(make)
    for step in range(4):
        with torch.inference_mode(step % 2 == 0):
            codes = layer(latents_of(seed=step)).codes
        assert torch.equal(codes, twin(latents_of(seed=step)).codes)
    assert unchanged(layer, snapshot(twin))


@over("samples", "noisy")
@pytest.mark.rows("reentrant", [True, False])
@pytest.mark.rows("mode", [True, False])
def test_gradient_checkpointing_changes_nothing(
    make, reentrant, mode, snapshot, unchanged, same_bits
):
    """The forward pass within the backward pass sees the same codebook, and teaches nothing."""
    slopes, layers = [], (build(make, steps=3).train(mode), build(make, steps=3).train(mode))
    for layer, again in zip(layers, (True, False), strict=True):
        x = latents_of(seed=7).requires_grad_()
        found = (
            checkpoint(lambda *given: tuple(given[0](given[1])), layer, x, use_reentrant=reentrant)
            if again
            else layer(x)
        )
        (found[0].square().sum() + found[2]).backward()
        slopes.append(x.grad)
        layer.train()(latents_of(seed=8))
    assert same_bits(*slopes)
    assert unchanged(layers[0], snapshot(layers[1]))
