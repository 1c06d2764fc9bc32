"""Models of other libraries: their codes, and those of their own quantizer in float64."""

import math
import warnings

import pytest
import torch

from certvq.errors import CaptureError, NonFiniteError, OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import canonical_codes
from certvq.network._levels import Levels


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def vq_model():
    """One block with attention, whose codes are latents of another image."""
    from diffusers import VQModel

    model = VQModel(
        block_out_channels=(8,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        latent_channels=3,
        norm_num_groups=2,
        num_vq_embeddings=4,
    ).eval()
    with torch.no_grad():
        latents = model.encode(torch.rand(1, 3, 6, 6)).latents
        model.quantize.embedding.weight.copy_(latents.flatten(2)[0, :, ::9].T)
    return model


@torch.no_grad()
def test_dac_has_the_codes_of_its_own_formula(hf_models):
    model, sounds = seeded(hf_models.dac), torch.randn(2, 1, 320)
    found = canonical_codes(model, sounds)
    assert found.codes.shape == (2, 20, 3)
    assert found.counts()["FLOAT64"] == found.codes.numel()
    own = model.double().encode(sounds.double()).audio_codes.movedim(1, -1)
    assert torch.equal(found.codes, own)


@pytest.mark.slow
@torch.no_grad()
def test_a_vq_model_has_the_codes_of_its_own_formula():
    model, images = seeded(vq_model), torch.rand(1, 3, 6, 6)
    found = canonical_codes(model, images)
    assert not found.open.any()
    model.double()
    own = model.quantize(model.encode(images.double()).latents)[2][2]
    assert torch.equal(found.codes.flatten(), own.flatten())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chameleon_vqgan", "janus_vqgan"])
@torch.no_grad()
def test_a_vqgan_has_the_codes_of_its_own_formula(hf_models, name):
    model, images = seeded(getattr(hf_models, name)), torch.rand(1, 3, 4, 4)
    found = canonical_codes(model, images)
    assert not found.open.any()
    model.double()
    latents = model.quant_conv(model.encoder(images.double())).movedim(1, -1)
    own = torch.cdist(latents.flatten(0, 2), model.quantize.embedding.weight).argmin(1)
    assert torch.equal(found.codes.flatten(), own)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chameleon_vqgan", "janus_vqgan"])
@torch.no_grad()
def test_float64_decides_where_groups_of_norms_have_many_numbers(hf_models, name):
    model, images = seeded(getattr(hf_models, name)), torch.rand(1, 3, 32, 32)
    found = canonical_codes(model, images)
    assert found.counts()["FLOAT64"] == found.codes.numel()
    model.double()
    latents = model.quant_conv(model.encoder(images.double())).movedim(1, -1)
    own = torch.cdist(latents.flatten(0, 2), model.quantize.embedding.weight).argmin(1)
    assert torch.equal(found.codes.flatten(), own)


@pytest.mark.parametrize("name", ["encodec", "mimi"])
@torch.no_grad()
def test_a_codec_has_the_codes_of_its_own_formula(hf_models, name):
    """Paddings of stored integers, an LSTM or masked attention, levels in one chain or two."""
    model, sounds = seeded(getattr(hf_models, name)), torch.randn(2, 1, 331)
    if name == "encodec":  # whose latents are near 0: code vectors are those of another sound
        embed = model.quantizer.layers[0].codebook.embed
        embed.copy_(model.encoder(torch.randn(1, 1, 1024))[0].T)
    options = {"bandwidth": 18.0} if name == "encodec" else {}
    found = canonical_codes(model, sounds)
    assert found.counts()["FLOAT64"] == found.codes.numel()
    model.double()
    own = model.encode(sounds.double(), **options).audio_codes
    own = own[0] if name == "encodec" else own
    assert torch.equal(found.codes, own.movedim(1, -1))
    assert found.codes.unique().numel() > 8


def of_old_weight_norm(model):
    for each in model.modules():
        if isinstance(each, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                torch.nn.utils.weight_norm(each)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new", "old"])
@torch.no_grad()
def test_weight_norm_is_that_of_the_stored_numbers(hf_models, monkeypatch, kind):
    """Of DAC before its norms are folded, decided in float64, and in pairs or by balls."""
    model, sounds = seeded(hf_models.dac), torch.randn(1, 1, 32)
    model.apply_weight_norm() if kind == "new" else of_old_weight_norm(model)
    for name, each in model.named_parameters():
        if name.endswith(("original0", "weight_g")):
            each.mul_(1.5)  # so that the weights are not those of before
    found = canonical_codes(model.eval(), sounds)
    own = model.double().encode(sounds.double()).audio_codes.movedim(1, -1)
    assert torch.equal(found.codes, own)
    whole = Levels.decide_bounded
    monkeypatch.setattr(
        Levels, "decide_bounded", lambda self, latents, off: whole(self, latents, off + math.inf)
    )
    again = canonical_codes(model, sounds, levels=1)
    assert torch.equal(again.codes, own[..., :1])
    assert again.counts()["FLOAT64"] == 0


def test_a_projection_that_is_parametrized_otherwise_is_named(hf_models):
    model = seeded(hf_models.dac)
    torch.nn.utils.parametrizations.orthogonal(model.quantizer.quantizers[0].in_proj)
    with pytest.raises(CaptureError, match=r"parametrized by _Orthogonal along \[0\]"):
        canonical_codes(model.eval(), torch.zeros(1, 1, 320))


@torch.no_grad()
def test_a_residual_vqvae_has_the_codes_of_its_own_levels():
    options = {"quantizer": "residual", "num_quantizers": 3, "codebook_size": 16, "dim": 4}
    made = VQVAE(VQVAEConfig(hidden=8, **options), generator=torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    made.train()(images)
    found = canonical_codes(made.eval(), images)
    assert found.codes.shape == (2, 4, 4, 3)
    assert not found.open.any()
    assert torch.equal(found.codes, made.double().encode(images.double()))


def test_a_codebook_that_is_not_finite_is_named(hf_models):
    model = seeded(hf_models.dac)
    with torch.no_grad():
        model.quantizer.quantizers[1].codebook.weight[3, 2] = torch.nan
    with pytest.raises(
        NonFiniteError, match=r"got nan at index \(3, 2\) of one of shape \(64, 8\)"
    ):
        canonical_codes(model, torch.zeros(1, 1, 320))


def test_chunks_of_encodec_are_named(hf_models):
    model = seeded(lambda: hf_models.encodec(normalize=True, chunk_length_s=1.0, overlap=0.01))
    with pytest.raises(CaptureError, match=r"divides chunks by their loudness.*normalize=True"):
        canonical_codes(model, torch.zeros(1, 1, 320))


def test_a_model_that_is_not_known_is_refused():
    with pytest.raises(OptionError, match=r"one of VQModel, .*DacModel.*, got Tanh without"):
        canonical_codes(torch.nn.Tanh().eval(), torch.zeros(1, 2))
