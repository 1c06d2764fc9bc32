"""`audit_module` looks into every layer of certvq, or says why not."""

import copy

import numpy as np
import pytest
import torch

import certvq
from certvq import nn as own
from certvq.compat import vector_quantize_pytorch as compat
from certvq.errors import NonFiniteError, UnknownQuantizerError

IMAGES = torch.zeros(2, 8, 4, 4).normal_(generator=torch.Generator().manual_seed(0))
ROWS = IMAGES.flatten(2).mT.contiguous()


def names_of(module):
    return [(set(each.__dict__), each.training) for each in module.modules()]


def identity():
    return torch.nn.Identity()


OWN = {
    "VectorQuantize": (lambda: own.VectorQuantize(8, 16), ROWS, 32, 1),
    "cosine": (lambda: own.VectorQuantize(8, 16, metric="cosine"), ROWS, 32, 1),
    "ResidualVQ": (lambda: own.ResidualVQ(8, 16, num_quantizers=3), ROWS, 96, 3),
    "shared": (lambda: own.ResidualVQ(8, 16, num_quantizers=3, shared=True), ROWS, 96, 1),
    "beam": (lambda: own.ResidualVQ(8, 16, num_quantizers=2, beam=own.Beam(3)), ROWS, 128, 2),
    "neural": (
        lambda: own.ResidualVQ(8, 16, num_quantizers=2, neural=own.Neural(depth=1)),
        ROWS,
        64,
        2,
    ),
    "GroupedResidualVQ": (
        lambda: own.GroupedResidualVQ(8, 16, groups=2, num_quantizers=2),
        ROWS,
        128,
        4,
    ),
    "ProductQuantize": (
        lambda: own.ProductQuantize([own.VectorQuantize(4, 16), own.SimVQ(4, 16)]),
        ROWS,
        64,
        2,
    ),
    "SimVQ": (lambda: own.SimVQ(8, 16), ROWS, 32, 1),
    "ResidualSimVQ": (lambda: own.ResidualSimVQ(8, 16, num_quantizers=2), ROWS, 64, 2),
    "LatentQuantize": (lambda: own.LatentQuantize((4,) * 8), ROWS, 256, 8),
    "LFQ": (lambda: own.LFQ(8), ROWS, 256, 8),
    "EvoLFQ": (lambda: own.EvoLFQ(identity(), identity(), own.LFQ(8)), ROWS, 256, 8),
    "RandomProjectionQuantizer": (
        lambda: own.RandomProjectionQuantizer(8, 16, 4, codebooks=2),
        ROWS,
        64,
        2,
    ),
    "HierarchicalVQ": (
        lambda: own.HierarchicalVQ(8, 16, scales=(1, 2, 4), layout="b c h w"),
        IMAGES,
        42,
        1,
    ),
    "Heads": (lambda: own.Heads(own.VectorQuantize(4, 16), heads=2), ROWS, 64, 1),
    "Project": (lambda: own.Project(own.VectorQuantize(4, 16), 8), ROWS, 32, 1),
    "Rotated": (lambda: own.Rotated(own.VectorQuantize(8, 16)), ROWS, 32, 1),
    "Scaled": (lambda: own.Scaled(own.VectorQuantize(8, 16), 2.0), ROWS, 32, 1),
    "compat heads": (
        lambda: compat.VectorQuantize(
            dim=8, codebook_size=16, heads=2, codebook_dim=4, separate_codebook_per_head=True
        ),
        ROWS,
        64,
        2,
    ),
    "compat residual": (
        lambda: compat.ResidualVQ(dim=8, codebook_size=16, num_quantizers=2),
        ROWS,
        64,
        2,
    ),
    "compat beam": (
        lambda: compat.ResidualVQ(dim=8, codebook_size=16, num_quantizers=2, beam_size=2),
        ROWS,
        96,
        2,
    ),
    "compat neural": (
        lambda: compat.ResidualVQ(
            dim=8, codebook_size=16, num_quantizers=2, implicit_neural_codebook=True
        ),
        ROWS,
        64,
        2,
    ),
    "compat grouped": (
        lambda: compat.GroupedResidualVQ(dim=8, codebook_size=16, num_quantizers=2, groups=2),
        ROWS,
        128,
        4,
    ),
    "compat SimVQ": (lambda: compat.SimVQ(dim=8, codebook_size=16), ROWS, 32, 1),
    "compat LatentQuantize": (
        lambda: compat.LatentQuantize(levels=[4] * 8, dim=8),
        IMAGES,
        256,
        8,
    ),
    "compat LFQ": (lambda: compat.LFQ(dim=8), ROWS, 256, 8),
    "compat residual LFQ": (
        lambda: compat.ResidualLFQ(dim=8, codebook_size=256, num_quantizers=2),
        ROWS,
        512,
        16,
    ),
    "compat projection": (
        lambda: compat.RandomProjectionQuantizer(
            dim=8, codebook_size=16, codebook_dim=4, num_codebooks=2
        ),
        ROWS,
        64,
        2,
    ),
    "compat hierarchical": (
        lambda: compat.HierarchicalVQ(
            dim=8, codebook_size=16, scales=((1, 1), (2, 2), (4, 4)), accept_image_fmap=True
        ),
        IMAGES,
        42,
        1,
    ),
    "compat sequential": (
        lambda: compat.Sequential(compat.VectorQuantize(dim=8, codebook_size=16)),
        ROWS,
        32,
        1,
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_layers_of_certvq_are_audited_and_right(kind):
    """Every one is reached, none is passed over, and nothing of it is changed."""
    make, z, tokens, codebooks = OWN[kind]
    layer = make()
    before, state = names_of(layer), copy.deepcopy(layer.state_dict())
    latest = [dict(each.latest) for each in layer.modules() if hasattr(each, "latest")]
    report = certvq.audit_module(layer, z)
    assert (report.ok, report.tokens, len(report.layers)) == (True, tokens, codebooks)
    assert all(each.tokens for each in report.layers)
    assert (report.unknown, report.unaudited) == ((), ())
    assert report.unstable < tokens
    assert certvq.audit_module(layer, z, perturbation=1e9).unstable == tokens
    assert names_of(layer) == before
    assert [dict(each.latest) for each in layer.modules() if hasattr(each, "latest")] == latest
    assert all(torch.equal(state[key], value) for key, value in layer.state_dict().items())


NO_CODEBOOK = {
    "FSQ": (lambda: own.FSQ((5, 5)), "exact thresholds"),
    "ResidualFSQ": (lambda: own.ResidualFSQ((5, 5), num_quantizers=2), "exact thresholds"),
    "FSP": (lambda: own.FSP((5, 5)), "into its bin"),
    "BinaryMapper": (lambda: own.BinaryMapper(2), "signs of logits"),
    "compat FSQ": (lambda: compat.FSQ([5, 5]), "exact thresholds"),
    "compat BinaryMapper": (lambda: compat.BinaryMapper(bits=2), "signs of logits"),
}


@pytest.mark.parametrize("kind", NO_CODEBOOK)
def test_layers_of_certvq_without_a_codebook_are_named(kind):
    make, reason = NO_CODEBOOK[kind]
    with pytest.raises(UnknownQuantizerError, match=f"needs a quantizer .* certvq .*{reason}"):
        certvq.audit_module(make(), ROWS[..., :2])
    model = torch.nn.ModuleDict({"q": make(), "vq": own.VectorQuantize(2, 4)})
    report = certvq.audit_module(model, ROWS[..., :2], call=lambda m, z: m["vq"](z))
    assert [each.name for each in report.layers] == ["vq"]
    assert report.unknown == ()
    assert all(each.name.startswith("q") and reason in each.reason for each in report.unaudited)
    assert f"not audited: {report.unaudited[0].name} (" in str(report)


class Shifted(own.VectorQuantize):
    """Returns other codes than its search."""

    def quantize_tokens(self, tokens):
        found = super().quantize_tokens(tokens)
        return found._replace(codes=(found.codes + 1) % self.codebook_size)


class Guessing(own.VectorQuantize):
    """Searches nothing."""

    def quantize_tokens(self, tokens):
        found = super().quantize_tokens(tokens[:0])
        codes = torch.zeros(len(tokens), dtype=torch.int64)
        return found._replace(codes=codes, vectors=self.decode_tokens(codes))


class Inventing(own.Quantizer):
    """A quantizer of the user's own."""

    codebook_size = 1

    def quantize_tokens(self, tokens):
        raise NotImplementedError

    encode_tokens = decode_tokens = quantize_tokens


def test_a_subclass_that_returns_other_codes_is_wrong():
    report = certvq.audit_module(Shifted(8, 16), ROWS)
    assert (report.tokens, report.wrong) == (32, 32)
    assert not report.ok


def test_codes_without_a_search_are_not_passed_over():
    with pytest.raises(UnknownQuantizerError, match="no code to audit: of '', codes came without"):
        certvq.audit_module(Guessing(8, 16), ROWS)
    model = torch.nn.ModuleDict({"guess": Guessing(8, 16), "vq": own.VectorQuantize(8, 16)})
    report = certvq.audit_module(model, ROWS, call=lambda m, z: (m["guess"](z), m["vq"](z)))
    assert [each.name for each in report.layers] == ["vq"]
    assert [(each.name, each.kind) for each in report.unaudited] == [("guess", "Guessing")]
    assert "without a search" in report.unaudited[0].reason


def test_a_quantizer_of_the_users_own_is_named():
    model = torch.nn.ModuleList([Inventing(8), own.VectorQuantize(8, 16)])
    report = certvq.audit_module(model, ROWS, call=lambda m, z: m[1](z))
    assert [(each.name, each.reason) for each in report.unaudited] == [
        ("0", "finds its codes in a way of its own")
    ]


def test_layers_of_both_kinds_are_in_the_order_of_the_modules(layers):
    model = torch.nn.Sequential(own.LFQ(2), layers.OneHotQuantizer(4, 2), own.VectorQuantize(2, 4))
    z = torch.randn(9, 2)
    report = certvq.audit_module(
        model, z, call=lambda m, z: (m[0](z[None]), m[1](z), m[2](z[None]))
    )
    assert [each.name for each in report.layers] == ["0[0]", "0[1]", "1", "2"]
    assert [each.kind for each in report.layers] == [
        "LFQ",
        "LFQ",
        "VectorQuantizer",
        "VectorQuantize",
    ]


def test_own_latents_are_rounded_in_the_type_that_came_in():
    """The border lies at 1; a bfloat16 just beyond it is one rounding away."""
    layer = own.VectorQuantize(4, 2)
    layer.codebook.copy_(torch.tensor([[0.0] * 4, [2.0] * 4]))
    layer.started.fill_(True)
    z = torch.tensor([[[1 + 2.0**-7, 1, 1, 1], [1 + 3 * 2.0**-7, 1, 1, 1]]])
    assert certvq.audit_module(layer, z).unstable == 0
    assert certvq.audit_module(layer, z.bfloat16()).unstable == 1


def test_nan_in_a_layer_of_certvq_is_named():
    model = torch.nn.Sequential(own.VectorQuantize(2, 4))
    before = names_of(model)
    with pytest.raises(
        NonFiniteError, match=r"layer '0': latents must be finite, got nan at row 1"
    ):
        certvq.audit_module(model, torch.tensor([[[0.0, 0.0], [np.nan, 0.0]]]))
    assert names_of(model) == before
