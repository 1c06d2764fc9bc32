"""The real quantizers of vector-quantize-pytorch."""

import copy

import pytest
import torch
from torch.nn import functional

import certvq


@pytest.fixture
def vq(peer):
    return peer("vector_quantize_pytorch")


def moved(quantizer, mean):
    """Put the codebook of a `VectorQuantize` around a mean."""
    quantizer._codebook.embed.data.normal_().add_(mean)
    return quantizer


@pytest.mark.parametrize("learnable", [False, True])
def test_vector_quantize_is_repaired(vq, offset, repaired, learnable):
    options = {"learnable_codebook": True, "ema_update": False} if learnable else {}
    quantizer, x = moved(vq.VectorQuantize(16, 64, **options), 1000.0), offset(4, 100, 16)
    before = repaired(quantizer, x)
    assert [(each.name, each.tokens) for each in before.layers] == [("_codebook", 400)]
    quantized, codes, _ = quantizer.eval()(x)
    right = certvq.assign(x.reshape(-1, 16), quantizer.codebook).codes
    assert torch.equal(codes.flatten(), right)
    assert torch.equal(quantized, quantizer.codebook[codes])


def test_cosine_codebook_is_repaired(vq, offset, repaired):
    quantizer, x = vq.VectorQuantize(16, 64, use_cosine_sim=True), offset(4, 100, 16)
    quantizer._codebook.embed.copy_(functional.normalize(torch.randn(1, 64, 16) + 1000, dim=-1))
    repaired(quantizer, x)
    latents = functional.normalize(x.reshape(-1, 16), dim=-1, eps=1e-6)
    right = certvq.assign(latents, quantizer.codebook).codes
    assert torch.equal(quantizer.eval()(x)[1].flatten(), right)


def test_heads_have_codebooks_of_their_own(vq, offset, repaired):
    quantizer = vq.VectorQuantize(16, 64, heads=2, codebook_dim=8, separate_codebook_per_head=True)
    before = repaired(moved(quantizer, 1000.0), offset(2, 100, 16))
    assert [(each.name, each.tokens, each.dim) for each in before.layers] == [
        ("_codebook[0]", 200, 8),
        ("_codebook[1]", 200, 8),
    ]
    x = offset(2, 100, 16)
    codes = quantizer.eval()(x)[1]
    for head in range(2):
        latents = x[..., 8 * head : 8 * head + 8].reshape(-1, 8)
        right = certvq.assign(latents, quantizer._codebook.embed[head]).codes
        assert torch.equal(codes[..., head].flatten(), right)


def test_residual_levels_are_layers(vq, offset, repaired):
    quantizer = vq.ResidualVQ(dim=16, codebook_size=64, num_quantizers=3)
    for each in quantizer.layers:
        moved(each, 1000.0)
    before = repaired(quantizer, offset(2, 100, 16) * 3)
    assert [each.name for each in before.layers] == [f"layers.{i}._codebook" for i in range(3)]


def test_random_projection_is_repaired(vq, repaired):
    quantizer = vq.RandomProjectionQuantizer(
        dim=16, codebook_size=64, codebook_dim=8, num_codebooks=2
    )
    codebook = quantizer.vq._codebook.embed
    codebook.copy_(functional.normalize(torch.randn(codebook.shape) + 1000, dim=-1))
    quantizer.vq.project_in.bias.data += 1000
    before = repaired(quantizer, torch.randn(2, 100, 16))
    assert [each.name for each in before.layers] == ["vq._codebook[0]", "vq._codebook[1]"]


def test_sim_vq_is_repaired(vq, offset, repaired):
    quantizer, x = vq.SimVQ(16, 64), offset(4, 100, 16)
    quantizer.code_transform = torch.nn.Linear(16, 16)
    quantizer.code_transform.bias.data += 1000
    repaired(quantizer, x)
    codes = quantizer(x)[1]
    right = certvq.assign(x.reshape(-1, 16), quantizer.codebook).codes
    assert torch.equal(codes.flatten(), right)


def test_latent_quantize_is_repaired(vq, repaired):
    quantizer = vq.LatentQuantize(levels=[5, 8], dim=2)
    for values in quantizer.values_per_latent:
        values.data.mul_(1e-6)
    z = torch.randn(3, 2, 50) + 1000
    before = repaired(quantizer, z)
    assert [(each.name, each.codebook_size) for each in before.layers] == [("[0]", 5), ("[1]", 8)]
    assert [each.tokens for each in before.layers] == [150, 150]


