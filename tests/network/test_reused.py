"""An encoder that is reused captures a shape once, and notices what changed."""

import pytest
import torch
from torch import nn

from certvq.errors import OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalEncoder, _reused, canonical_codes, capture


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolution():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Conv2d(2, 3, 2).eval()


def same(one, other):
    return torch.equal(one.codes, other.codes) and torch.equal(one.margin, other.margin)


def test_an_encoder_that_is_reused_captures_each_shape_once(monkeypatch):
    calls = []
    monkeypatch.setattr(_reused, "capture", lambda *given: calls.append(given) or capture(*given))
    model, codebook = convolution(), numbers(4, 20, 3)
    encode = CanonicalEncoder(model, codebook=codebook)
    batches = [numbers(seed, 1, 2, 5, 5) for seed in range(3)] + [numbers(3, 2, 2, 5, 4)]
    found = [encode(each) for each in batches]
    assert len(calls) == 2
    calls.clear()
    again = [canonical_codes(model, each, codebook=codebook) for each in batches]
    assert len(calls) == 4
    assert all(map(same, found, again))


@pytest.mark.rows("change", ["in place", "data", "replaced", "float64", "inference"])
def test_an_encoder_that_is_reused_notices_new_parameters(change):
    model, codebook, batch = (
        convolution(),
        numbers(4, 20, 3),
        numbers(5, 1, 2, 9, 9),
    )
    model = model.double() if change == "float64" else model
    encode = CanonicalEncoder(model, codebook=codebook)
    before, weight = encode(batch), model.weight
    with torch.no_grad():
        if change == "data":
            weight.data = weight.data + 1
        elif change == "replaced":
            model.weight = nn.Parameter(weight + 1)
        elif change == "inference":
            with torch.inference_mode():
                model.weight.add_(1)
        else:
            weight[0, 0, 0, 0] += 1
    after = encode(batch)
    assert not same(before, after)
    assert same(after, canonical_codes(model, batch, codebook=codebook))


def test_an_encoder_that_is_reused_notices_a_new_codebook_and_train_mode():
    config = VQVAEConfig(hidden=4, residual_blocks=0, dim=2, codebook_size=8)
    model = VQVAE(config, generator=torch.Generator().manual_seed(0)).eval()
    encode, batch = CanonicalEncoder(model), torch.rand(1, 3, 16, 16)
    before = encode(batch)
    with torch.no_grad():
        model.quantizer.codebook.copy_(model.quantizer.codebook.flip(0))
    assert torch.equal(encode(batch).codes, 7 - before.codes)
    model.train()
    with pytest.raises(OptionError, match="is in train mode"):
        encode(batch)


def test_only_the_last_shapes_are_kept():
    encode = CanonicalEncoder(nn.ReLU().eval(), codebook=torch.eye(2))
    for size in range(1, 11):
        encode(torch.ones(1, 2, size))
    assert [shape[2] for shape in encode._reused._ready] == list(range(3, 11))
