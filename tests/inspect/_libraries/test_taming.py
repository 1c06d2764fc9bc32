"""Layers that people copy: names and attributes decide, and the scores must be explained."""

import copy

import pytest
import torch
from torch.nn import functional

import certvq


def rows(z):
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])


def test_taming_quantizer_is_repaired(layers, offset, repaired):
    layer, z = layers.VectorQuantizer2(64, 8, 0.25), offset(2, 8, 12, 12)
    layer.embedding.weight.data += 1000
    before = repaired(torch.nn.Sequential(layer), z)
    assert before.layers[0].name == "0"
    assert before.layers[0].tokens == 288
    z_q, _, (_, _, codes) = layer(z)
    assert torch.equal(codes, certvq.assign(rows(z), layer.embedding.weight).codes)
    nearest = layer.embedding.weight[codes].view(2, 12, 12, 8).permute(0, 3, 1, 2)
    assert torch.equal(z_q, z + (nearest - z))


@pytest.mark.parametrize("l2_norm", [True, False])
def test_llamagen_quantizer_is_repaired(layers, offset, repaired, l2_norm):
    layer, z = layers.VectorQuantizer(64, 8, l2_norm=l2_norm), offset(2, 8, 12, 12)
    layer.embedding.weight.data += 1000
    repaired(layer, z)
    latents, codebook = rows(z), layer.embedding.weight
    if l2_norm:
        latents, codebook = (
            functional.normalize(latents, dim=-1),
            functional.normalize(codebook, dim=-1),
        )
    assert torch.equal(layer(z)[2][2], certvq.assign(latents, codebook).codes)


@pytest.mark.parametrize("kind", ["EMAVectorQuantizer", "NormEMAVectorQuantizer"])
def test_ema_quantizers_are_repaired(layers, offset, repaired, kind):
    layer, z = getattr(layers, kind)(64, 8), offset(2, 8, 12, 12)
    weight = layer.embedding.weight
    weight.data.copy_(layer.prepared(weight + 1000))
    repaired(layer, z)
    codes = layer.eval()(z)[2][2]
    assert torch.equal(codes, certvq.assign(layer.prepared(rows(z)), weight).codes)


def test_one_hot_quantizer_is_repaired(layers, offset, repaired):
    layer, z = layers.OneHotQuantizer(64, 8), offset(300, 8)
    layer.embedding.weight.data += 1000
    repaired(layer, z)
    quantized, codes = layer(z)
    assert codes.shape == (300, 1)
    assert torch.equal(codes[:, 0], certvq.assign(z, layer.embedding.weight).codes)
    assert torch.equal(quantized, layer.embedding.weight[codes[:, 0]])


class VectorQuantizer2(torch.nn.Module):
    """As in VAR: scale by scale in ``forward``, which no method that encodes goes through."""

    def __init__(self, n_e, e_dim):
        super().__init__()
        self.embedding = torch.nn.Embedding(n_e, e_dim)

    def forward(self, z):
        return torch.stack([self._nearest_in_place(rest) for rest in (z, z / 2)])

    def to_tokens(self, z):
        return self._nearest_in_place(z)

    def from_tokens(self, codes):
        return self.embedding(codes)

    @staticmethod
    def nearest_of(z, weight):
        return torch.cdist(z, weight).argmin(dim=1)

    @torch.no_grad()
    def _nearest_in_place(self, z):
        weight = self.embedding.weight.data
        d = z.square().sum(1, keepdim=True) + weight.square().sum(1)
        d.addmm_(z, weight.T, alpha=-2, beta=1)
        return d.argmin(dim=1)


def test_every_method_that_encodes_is_repaired(offset):
    layer, z = VectorQuantizer2(64, 8), offset(256, 8)
    layer.embedding.weight.data += 1000
    right = certvq.assign(z, layer.embedding.weight).codes
    wrong = int((layer.to_tokens(z) != right).sum())
    audited = certvq.audit_module(layer, z, call=lambda model, batch: model.to_tokens(batch))
    assert (audited.tokens, audited.wrong) == (256, wrong)
    assert wrong > 0
    before = set(vars(layer))
    certvq.patch_module(layer)
    copied = copy.deepcopy(layer)
    for model in (layer, copied):
        assert torch.equal(model.to_tokens(z), right)
        assert torch.equal(model.nearest_of(z, layer.embedding.weight), right)
        assert torch.equal(model(z)[0], right)
        assert torch.equal(model.from_tokens(right), layer.embedding(right))
    certvq.unpatch_module(layer)
    assert set(vars(layer)) == before
    assert int((layer.to_tokens(z) != right).sum()) == wrong