@pytest.mark.parametrize("levels", [[15], [5, 15]])
def test_the_returned_index_of_latent_quantize_is_audited(vq, levels):
    """It rounds the value down and gives the index of the one below, 6 of 15 twice."""
    quantizer = vq.LatentQuantize(levels=levels, dim=len(levels)).eval()
    most = torch.arange(max(levels))
    places = torch.stack([most % level for level in levels])
    z = torch.stack([v[p] for v, p in zip(quantizer.values_per_latent, places, strict=True)])[None]
    right = (places * quantizer._basis[:, None]).sum(0)
    wrong = (quantizer(z)[1][0] != right).sum()
    assert wrong > 0
    report = certvq.audit_module(quantizer, z)
    assert report.wrong >= wrong
    assert report.layers[0].tokens == len(most)
    before = set(vars(quantizer))
    assert certvq.patch_module(quantizer) == [""]
    assert torch.equal(quantizer(z)[1][0].long(), right)
    assert certvq.audit_module(quantizer, z).ok
    certvq.unpatch_module(quantizer)
    assert set(vars(quantizer)) == before


def test_masked_and_single_tokens_are_read(vq):
    quantizer, x = vq.VectorQuantize(16, 64), torch.randn(2, 9, 16)
    mask = torch.arange(9) < torch.tensor([[4], [9]])
    report = certvq.audit_module(quantizer, [{"x": x, "mask": mask}, {"x": x[:, 0]}])
    assert report.tokens == 20
    assert report.ok


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_cosine_sim": True},
        {"kmeans_init": True},
        {"affine_param": True},
        {"threshold_ema_dead_code": 2},
        {"stochastic_sample_codes": True},
        {"heads": 2, "codebook_dim": 8, "separate_codebook_per_head": True},
        {"codebook_dim": 4},
    ],
    ids=str,
)
def test_training_is_otherwise_unchanged(vq, options):
    """Three steps with a patch give the same outputs, codebook, averages and gradients."""
    own = vq.VectorQuantize(16, 64, **options)
    patched = copy.deepcopy(own)
    assert certvq.patch_module(patched) == ["_codebook"]
    batches = torch.randn(3, 4, 50, 16)
    results = []
    for each in (own, patched):
        torch.manual_seed(2)
        outputs = []
        for batch in batches:
            x = batch.clone().requires_grad_()
            quantized, codes, loss = each(x)
            (quantized.square().mean() + loss.sum()).backward()
            outputs += [quantized, codes, loss, x.grad]
        results.append(outputs)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    state, other = own.state_dict(), patched.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_k_means_is_left_alone(vq, offset):
    """The start of a codebook is the library's, though its own argmin is wrong here."""
    x, started = offset(4, 200, 16), []
    for patch in (certvq.unpatch_module, certvq.patch_module):
        torch.manual_seed(2)
        quantizer = vq.VectorQuantize(16, 64, kmeans_init=True).eval()
        patch(quantizer)
        quantizer(x)
        started.append(quantizer.codebook)
    assert torch.equal(*started)


def test_codes_drawn_at_random_are_left_alone(vq):
    """Gumbel noise decides in training; in eval mode, or at temperature 0, the distance does."""
    x = torch.randn(2, 200, 16)
    quantizer = moved(vq.VectorQuantize(16, 64, stochastic_sample_codes=True, decay=1.0), 0.0)
    codebook = quantizer.codebook.clone()
    certvq.patch_module(quantizer)
    right = certvq.assign(x.reshape(-1, 16), codebook).codes.view(2, 200)
    drawn = quantizer(x, sample_codebook_temp=5.0, freeze_codebook=True)[1]
    assert (drawn != right).float().mean() > 0.1
    assert torch.equal(quantizer(x, sample_codebook_temp=0.0, freeze_codebook=True)[1], right)
    assert torch.equal(quantizer.eval()(x)[1], right)


@pytest.mark.parametrize("options", [{"kmeans_init": True}, {"affine_param": True}], ids=str)
def test_an_audit_leaves_the_state_alone(vq, options):
    """Such codebooks start or adapt themselves in eval mode too."""
    quantizer, x = vq.VectorQuantize(16, 64, **options), torch.randn(4, 50, 16)
    if "affine_param" in options:
        quantizer(x)
    before = copy.deepcopy(quantizer.state_dict())
    certvq.audit_module(quantizer, x)
    after = quantizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert quantizer.training


def test_latents_are_rounded_in_the_type_that_came_in(vq):
    """The codebook widens bfloat16 to float32; the default perturbation is that of bfloat16."""
    quantizer = vq.VectorQuantize(4, 2)
    quantizer.codebook = torch.tensor([[0.0] * 4, [2.0] * 4])
    x = torch.tensor([[[1 + 2.0**-7, 1, 1, 1], [1 + 3 * 2.0**-7, 1, 1, 1]]])
    assert certvq.audit_module(quantizer, x).unstable == 0
    assert certvq.audit_module(quantizer, x.bfloat16()).unstable == 1


def test_several_codes_for_each_latent(vq, offset, repaired):
    quantizer, x = moved(vq.VectorQuantize(16, 64), 1000.0), offset(2, 100, 16)
    before = repaired(quantizer, {"x": x, "topk": 3})
    ((layer),) = before.layers
    assert (layer.name, layer.tokens, layer.candidates) == ("_codebook", 200, 3)
    right = certvq.rank(x.reshape(-1, 16), quantizer.codebook, 3).codes
    assert torch.equal(quantizer.eval()(x, topk=3)[1].reshape(-1, 3), right)


