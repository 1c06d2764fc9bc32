"""State dicts of the original: every tensor arrives, with strict loading."""

import re

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize as Original

from certvq import nn
from certvq.compat.vector_quantize_pytorch import VectorQuantize
from certvq.compat.vector_quantize_pytorch._codebook import layer_state
from certvq.errors import FileFormatError, NonFiniteError

BOTH = (Original, VectorQuantize)


def trained():
    torch.manual_seed(0)
    theirs = Original(3, 5)
    for _ in range(3):
        theirs(torch.randn(1, 20, 3))
    return theirs


def test_a_layer_of_certvq_takes_it_over():
    """And goes on as the original does."""
    theirs = trained()
    ours = nn.VectorQuantize(3, 5, update=nn.EMA(0.8, debias=False), revive=None)
    ours.load_state_dict(layer_state(theirs.state_dict(), ""))
    for _ in range(3):
        x = torch.randn(1, 20, 3)
        assert torch.equal(ours(x).codes, theirs(x)[1])
    ours.settle()
    torch.testing.assert_close(ours.codebook, theirs.codebook)


def test_affine_moments_and_bridges_arrive():
    torch.manual_seed(0)
    theirs = Original(3, 5, affine_param=True)
    for _ in range(2):
        theirs(torch.randn(1, 20, 3) + 4.0)
    ours = VectorQuantize(3, 5, affine_param=True)
    state = theirs.state_dict()
    ours.load_state_dict(state)
    assert torch.equal(ours.layers[0].affine.batch_mean, state["_codebook.batch_mean"].flatten())
    assert ours.layers[0].affine.begun
    bridged = Original(3, 5, vq_bridge=torch.nn.Linear(3, 3))
    ours = VectorQuantize(3, 5, vq_bridge=torch.nn.Linear(3, 3))
    ours.load_state_dict(bridged.state_dict())
    assert torch.equal(ours.vq_bridge.weight, bridged._codebook.vq_bridge.weight)


def test_moments_that_the_original_has_not_yet_written_to_are_not_read():
    """They are what memory held before, NaN at times; others are refused if they are NaN."""
    theirs = Original(3, 5, affine_param=True)
    theirs._codebook.codebook_variance.fill_(torch.nan)
    ours = VectorQuantize(3, 5, affine_param=True)
    ours.load_state_dict(theirs.state_dict())
    assert not ours.layers[0].affine.begun
    theirs(torch.randn(1, 20, 3))
    theirs._codebook.codebook_variance.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="codebook_variance"):
        ours.load_state_dict(theirs.state_dict())


def test_frozen_moments_are_frozen_as_migration_says():
    x = torch.randn(1, 20, 3)
    theirs, ours = (kind(3, 5, affine_param=True, freeze_codebook=True) for kind in BOTH)
    for layer in (theirs, ours):
        layer(x)
    assert bool(theirs._codebook.batch_mean.any())
    assert not ours.layers[0].affine.begun


def test_the_layer_may_stand_anywhere():
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 3), trained())
    state = theirs.state_dict()
    ours = torch.nn.Sequential(torch.nn.Linear(3, 3), VectorQuantize(3, 5))
    ours.load_state_dict(state)
    assert torch.equal(ours[1].codebook, theirs[1].codebook)


def test_a_damaged_state_is_refused():
    state = trained().state_dict()
    del state["_codebook.embed_avg"]
    with pytest.raises(FileFormatError, match="'_codebook.embed_avg' is missing"):
        VectorQuantize(3, 5).load_state_dict(state)
    for name, shape in (("embed", (5, 3)), ("cluster_size", (5,))):
        old = trained().state_dict()
        old[f"_codebook.{name}"] = old[f"_codebook.{name}"][0]
        text = (
            f"'_codebook.{name}' must have . axes.*got shape {re.escape(str(shape))}; if an older"
        )
        with pytest.raises(FileFormatError, match=text):
            VectorQuantize(3, 5).load_state_dict(old)
    for name in ("extra", "_codebook.extra"):
        other = dict(trained().state_dict(), **{name: torch.zeros(1)})
        with pytest.raises(RuntimeError, match=f"Unexpected key.*{name}"):
            VectorQuantize(3, 5).load_state_dict(other)
    with pytest.raises(RuntimeError, match="size mismatch"):
        VectorQuantize(3, 6).load_state_dict(trained().state_dict())
