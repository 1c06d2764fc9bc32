"""The place of an argmin: shapes, several of them in a call, and what passes by."""

import pytest
import torch

import certvq
from certvq.errors import NonFiniteError, UnknownQuantizerError
from certvq.inspect._argmin import site as _site
from certvq.inspect._argmin.site import Site, certified_codes, install, site_of, uninstall
from certvq.inspect._libraries.adapter import Adapter, Comparison


class Layer(torch.nn.Module):
    """Chooses twice, and takes an argmax that is no choice of codes."""

    def __init__(self):
        super().__init__()
        self.codebook = torch.nn.Parameter(torch.randn(6, 3))

    def forward(self, z):
        first = torch.cdist(z, self.codebook).argmin(-1)
        largest = z.max(-1).indices
        second = (-torch.cdist(-z, self.codebook)).max(-1)
        return first, largest, second


ADAPTER = Adapter("tests", ("Layer",), "forward")


def test_every_argmin_over_the_codebook_is_answered():
    layer, z, seen = Layer(), torch.randn(2, 20, 3), []
    own = layer(z)
    site = Site("here", layer, ADAPTER, observe=lambda *each: seen.append(each))
    install(site)
    assert site_of(layer, ADAPTER) is site
    first, largest, second = layer(z)
    right = [certvq.assign(w.reshape(-1, 3), layer.codebook).codes.view(2, 20) for w in (z, -z)]
    assert torch.equal(first, right[0])
    assert torch.equal(largest, own[1])
    assert torch.equal(second.indices, right[1])
    assert torch.equal(second.values, own[2].values)
    assert [(each[0], each[1].latents.shape, each[3]) for each in seen] == [
        (0, (1, 40, 3), torch.float32),
        (1, (1, 40, 3), torch.float32),
    ]
    uninstall(site)
    assert site_of(layer, ADAPTER) is None


def test_a_call_without_an_argmin_is_refused():
    class Rounded(Layer):
        def forward(self, z):
            return z.round()

    layer = Rounded()
    install(Site("deep.down", layer, ADAPTER))
    text = r"layer 'deep\.down' \(.*Rounded\): an argmin .* was expected in forward, got none;"
    with pytest.raises(UnknownQuantizerError, match=text):
        layer(torch.randn(4, 3))


def test_an_argmin_without_a_product_is_told():
    """Differences by broadcasting are scores as well, but nothing says of what."""

    class Broadcast(Layer):
        def forward(self, z):
            return (z[:, None] - self.codebook).square().sum(-1).argmin(1)

    layer = Broadcast()
    install(Site("deep.down", layer, ADAPTER))
    text = (
        rf"got none \(one over scores of shape \(4, {len(layer.codebook)}\) came after no product"
    )
    with pytest.raises(UnknownQuantizerError, match=text):
        layer(torch.randn(4, 3))


def test_no_tokens_give_no_codes():
    layer = Layer()
    install(Site("", layer, ADAPTER))
    assert layer(torch.empty(0, 3))[0].shape == (0,)


def test_codes_of_several_codebooks():
    comparison = Comparison(torch.randn(3, 10, 4), torch.randn(3, 8, 4))
    codes = certified_codes(comparison, "x")
    for head in range(3):
        right = certvq.assign(comparison.latents[head], comparison.codebook[head]).codes
        assert torch.equal(codes[head], right)


def test_nan_names_the_layer():
    with pytest.raises(
        NonFiniteError, match=r"layer 'x': latents must be finite, got nan at row 0"
    ):
        certified_codes(Comparison(torch.full((1, 1, 2), torch.nan), torch.ones(1, 3, 2)), "x")


def test_a_codebook_is_packed_and_explained_once_while_it_stays(layers, monkeypatch):
    layer, z = layers.VectorQuantizer(64, 8, l2_norm=False).eval(), torch.randn(2, 8, 5, 5)
    seen, explains = [], _site.explains
    monkeypatch.setattr(_site, "explains", lambda *given: seen.append(1) or explains(*given))
    prepared, prepare = [], _site.prepare
    monkeypatch.setattr(_site, "prepare", lambda book: prepared.append(1) or prepare(book))
    certvq.patch_module(layer)
    for calls in range(3):
        layer(z + calls)
    assert (len(seen), len(prepared)) == (1, 1)
    layer.embedding.weight.data.mul_(-2)  # which no version counter shows
    codes = layer(z)[2][2]
    latents = z.permute(0, 2, 3, 1).reshape(-1, 8)
    assert torch.equal(codes, certvq.assign(latents, layer.embedding.weight).codes)
    assert (len(seen), len(prepared)) == (2, 2)
    layer.double()(z.double())
    assert (len(seen), len(prepared)) == (3, 3)