def test_one_and_several_codes_are_counted_apart(vq):
    quantizer, x = vq.VectorQuantize(16, 64), torch.randn(2, 9, 16)
    report = certvq.audit_module(quantizer, [{"x": x}, {"x": x, "topk": 2}, {"x": x}])
    assert [(each.name, each.tokens, each.candidates) for each in report.layers] == [
        ("_codebook[0]", 36, 1),
        ("_codebook[1]", 18, 2),
    ]


@pytest.mark.parametrize("cosine", [False, True])
def test_a_beam_is_repaired(vq, offset, repaired, cosine):
    quantizer = vq.ResidualVQ(
        dim=16, codebook_size=64, num_quantizers=2, beam_size=3, use_cosine_sim=cosine
    )
    for each in quantizer.layers:
        vectors = torch.randn(1, 64, 16) + 1000
        each._codebook.embed.copy_(functional.normalize(vectors, dim=-1) if cosine else vectors)
    before = repaired(quantizer, offset(2, 50, 16))
    assert [(each.tokens, each.candidates) for each in before.layers] == [(100, 3), (300, 3)]


def test_a_beam_is_otherwise_unchanged(vq, unchanged):
    """Where the candidates were right, patched and own results are the same to the bit."""
    quantizer = vq.ResidualVQ(dim=4, codebook_size=8, num_quantizers=3, beam_size=2).eval()
    for each in quantizer.layers:
        each._codebook.embed.copy_(torch.randn(1, 8, 4))
    x = torch.randn(2, 9, 4)
    unchanged(quantizer, lambda model: model(x))


def test_codebooks_of_each_token_are_repaired(vq, offset, repaired):
    """An implicit neural codebook has other code vectors for each latent."""
    quantizer = vq.ResidualVQ(
        dim=16, codebook_size=64, num_quantizers=2, implicit_neural_codebook=True
    )
    for each in quantizer.layers:
        each._codebook.embed.data.normal_().add_(1000.0)
    quantizer.mlps[0].proj_in.bias.data.add_(1000.0)
    before = repaired(quantizer, offset(2, 50, 16))
    assert [(each.name, each.tokens, each.codebook_size) for each in before.layers] == [
        ("layers.0._codebook", 100, 64),
        ("layers.1._codebook", 100, 64),
    ]


def test_codes_of_a_network_are_the_nearest(vq):
    """What is audited are the latents and code vectors that the search is given, token by token."""
    quantizer = vq.ResidualVQ(
        dim=4, codebook_size=8, num_quantizers=2, implicit_neural_codebook=True
    ).eval()
    x, kept = torch.randn(1, 20, 4), []
    quantizer.mlps[0].register_forward_hook(lambda _, __, vectors: kept.append(vectors))
    certvq.patch_module(quantizer)
    _, codes, _ = quantizer(x)
    first = quantizer.layers[0](x)[0]
    (vectors,) = kept
    left = x - first
    for token in range(20):
        right = certvq.assign(left[:, token], vectors[0, 0, token]).codes
        assert right.item() == codes[0, token, 1].item()


def test_a_stability_report_refuses_what_has_no_one_codebook(vq):
    x = torch.randn(1, 6, 4)
    for options, text in (
        ({"beam_size": 2}, r"layer 'layers\.0\._codebook' gives each token 2 codes"),
        ({"implicit_neural_codebook": True}, r"layer 'layers\.1\._codebook' .* vectors of its own"),
    ):
        quantizer = vq.ResidualVQ(dim=4, codebook_size=8, num_quantizers=2, **options)
        with pytest.raises(certvq.errors.UnknownQuantizerError, match=text):
            certvq.stability_report(quantizer, x)


def test_quantizers_without_a_codebook_are_named_beside_others(vq):
    model = torch.nn.ModuleDict(
        {
            "vq": vq.VectorQuantize(4, 8),
            "fsq": vq.FSQ(levels=[5, 5]),
            "lfq": vq.LFQ(dim=4),
            "fsp": vq.FSP(levels=[5, 5]),
            "bits": vq.BinaryMapper(bits=4),
            "residual": vq.ResidualFSQ(levels=[5, 5], num_quantizers=2, dim=4),
        }
    )
    report = certvq.audit_module(model, torch.randn(1, 6, 4), call=lambda m, z: m["vq"](z))
    assert {"fsp", "bits"} <= set(report.unknown)
    idle = {each.name for each in report.layers if not each.tokens}
    assert {"fsq", "lfq", "residual.layers.0", "residual.layers.1"} <= idle


def test_quantizers_without_an_argmin_are_not_found(vq):
    with pytest.raises(certvq.errors.UnknownQuantizerError, match="no vector quantizer found"):
        certvq.patch_module(vq.FSP(levels=[5, 5]))