def distances(z, codebook):
    return (z[:, None] - codebook).square().sum(-1)


def nearest(z, codebook):
    return distances(z, codebook).argmin(1)


def with_method(method):
    kind = type("VectorQuantizer2", (VectorQuantizer2,), {"also": method})
    return kind(64, 8)


@pytest.mark.parametrize(
    ("method", "way"),
    [
        (lambda self, z: nearest(z, self.embedding.weight), "an argmin of distances without"),
        (lambda self, z: torch.cdist(z, self.embedding.weight).argsort(1)[:, 0], "argsort"),
        (torch.no_grad()(lambda self, z: (z @ self.embedding.weight.T).topk(1)[1]), "topk"),
    ],
)
def test_a_search_that_cannot_be_answered_is_refused_before_anything_is_patched(method, way):
    model = torch.nn.Sequential(VectorQuantizer2(64, 8), with_method(method))
    with pytest.raises(certvq.errors.UnknownQuantizerError, match=f"'1' .*but also does by {way}"):
        certvq.patch_module(model)
    assert "forward" not in vars(model[0])
    certvq.audit_module(model[1], torch.randn(5, 8))


@pytest.mark.parametrize(
    "method",
    [
        lambda self, z: torch.cdist(self.embedding.weight, z).argmin(0),
        lambda self, z: torch.cdist(z, self.embedding.weight).detach().numpy().argmin(1),
        lambda self, z: self.metric(z, self.embedding.weight).argmin(1),
    ],
)
def test_what_its_code_does_not_show_is_refused_when_it_is_called(method, offset):
    layer = with_method(method)
    layer.metric = distances
    certvq.patch_module(layer)
    with pytest.raises(certvq.errors.UnknownQuantizerError, match="expected in also, got none"):
        layer.also(offset(100, 8))


def test_methods_that_choose_no_codes_are_patched_and_run():
    """The scarcest codes, the code of one latent, the greatest feature: no search goes wrong."""

    def also(self, z):
        self.embedding.weight.data[self.used.topk(2).indices] = z[:2]
        one = torch.cdist(z[:1], self.embedding.weight)[0].argmin()
        return one, (z**2).max(dim=1).values

    layer, z = with_method(also), torch.randn(6, 8)
    layer.used = torch.zeros(64)
    certvq.patch_module(layer)
    one, most = layer.also(z)
    assert one == certvq.assign(z[:1], layer.embedding.weight).codes[0]
    assert torch.equal(most, z.square().amax(1))


@pytest.mark.parametrize("kind", ["VectorQuantize", "MossAudioTokenizerLFQ"])
def test_descript_quantizer_is_repaired(layers, offset, repaired, kind):
    layer, z = getattr(layers, kind)(16, 64, 8), torch.randn(2, 16, 100)
    layer.codebook.weight.data += 1000
    layer.in_proj.bias.data += 1000
    repaired(layer, z)
    _, codes, projected = layer(z)
    flat = functional.normalize(projected.transpose(1, 2).reshape(-1, 8))
    right = certvq.assign(flat, functional.normalize(layer.codebook.weight)).codes
    assert torch.equal(codes.reshape(-1), right)


def test_moss_quantizer_is_repaired(layers, repaired):
    layer, z = layers.MossAudioTokenizerVectorQuantize(16, 64, 8), torch.randn(2, 16, 100)
    layer.codebook.weight.data += 1000
    layer.in_proj.bias.data += 1000
    repaired(layer, z)
    _, codes, projected = layer(z)
    flat = projected.transpose(1, 2).reshape(-1, 8)
    assert torch.equal(codes.reshape(-1), certvq.assign(flat, layer.codebook.weight).codes)


def test_encodec_codebook_is_repaired(layers, offset, repaired):
    codebook, x = layers.EuclideanCodebook(8, 64), offset(3, 100, 8)
    codebook.embed += 1000
    assert repaired(torch.nn.Sequential(codebook), x).tokens == 300
    right = certvq.assign(x.reshape(-1, 8), codebook.embed).codes
    assert torch.equal(codebook(x)[1].flatten(), right)


