"""Models of other libraries: their codes, and those of their own quantizer in float64."""

import pytest
import torch

from certvq.errors import CaptureError, NonFiniteError, OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import canonical_codes


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


def test_a_projection_with_weight_norm_is_named(hf_models):
    model = seeded(hf_models.dac)
    model.apply_weight_norm()
    model.eval()
    with pytest.raises(CaptureError, match="projection of the quantizer with weight norm"):
        canonical_codes(model, torch.zeros(1, 1, 320))


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


def test_models_that_do_not_work_say_why(hf_models):
    with pytest.raises(CaptureError, match="EncodecModel has no canonical codes here: its LSTM"):
        canonical_codes(seeded(hf_models.encodec), torch.zeros(1, 1, 320))
    with pytest.raises(CaptureError, match="MimiModel .* its masks of attention have no rule"):
        canonical_codes(seeded(hf_models.mimi), torch.zeros(1, 1, 320))


def test_a_model_that_is_not_known_is_refused():
    with pytest.raises(OptionError, match=r"one of VQModel, .*DacModel.*, got Tanh without"):
        canonical_codes(torch.nn.Tanh().eval(), torch.zeros(1, 2))
