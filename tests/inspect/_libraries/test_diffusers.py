"""The real `VQModel` of diffusers, freshly initialised."""

import numpy as np
import pytest
import torch

import certvq

pytestmark = pytest.mark.slow


@pytest.fixture
def model(peer):
    diffusers = peer("diffusers")

    def make(mean=0.0):
        made = diffusers.VQModel(
            block_out_channels=(8,),
            latent_channels=4,
            norm_num_groups=4,
            num_vq_embeddings=64,
            mid_block_add_attention=False,
        ).eval()
        made.quantize.embedding.weight.data.normal_().add_(mean)
        made.quant_conv.bias.data += mean
        return made

    return make


def test_vq_model_is_repaired(model, repaired):
    autoencoder, images = model(1000.0), torch.randn(2, 3, 16, 16)
    before = repaired(autoencoder, images)
    assert [(each.name, each.kind, each.tokens) for each in before.layers] == [
        ("quantize", "VectorQuantizer", 512)
    ]
    with torch.no_grad():
        latents = autoencoder.encode(images).latents
        codes = autoencoder.quantize(latents)[2][2]
    rows = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    weight = autoencoder.quantize.embedding.weight
    assert torch.equal(codes, certvq.assign(rows, weight).codes)


@pytest.mark.parametrize("training", [False, True])
def test_vq_model_is_otherwise_unchanged(model, unchanged, training):
    images = torch.randn(2, 3, 16, 16)

    def run(each):
        sample, loss = each.train(training)(images, return_dict=False)
        return sample, loss

    unchanged(model(), run)


def test_autocast_is_audited_and_patched(model):
    """The layer then holds latents in bfloat16, which are taken as exact numbers."""
    autoencoder, images = model(100.0), torch.randn(1, 3, 16, 16)
    certvq.patch_module(autoencoder)

    def call(each, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return each(batch)

    report = certvq.audit_module(autoencoder, images, call=call)
    assert report.ok
    assert report.layers[0].share_unstable > 0.5


def test_remapped_codes_are_still_remapped(peer, tmp_path):
    peer("diffusers")
    from diffusers.models.autoencoders.vae import VectorQuantizer

    used = tmp_path / "used.npy"
    np.save(used, np.arange(0, 64, 2))
    layer = VectorQuantizer(64, 4, beta=0.25, remap=str(used), unknown_index="extra")
    layer.embedding.weight.data.normal_()
    z = torch.randn(1, 4, 8, 8)
    certvq.patch_module(layer)
    codes = layer(z)[2][2].flatten()
    right = certvq.assign(z.permute(0, 2, 3, 1).reshape(-1, 4), layer.embedding.weight).codes
    assert torch.equal(codes, torch.where(right % 2 == 0, right // 2, 32))