def test_rq_vae_embedding_is_repaired(layers, offset, repaired):
    """The row of the padding is no code, however near it is."""
    level, x = layers.VQEmbedding(64, 8), offset(2, 6, 6, 8)
    level.weight.data[:-1] += 1000
    level.weight.data[-1] = 1000
    before = repaired(torch.nn.ModuleList([level]), x, lambda model, z: model[0](z))
    assert (before.layers[0].name, before.layers[0].codebook_size) == ("0", 64)
    right = certvq.assign(x.reshape(-1, 8), level.weight[:-1]).codes
    assert torch.equal(level(x)[1].flatten(), right)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("kind", "sizes", "shape"),
    [
        ("VectorQuantizer2", (64, 8, 0.25), (2, 8, 5, 5)),
        ("VectorQuantizer", (64, 8), (2, 8, 5, 5)),
        ("OneHotQuantizer", (64, 8), (50, 8)),
        ("VectorQuantize", (16, 64, 8), (2, 16, 30)),
        ("EuclideanCodebook", (8, 64), (2, 30, 8)),
        ("VQEmbedding", (64, 8), (2, 30, 8)),
    ],
)
def test_nothing_else_changes(layers, kind, sizes, shape, training, unchanged):
    """Outputs, losses and gradients are those of the layer where its own codes are right."""
    layer, z = getattr(layers, kind)(*sizes), torch.randn(shape)

    def run(each):
        each.train(training)
        latents = z.clone().requires_grad_()
        out = each(latents)
        with torch.enable_grad():
            total = out[0].square().sum()
        if total.requires_grad:
            total.backward()
        return out, latents.grad

    unchanged(layer, run)


@pytest.mark.parametrize("kind", ["EMAVectorQuantizer", "NormEMAVectorQuantizer"])
def test_moving_averages_are_otherwise_unchanged(layers, kind):
    own = getattr(layers, kind)(64, 8)
    own.embedding.weight.data.copy_(own.prepared(own.embedding.weight))
    patched = copy.deepcopy(own)
    certvq.patch_module(patched)
    for z in torch.randn(3, 2, 8, 5, 5):
        assert torch.equal(own(z)[0], patched(z)[0])
    assert torch.equal(own.embedding.weight, patched.embedding.weight)


def test_under_autocast_the_latents_are_those_that_the_layer_holds(layers, offset, repaired):
    """The product is rounded to bfloat16; what is certified are the numbers before that."""
    layer, z = layers.VectorQuantizer2(64, 8, 0.25), offset(1, 8, 12, 12, mean=10.0)
    layer.embedding.weight.data += 10

    def call(each, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return each(batch)

    assert repaired(layer, z, call).layers[0].share_wrong > 0.2
    codes = call(layer, z)[2][2]
    assert torch.equal(codes, certvq.assign(rows(z), layer.embedding.weight).codes)


def test_scores_that_are_no_distances_are_refused(layers):
    """A layer by a known name that weighs its distances is not silently misread."""

    class VectorQuantizer(layers.OneHotQuantizer):
        def forward(self, z):
            weight = self.embedding.weight
            return (torch.cdist(z, weight) * torch.arange(1, 1 + len(weight))).argmin(1)

    layer, z = VectorQuantizer(64, 8), torch.randn(50, 8)
    text = r"layer 'q'.*scores must be distances.*50 latents, 64 code vectors, dim 8.*differ"
    model = torch.nn.Sequential()
    model.add_module("q", layer)
    with pytest.raises(certvq.errors.UnknownQuantizerError, match=text):
        certvq.audit_module(model, z)
    certvq.patch_module(model)
    with pytest.raises(certvq.errors.UnknownQuantizerError, match=text):
        model(z)


def test_an_inner_product_with_unlike_vectors_is_refused(layers):
    class VectorQuantizer(layers.OneHotQuantizer):
        def forward(self, z):
            return (z @ self.embedding.weight.t()).argmax(1)

    layer, z = VectorQuantizer(64, 8), torch.randn(50, 8)
    certvq.patch_module(layer)
    with pytest.raises(
        certvq.errors.UnknownQuantizerError,
        match="one length where scores are products",
    ):
        layer(z)
    layer.embedding.weight.data = torch.nn.functional.normalize(layer.embedding.weight.data)
    assert torch.equal(layer(z), certvq.assign(z, layer.embedding.weight).codes)


@pytest.mark.parametrize("choose", ["topk", "sort"])
def test_codes_that_are_chosen_otherwise_are_refused(layers, choose):
    class VectorQuantizer(layers.OneHotQuantizer):
        def forward(self, z):
            distances = torch.cdist(z, self.embedding.weight)
            if choose == "topk":
                return distances.topk(1, largest=False).indices
            return distances.sort(-1).indices[:, 0]

    layer = VectorQuantizer(64, 8)
    text = rf"expected in forward, got none \(codes were chosen by {choose}\)"
    with pytest.raises(certvq.errors.UnknownQuantizerError, match=text):
        certvq.audit_module(layer, torch.randn(50, 8))
    with pytest.raises(certvq.errors.UnknownQuantizerError, match="forward does by sort"):
        certvq.patch_module(layer)
