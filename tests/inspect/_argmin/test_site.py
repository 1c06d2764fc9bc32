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
    seen, explain = [], _site.explain
    monkeypatch.setattr(_site, "explain", lambda *given: seen.append(1) or explain(*given))
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


class VectorQuantizer(torch.nn.Module):
    """A copied layer whose scores, and whose codes on their way out, are given."""

    def __init__(self, scores, came=lambda codes: codes, codes=600):
        super().__init__()
        self.embedding = torch.nn.Embedding(codes, 4)
        self.scores, self.came = scores, came

    def forward(self, z):
        codes = self.scores(z, self.embedding.weight).argmin(1)
        return self.embedding(codes), {"loss": None, "codes": [self.came(codes)]}


def squares(z, c):
    return z.square().sum(1, keepdim=True) + c.square().sum(1)


SCORES = {
    "latents doubled": lambda z, c: squares(z, c) - 2 * z @ c.t(),
    "latents doubled, with the sign": lambda z, c: (
        squares(z, c) + torch.einsum("nd,kd->nk", z * -2.0, c)
    ),
    "codebook doubled": lambda z, c: squares(z, c) - torch.matmul(z, torch.mul(2, c.t())),
    "distances to the double": lambda z, c: torch.cdist(2 * z, c),
    "squares of the double": lambda z, c: squares(x := 2 * z, c) - 2 * torch.matmul(x, c.t()),
}


@pytest.mark.parametrize("scores", SCORES)
def test_operands_are_taken_before_they_are_doubled_for_the_product(scores):
    layer, z = VectorQuantizer(SCORES[scores]).eval(), torch.randn(50, 4)
    compared = 2 * z if "the double" in scores else z
    right = certvq.assign(compared, layer.embedding.weight).codes
    assert certvq.audit_module(layer, z).wrong == 0
    certvq.patch_module(layer)
    for _ in range(2):
        assert torch.equal(layer(z)[1]["codes"][0], right)


def test_silence_does_not_vouch_for_what_comes_later():
    """Of latents 0 all is explained, even where the layer compares their absolute values."""
    layer = VectorQuantizer(lambda z, c: squares(z, c) - 2 * torch.matmul(z.abs(), c.t())).eval()
    layer.scores = lambda z, c: torch.cdist(z, c) + 0 * z.sum() + 5 * z[:, :1].abs() * c[:, 0]
    certvq.patch_module(layer)
    layer(torch.zeros(9, 4))
    with pytest.raises(UnknownQuantizerError, match="scores must be distances"):
        layer(torch.randn(9, 4))


def test_an_option_that_changes_is_another_way_to_be_called():
    def scores(z, c):
        return torch.cdist(z, c) + (10 * c[:, 0] if layer.biased else 0)

    layer, z = VectorQuantizer(scores).eval(), torch.randn(9, 4)
    layer.biased = False
    certvq.patch_module(layer)
    layer(z)
    layer.biased = True
    with pytest.raises(UnknownQuantizerError, match="scores must be distances"):
        layer(z)


NARROW = {
    "uint8": lambda codes: codes.to(torch.uint8).long(),
    "int8": lambda codes: codes.to(torch.int8),
    "bfloat16": lambda codes: codes.bfloat16().long()[:, None],
}


@pytest.mark.parametrize("kind", NARROW)
def test_codes_that_a_narrow_type_changes_are_counted_and_refused(kind):
    layer, z = VectorQuantizer(torch.cdist, NARROW[kind]), torch.randn(300, 4)
    right = certvq.assign(z, layer.embedding.weight).codes
    came = NARROW[kind](right).flatten().long()
    assert certvq.audit_module(layer, z).wrong == int((came != right).sum())
    certvq.patch_module(layer)
    with pytest.raises(UnknownQuantizerError, match=rf"pass through torch\.{kind}, which makes"):
        layer(z)


@pytest.mark.parametrize(
    "came", [lambda codes: codes.float(), lambda codes: codes + 1, lambda codes: codes > 3]
)
def test_codes_that_come_otherwise_but_whole_are_left(came):
    layer, z = VectorQuantizer(torch.cdist, came), torch.randn(300, 4)
    certvq.patch_module(layer)
    right = certvq.assign(z, layer.embedding.weight).codes
    assert torch.equal(layer(z)[1]["codes"][0], came(right))
    assert certvq.audit_module(layer, z).wrong == 0


def test_unlike_lengths_are_named_where_products_decide():
    layer = VectorQuantizer(lambda z, c: -torch.matmul(z, c.t()))
    layer.embedding.weight.data.copy_(torch.nn.functional.normalize(layer.embedding.weight.data))
    layer.embedding.weight.data[7] = 0
    with pytest.raises(UnknownQuantizerError, match="one length .* but code 7 has length 0 and"):
        certvq.audit_module(layer, torch.randn(9, 4))


def test_nan_in_a_kept_codebook_names_the_layer():
    layer = VectorQuantizer(torch.cdist).eval()
    layer.embedding.weight.data[2, 1] = torch.nan
    certvq.patch_module(model := torch.nn.Sequential(layer))
    with pytest.raises(
        NonFiniteError, match="layer '0': codebook must be finite, got nan at row 2"
    ):
        model(torch.randn(3, 4))
