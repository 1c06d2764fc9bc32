"""The real classes of transformers, freshly initialised with small configurations."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch.nn import functional

import certvq
from certvq.errors import UnknownQuantizerError
from certvq.inspect._libraries.find import adapter_of, find_layers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hf")]


@pytest.fixture
def hf(peer):
    return peer("transformers")


def fill(model, kind, name, mean):
    """Give codebooks vectors around a mean."""
    found = [each for each in model.modules() if type(each).__name__ == kind]
    for each in found:
        getattr(each, name).normal_().add_(mean)
    return found


@pytest.fixture
def encodec(hf_models):
    def make(mean):
        model = hf_models.encodec(target_bandwidths=[20.0]).eval()
        model.encoder.layers[-1].conv.bias.data += mean
        return model, fill(model, "EncodecEuclideanCodebook", "embed", mean)

    return make


@pytest.fixture
def mimi(hf_models):
    def make(mean):
        model = hf_models.mimi().eval()
        return model, fill(model, "MimiEuclideanCodebook", "embed_sum", mean)

    return make


@pytest.fixture
def dac(hf_models):
    def make(mean):
        model = hf_models.dac().eval()
        for each in model.quantizer.quantizers:
            each.codebook.weight.data += mean
            each.in_proj.bias.data += mean
        return model

    return make


def residual_codes(latents, codebooks):
    """Give the codes of a residual quantizer, level by level, by certvq alone."""
    levels = []
    for codebook in codebooks:
        codes = certvq.assign(
            latents.transpose(1, 2).reshape(-1, codebook.shape[1]), codebook
        ).codes
        levels.append(codes.view(len(latents), -1))
        latents = latents - functional.embedding(levels[-1], codebook).transpose(1, 2)
    return torch.stack(levels)


def test_encodec_is_repaired(encodec, repaired):
    model, codebooks = encodec(1000.0)
    sound = torch.randn(2, 1, 3200)
    before = repaired(model, sound)
    assert [layer.tokens for layer in before.layers] == [400, 400]
    assert before.layers[0].name == "quantizer.layers.0.codebook"
    with torch.no_grad():
        latents = model.encoder(sound)
        codes = model.encode(sound).audio_codes[0].transpose(0, 1)
    assert torch.equal(codes, residual_codes(latents, [each.embed for each in codebooks]))


def test_encodec_is_otherwise_unchanged(encodec, unchanged):
    model, _ = encodec(0.0)
    sound = torch.randn(1, 1, 1600)
    unchanged(model, lambda each: tuple(each(sound).to_tuple()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_latents_are_exact_numbers(encodec, repaired, dtype):
    codebook = encodec(10.0)[1][0].to(dtype)
    latents = (torch.randn(500, 16) + 10).to(dtype)
    repaired(codebook, latents, lambda each, z: each.quantize(z))
    assert torch.equal(codebook.quantize(latents), certvq.assign(latents, codebook.embed).codes)


def test_mimi_is_repaired(mimi, repaired):
    model, codebooks = mimi(1000.0)
    latents = torch.randn(2, 16, 100) + 1000
    before = repaired(model, latents, lambda each, z: each.quantizer.encode(z))
    assert sum(layer.tokens for layer in before.layers) == 600
    codes = model.quantizer.encode(latents)
    embeds = [each.embed_sum for each in codebooks]
    assert torch.equal(codes[:1], residual_codes(latents, embeds[:1]))
    assert torch.equal(codes[1:], residual_codes(latents, embeds[1:]))


def test_mimi_is_otherwise_unchanged(mimi, unchanged):
    model, _ = mimi(0.0)
    sound = torch.randn(1, 1, 800)
    unchanged(model, lambda each: each.encode(sound).audio_codes)


def test_mimi_keeps_no_codebook_of_the_audit(mimi):
    """It keeps `embed` when it is first asked for; the audit leaves it as it was."""
    model, codebooks = mimi(0.0)
    certvq.audit_module(model, torch.randn(1, 1, 800))
    assert all(each._embed is None for each in codebooks)


def test_mimi_codebooks_that_are_loaded_later_are_searched(mimi):
    """It goes on with the ones of before, in other versions of its weights too."""
    model, codebooks = mimi(0.0)
    latents = torch.randn(1, 16, 50)
    stale = model.quantizer.encode(latents)
    state = {k: -v if "embed_sum" in k else v for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    fresh = [each.embed_sum for each in codebooks][:1]
    right = residual_codes(latents, fresh)
    assert torch.equal(model.quantizer.encode(latents), stale)
    with pytest.raises(UnknownQuantizerError, match="keeps code vectors of before.*_embed to None"):
        certvq.audit_module(model, latents, call=lambda each, z: each.quantizer.encode(z))
    certvq.patch_module(model)
    assert torch.equal(model.quantizer.encode(latents)[:1], right)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict({k: -v if "embed_sum" in k else v for k, v in state.items()}, assign=True)
    assert torch.equal(model.quantizer.encode(latents)[:1], stale[:1])


@pytest.mark.parametrize(
    "change",
    [
        lambda book: book.embed_sum.data.neg_(),
        lambda book: book.embed_sum.numpy().__imul__(-1.0),
        lambda book: book.cluster_usage.data.mul_(torch.rand(len(book.cluster_usage)) + 0.5),
    ],
)
def test_mimi_codebooks_that_change_where_no_version_counts_are_searched(mimi, change):
    model, codebooks = mimi(0.0)
    latents = torch.randn(1, 16, 50)
    certvq.patch_module(model)
    for _ in range(2):
        before = model.quantizer.encode(latents)[:1]
    book = codebooks[0]
    change(book)
    vectors = book.embed_sum / book.cluster_usage.clamp(min=book.epsilon)[:, None]
    right = residual_codes(latents, [vectors])
    assert not torch.equal(right, before)
    assert torch.equal(model.quantizer.encode(latents)[:1], right)


@pytest.mark.parametrize("before", [False, True], ids=["patched first", "used first"])
def test_mimi_runs_in_inference_mode(mimi, before):
    """Codebooks that change are searched there as well."""
    model, codebooks = mimi(0.0)
    latents = torch.randn(1, 16, 50)
    with torch.inference_mode():
        if before:
            model.quantizer.encode(latents)
        certvq.patch_module(model)
        for _ in range(3):
            codes = model.quantizer.encode(latents)[:1]
            assert torch.equal(codes, residual_codes(latents, [codebooks[0].embed_sum]))
        codebooks[0].embed_sum.neg_()
        right = residual_codes(latents, [codebooks[0].embed_sum])
        assert not torch.equal(right, codes)
        for _ in range(2):
            assert torch.equal(model.quantizer.encode(latents)[:1], right)


def test_mimi_is_audited_in_inference_mode(mimi):
    model, _ = mimi(0.0)
    latents = torch.randn(1, 16, 50)
    with torch.inference_mode():
        model.quantizer.encode(latents)
        found = certvq.audit_module(
            model, [latents, latents], call=lambda each, z: each.quantizer.encode(z)
        )
    assert found.ok


def test_dac_with_a_code_vector_of_length_0(dac):
    """The model passes over it where it is nearest; certified codes do not, and it is named."""
    level = dac(0.0).quantizer.quantizers[0]
    level.codebook = torch.nn.Embedding.from_pretrained(
        torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    )
    latents = torch.tensor([[[0.3], [-0.954]]])
    report = certvq.audit_module(level, latents, call=lambda each, z: each.decode_latents(z))
    assert (report.wrong, report.layers[0].zero_vectors) == (1, 1)
    assert "1 of 4 code vectors have length 0" in str(report)
    certvq.patch_module(level)
    assert level.decode_latents(latents)[1].tolist() == [[1]]


def test_dac_is_repaired(dac, repaired):
    model = dac(1000.0)
    sound = torch.randn(2, 1, 3200)
    before = repaired(model, sound)
    assert len(before.layers) == 3
    seen = []
    level = model.quantizer.quantizers[0]
    hook = level.in_proj.register_forward_hook(lambda m, i, out: seen.append(out))
    codes = model.encode(sound).audio_codes[:, 0]
    hook.remove()
    latents = functional.normalize(seen[0].transpose(1, 2).reshape(-1, 8))
    right = certvq.assign(latents, functional.normalize(level.codebook.weight)).codes
    assert torch.equal(codes.reshape(-1), right)


def test_dac_compares_normalised_vectors(dac):
    """The nearest vector before normalisation is another one, and the audit does not ask for it."""
    model = dac(0.0)
    level = model.quantizer.quantizers[0]
    level.codebook.weight.data *= torch.logspace(-2, 2, 64)[:, None]
    latents = torch.randn(1, 8, 500)
    _, codes = level.decode_latents(latents)
    plain = certvq.assign(latents[0].T, level.codebook.weight).codes
    assert (codes[0] != plain).float().mean() > 0.5
    report = certvq.audit_module(level, latents, call=lambda each, z: each.decode_latents(z))
    assert report.ok
    assert report.tokens == 500


@pytest.mark.parametrize("training", [False, True])
def test_dac_is_otherwise_unchanged(dac, unchanged, training):
    model = dac(0.0)
    hidden = torch.randn(2, 32, 20)

    def run(each):
        return each.quantizer.train(training)(hidden)

    unchanged(model, run)


@pytest.mark.parametrize(
    ("family", "kind", "shape"),
    [
        ("chameleon", "Chameleon", (2, 8, 12, 12)),
        ("janus", "Janus", (2, 8, 12, 12)),
        ("glm_image", "GlmImage", (2, 8, 12, 12)),
        ("emu3", "Emu3", (2, 3, 8, 7, 7)),
    ],
)
def test_image_quantizers_are_repaired(hf, peer, repaired, offset, family, kind, shape):
    module = peer(f"transformers.models.{family}.modeling_{family}")
    config = SimpleNamespace(
        num_embeddings=64, codebook_size=64, embed_dim=8, beta=0.25, num_patches=12
    )
    layer = getattr(module, f"{kind}VQVAEVectorQuantizer")(config)
    layer.embedding.weight.data.normal_().add_(1000)
    z = offset(*shape)
    repaired(layer, z)
    out = layer(z)
    codes = (out if family == "emu3" else out[2]).flatten()
    latents, codebook = z.movedim(-3, -1).reshape(-1, 8), layer.embedding.weight
    if family == "glm_image":
        latents, codebook = (
            functional.normalize(latents, dim=-1),
            functional.normalize(codebook, dim=-1),
        )
    assert torch.equal(codes, certvq.assign(latents, codebook).codes)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("xcodec", "Xcodec"), ("higgs_audio_v2_tokenizer", "HiggsAudioV2Tokenizer")],
)
def test_other_audio_codebooks_are_repaired(hf, peer, repaired, offset, monkeypatch, family, kind):
    unused = ModuleType("torchaudio")  # imported beside the codebook, which does not need it
    monkeypatch.setitem(sys.modules, "torchaudio", unused)
    module = peer(f"transformers.models.{family}.modeling_{family}")
    config = SimpleNamespace(codebook_size=64, codebook_dim=8)
    codebook = getattr(module, f"{kind}EuclideanCodebook")(config)
    codebook.embed.normal_().add_(1000)
    latents = offset(3, 100, 8)
    repaired(codebook, latents, lambda each, z: each.encode(z))
    right = certvq.assign(latents.reshape(-1, 8), codebook.embed).codes
    assert torch.equal(codebook.encode(latents).flatten(), right)


def test_a_subclass_that_overrides_quantize_is_refused(hf):
    from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook

    class Halved(EncodecEuclideanCodebook):
        def quantize(self, hidden_states):
            return super().quantize(hidden_states / 2)

    codebook = Halved(SimpleNamespace(codebook_size=4, codebook_dim=2))
    assert adapter_of(codebook) is not None
    text = r"layer '' must find its codes in quantize of Encodec.*Halved overrides quantize"
    for function in (certvq.patch_module, lambda each: certvq.audit_module(each, torch.ones(1, 2))):
        with pytest.raises(certvq.errors.UnknownQuantizerError, match=text):
            function(codebook)


def test_a_subclass_that_overrides_nothing_is_known(hf):
    from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook

    class Named(EncodecEuclideanCodebook):
        pass

    codebook = Named(SimpleNamespace(codebook_size=4, codebook_dim=2))
    assert [layer.module for layer in find_layers(codebook)] == [codebook]


@pytest.mark.parametrize("kind", ["Mimi", "Encodec"])
def test_a_method_that_returns_codes_alone_is_run_until_its_scores_are_explained(
    hf, peer, monkeypatch, kind
):
    """Later calls get the same codes without its distances, of the code vectors of just then."""
    module = peer(f"transformers.models.{kind.lower()}.modeling_{kind.lower()}")
    known = getattr(module, f"{kind}EuclideanCodebook")
    runs = []

    def quantize(self, hidden_states, own=known.quantize):
        runs.append(len(hidden_states))
        return own(self, hidden_states)

    monkeypatch.setattr(known, "quantize", quantize)

    class Overridden(known):
        def quantize(self, hidden_states):
            return super().quantize(hidden_states)

    config = SimpleNamespace(codebook_size=64, codebook_dim=8)
    codebook = known(config).eval()
    vectors = codebook.embed if kind == "Encodec" else codebook.embed_sum
    vectors.normal_()
    certvq.patch_module(codebook)
    for rows in (5, 7, 7):
        latents = torch.randn(rows, 8)
        right = certvq.assign(latents, vectors).codes
        assert torch.equal(codebook.quantize(latents), right)
    assert runs == [5]
    vectors.data.neg_()  # which no version counter shows
    assert torch.equal(codebook.quantize(latents), certvq.assign(latents, vectors).codes)
    assert runs == [5, 7]
    assert certvq.audit_module(
        codebook, latents, call=lambda each, z: each.quantize(z)
    ).tokens == len(latents)
    codebook.train().quantize(latents)
    assert runs == [5, 7, 7, 7]
    with pytest.raises(certvq.errors.NonFiniteError, match="row 0"):
        codebook.eval().quantize(latents * torch.nan)
    if kind == "Mimi":
        more = Overridden(config).eval()
        certvq.patch_module(more)
        for _ in range(2):
            more.quantize(latents)
        assert runs[4:] == [7, 7]
