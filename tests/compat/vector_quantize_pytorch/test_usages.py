"""What people write with the original, after its documentation, run unchanged on both libraries.

One function for each usage; its argument is the package. What certvq does otherwise on purpose
stands in `DIFFERENT`, with the row of docs/migration.md that says so.
"""

import importlib
import math
from pathlib import Path

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours
from certvq.errors import CertVQError

MIGRATION = Path(__file__).parents[3] / "docs" / "migration.md"

DIFFERENT = {
    "more_codes_than_there_are": "| `topk` beyond the number of codes |",
    "infinite_latents": "| NaN and infinity |",
    "the_last_code_by_minus_one": "| index -1, out of range |",
}
"""Usages that certvq refuses, each with the beginning of its row."""

USAGES = []


def usage(function):
    USAGES.append(function)
    return function


@usage
def vectors_indices_and_a_loss(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32, decay=0.8, commitment_weight=1.0)
    x = torch.randn(1, 64, 16)
    quantized, indices, loss = layer(x)
    assert (quantized.shape, indices.shape, loss.numel()) == (x.shape, (1, 64), 1)


@usage
def a_lower_dimension_of_the_codebook(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32, codebook_dim=4)
    assert layer(torch.randn(1, 64, 16))[0].shape == (1, 64, 16)


@usage
def cosine_similarity(vq):
    for rotates in (True, False):
        layer = vq.VectorQuantize(
            dim=16, codebook_size=32, use_cosine_sim=True, rotation_trick=rotates
        )
        x = torch.randn(1, 64, 16, requires_grad=True)
        quantized, _, loss = layer(x)
        (quantized.sum() + loss).backward()
        assert x.grad is not None


@usage
def stale_codes_expire(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32, threshold_ema_dead_code=2)
    for _ in range(2):
        layer(torch.randn(1, 64, 16))


@usage
def directional_reparametrisation(vq):
    layer = vq.VectorQuantize(
        dim=8,
        codebook_size=8,
        directional_reparam=True,
        directional_reparam_variance=5e-3,
        threshold_ema_dead_code=2,
    )
    x = torch.randn(1, 32, 8, requires_grad=True)
    layer(x)[0].square().sum().backward()
    assert any(parameter.grad is not None for parameter in layer.parameters())


@usage
def orthogonal_codebooks_of_images(vq):
    layer = vq.VectorQuantize(
        dim=16,
        codebook_size=32,
        accept_image_fmap=True,
        orthogonal_reg_weight=10,
        orthogonal_reg_max_codes=16,
        orthogonal_reg_active_codes_only=False,
    )
    image = torch.randn(1, 16, 8, 8)
    quantized, indices, loss = layer(image)
    assert (quantized.shape, indices.shape) == (image.shape, (1, 8, 8))
    loss.backward()


@usage
def several_heads(vq):
    layer = vq.VectorQuantize(
        dim=16,
        codebook_dim=4,
        heads=8,
        separate_codebook_per_head=True,
        codebook_size=32,
        accept_image_fmap=True,
    )
    quantized, indices, _ = layer(torch.randn(1, 16, 4, 4))
    assert (quantized.shape, indices.shape) == ((1, 16, 4, 4), (1, 4, 4, 8))


@usage
def decoding_in_eval_mode(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32).eval()
    quantized, indices, _ = layer(torch.randn(1, 64, 16))
    assert torch.allclose(quantized, layer.get_output_from_indices(indices))
    assert torch.allclose(quantized, layer.codebook[indices])


@usage
def sequences_of_different_lengths(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32, decay=1.0, commitment_weight=1.0)
    x = torch.randn(1, 64, 16)
    quantized, indices, loss = layer(x[:, :40])
    masked, codes, masked_loss = layer(x, lens=torch.full((1,), 40))
    assert torch.allclose(loss, masked_loss)
    assert torch.allclose(quantized, masked[:, :40])
    assert torch.equal(indices, codes[:, :40])
    assert not masked[:, 40:].any()
    assert (codes[:, 40:] == -1).all()


@usage
def averages_by_hand_from_indices(vq):
    first, second = (vq.VectorQuantize(dim=16, codebook_size=32) for _ in range(2))
    second.load_state_dict(first.state_dict())
    x, mask = torch.randn(1, 64, 16), torch.rand(1, 64) < 0.5
    quantized, indices, loss = first(x, mask=mask)
    vectors, codes, losses = second(x, mask=mask, topk=1, ema_update=False)
    assert vectors.shape == (1, 64, 1, 16)
    assert codes.shape == losses.shape == (1, 64, 1)
    assert torch.allclose(loss, losses.sum() / mask.sum())
    assert torch.equal(indices, codes[..., 0])
    assert torch.allclose(quantized, vectors[..., 0, :])
    assert not torch.allclose(first._codebook.embed_avg, second._codebook.embed_avg)
    second.update_ema_indices(x, codes[..., 0], mask=mask)
    for name in ("cluster_size", "embed_avg", "embed"):
        assert torch.allclose(getattr(first._codebook, name), getattr(second._codebook, name))
    assert torch.allclose(first.codebook, second.codebook)


@usage
def codes_that_move_at_their_own_rates(vq):
    layer = vq.VectorQuantize(dim=16, codebook_size=32)
    x, before = torch.randn(1, 64, 16), layer.codebook.clone()
    for still in (0.0, torch.zeros(32), lambda _, counts: torch.zeros_like(counts)):
        layer(x, ema_update_weight=still)
        assert torch.allclose(layer.codebook, before, atol=1e-6)
    layer(x, ema_update_weight=torch.ones(32))
    assert not torch.allclose(layer.codebook, before, atol=1e-6)


@usage
def averages_over_several_batches(vq):
    layer, whole = (vq.VectorQuantize(dim=16, codebook_size=32) for _ in range(2))
    whole.load_state_dict(layer.state_dict())
    x, before = torch.randn(1, 64, 16), layer.codebook.clone()
    layer(x[:, :32], accum_ema_update=True)
    assert torch.equal(layer.codebook, before)
    layer(x[:, 32:])
    whole(x)
    assert torch.allclose(layer.codebook, whole.codebook, atol=1e-5)


@usage
def a_codebook_can_be_assigned(vq):
    layer = vq.VectorQuantize(dim=4, codebook_size=8)
    given = torch.randn(8, 4)
    with torch.no_grad():
        layer.codebook = given
    assert torch.equal(layer.codebook, given)


@usage
def levels_one_after_the_other(vq):
    layer = vq.ResidualVQ(dim=16, num_quantizers=4, codebook_size=32)
    quantized, indices, loss, every = layer(torch.randn(1, 64, 16), return_all_codes=True)
    assert (quantized.shape, indices.shape) == ((1, 64, 16), (1, 64, 4))
    assert (loss.numel(), every.shape) == (4, (4, 1, 64, 16))


@usage
def levels_that_share_drawn_codes(vq):
    layer = vq.ResidualVQ(
        dim=16,
        num_quantizers=4,
        codebook_size=32,
        stochastic_sample_codes=True,
        sample_codebook_temp=0.1,
        shared_codebook=True,
    )
    assert layer(torch.randn(1, 64, 16))[1].shape == (1, 64, 4)


@usage
def levels_that_learn_by_gradient_alone(vq):
    layer = vq.ResidualVQ(dim=16, num_quantizers=3, codebook_size=8, diveq=True)
    x = torch.randn(1, 64, 16, requires_grad=True)
    layer(x)[0].square().sum().backward()
    assert x.grad is not None


@usage
def levels_that_start_with_k_means(vq):
    layer = vq.ResidualVQ(
        dim=16, codebook_size=16, num_quantizers=2, kmeans_init=True, kmeans_iters=3
    )
    assert layer(torch.randn(1, 64, 16))[2].numel() == 2


@usage
def levels_in_groups(vq):
    layer = vq.GroupedResidualVQ(dim=16, num_quantizers=4, groups=2, codebook_size=32)
    quantized, indices, loss = layer(torch.randn(1, 64, 16))
    assert (quantized.shape, indices.shape) == ((1, 64, 16), (2, 1, 64, 4))
    assert loss.numel() == 8


@usage
def levels_decoded_in_train_and_eval_mode(vq):
    kinds = [{"implicit_neural_codebook": True}, {"use_cosine_sim": True}, {}]
    for kind in kinds:
        for shared in (True, False):
            layer = vq.ResidualVQ(
                dim=8, num_quantizers=3, codebook_size=16, shared_codebook=shared, **kind
            )
            for train in (True, False):
                layer.train(train)
                frozen = train and "implicit_neural_codebook" not in kind
                quantized, indices, _ = layer(torch.randn(1, 32, 8), freeze_codebook=frozen)
                decoded = layer.get_output_from_indices(indices)
                assert torch.allclose(quantized, decoded, atol=1e-5)


@usage
def levels_of_different_sizes(vq):
    layer = vq.ResidualVQ(dim=2, codebook_size=(5, 16, 32))
    quantized, indices, _ = layer(torch.randn(2, 2, 2), freeze_codebook=True)
    assert torch.allclose(quantized, layer.get_output_from_indices(indices), atol=1e-5)
    assert [len(book) for book in layer.codebooks] == [5, 16, 32]


@usage
def beams_over_levels(vq):
    for width in (16, 8):
        layer = vq.ResidualVQ(
            dim=16,
            codebook_dim=width,
            num_quantizers=3,
            codebook_size=32,
            quantize_dropout=True,
            beam_size=2,
            eval_beam_size=3,
        )
        x = torch.randn(1, 32, 16).requires_grad_()
        for _ in range(3):
            quantized, indices, loss = layer(x)
        assert (quantized.shape, indices.shape, loss.shape) == ((1, 32, 16), (1, 32, 3), (3,))


@usage
def codebooks_of_levels_are_read(vq):
    layer = vq.ResidualVQ(dim=4, num_quantizers=2, codebook_size=8)
    before = layer.codebooks.clone()
    layer(torch.randn(1, 32, 4))
    for level, book, old in zip(layer.layers, layer.codebooks, before, strict=True):
        assert torch.equal(level._codebook.embed[0], book)
        assert not torch.equal(book, old)


@usage
def random_projections(vq):
    layer = vq.RandomProjectionQuantizer(dim=32, num_codebooks=4, codebook_dim=8, codebook_size=16)
    assert layer(torch.randn(1, 64, 32)).shape == (1, 64, 4)


@usage
def a_map_of_a_frozen_codebook(vq):
    layer = vq.SimVQ(dim=16, codebook_size=32, rotation_trick=True)
    x = torch.randn(1, 64, 16)
    quantized, indices, _ = layer(x)
    assert quantized.shape == x.shape
    assert torch.allclose(quantized, layer.indices_to_codes(indices), atol=1e-6)


@usage
def levels_of_maps(vq):
    for first, shape in ((False, (1, 64, 16)), (True, (1, 16, 8, 8))):
        layer = vq.ResidualSimVQ(
            dim=16, num_quantizers=3, codebook_size=32, rotation_trick=True, channel_first=first
        )
        x = torch.randn(shape)
        quantized, indices, _ = layer(x)
        assert quantized.shape == x.shape
        assert torch.allclose(quantized, layer.get_output_from_indices(indices), atol=1e-5)


@usage
def rounding_to_a_grid(vq):
    module = importlib.import_module(f"{vq.__name__}.finite_scalar_quantization")
    assert module.FSQ is vq.FSQ
    for options, shape in (
        ({}, (1, 64, 4)),
        ({"preserve_symmetry": True}, (1, 64, 4)),
        ({"num_codebooks": 2}, (1, 64, 8)),
        ({"num_codebooks": 2, "keep_num_codebooks_dim": True}, (1, 64, 8)),
        ({"dim": 16, "channel_first": True}, (1, 16, 64)),
        ({"dim": 16, "channel_first": True, "num_codebooks": 2}, (1, 16, 8, 8)),
    ):
        layer = vq.FSQ([8, 5, 5, 5], **options)
        x = torch.randn(shape)
        quantized, indices = layer(x)
        assert quantized.shape == x.shape
        assert torch.equal(quantized, layer.indices_to_codes(indices))
    assert vq.FSQ([8, 5, 5, 5], return_indices=False)(torch.randn(1, 64, 4))[1] is None


@usage
def levels_of_grids(vq):
    layer = vq.ResidualFSQ(dim=16, levels=[8, 5, 5, 3], num_quantizers=4).eval()
    quantized, indices = layer(torch.randn(1, 64, 16))
    assert indices.shape == (1, 64, 4)
    assert torch.equal(quantized, layer.get_output_from_indices(indices))


@usage
def perturbed_scalars(vq):
    layer = vq.FSP(levels=[8, 5, 5, 5], act_name="normal", quantize_rate=0.5, vector_norm="var")
    quantized, indices, loss, figures = layer(torch.randn(1, 64, 4))
    assert (quantized.shape, indices.shape, loss.numel()) == ((1, 64, 4), (1, 64), 1)
    assert isinstance(figures, dict)
    plain = vq.FSP(levels=[8, 5, 5, 5], act_name="normal", vector_norm="none")
    assert plain(torch.randn(1, 64, 4))[2].item() == 0.0


@usage
def perturbed_scalars_are_decoded(vq):
    for options, shape in (
        ({}, (1, 64, 4)),
        ({"dim": 4, "channel_first": True}, (2, 4, 8, 8)),
        ({"dim": 16}, (1, 64, 16)),
    ):
        layer = vq.FSP(levels=[8, 5, 5, 5], **options).eval()
        x = torch.randn(shape)
        quantized, indices, *_ = layer(x)
        decoded = layer.indices_to_codes(indices)
        assert decoded.shape == x.shape
        assert torch.allclose(quantized, decoded, atol=1e-4)


@usage
def indices_of_bins(vq):
    layer = vq.FSP(levels=[8, 5, 5, 5])
    for bins, index in (([[[7, 4, 4, 4]]], 999), ([[[0, 0, 0, 0]]], 0)):
        places = torch.tensor(bins)
        found = layer.level_indices_to_indices(places)
        assert found.item() == index
        assert torch.equal(layer.indices_to_level_indices(found), places)


@usage
def scalars_that_are_always_quantized(vq):
    layer, x = vq.FSP(levels=[8, 5, 5, 5], quantize_rate=1.0).train(), torch.randn(1, 64, 4)
    assert torch.allclose(layer(x)[0], layer(x)[0])


@usage
def activations_and_their_inverses(vq):
    module = importlib.import_module(f"{vq.__name__}.finite_scalar_perturbation")
    for name in ("tanh", "sigmoid", "normal", "laplace", "cauchy"):
        onto, back = module.build_cdf_act(name)
        x = torch.randn(16, 10).clamp(-3, 3)
        y = onto(x)
        assert (y > 0.0).all()
        assert (y < 1.0).all()
        assert torch.allclose(x, back(y), atol=1e-4)


@usage
def perturbed_scalars_in_training(vq):
    for kind, cast in (
        (torch.float32, False),
        (torch.float64, False),
        (torch.float16, True),
        (torch.bfloat16, True),
    ):
        model = nn.Sequential(
            nn.Linear(16, 16), vq.FSP(levels=[8, 5, 5, 5], dim=16), nn.Linear(16, 16)
        ).to(kind)
        x = torch.randn(2, 16, 16, dtype=kind, requires_grad=True)
        with torch.autocast("cpu", dtype=kind if cast else torch.bfloat16, enabled=cast):
            quantized, indices, loss, _ = model[1](model[0](x))
            out = model[2](quantized)
        assert quantized.dtype == kind
        assert indices.dtype == torch.int32
        assert (indices >= 0).all()
        assert (indices < model[1].codebook_size).all()
        (out.sum() + loss).backward()
        for each in (x, *model.parameters()):
            assert each.grad.isfinite().all()


@usage
def signs_as_bits(vq):
    for options in ({}, {"spherical": True}, {"codebook_scale": 0.5}):
        layer = vq.LFQ(
            codebook_size=2**16, dim=16, entropy_loss_weight=0.1, diversity_gamma=1.0, **options
        )
        quantized, indices, _ = layer(torch.randn(1, 16, 4, 4), inv_temperature=100.0)
        assert (quantized == layer.indices_to_codes(indices)).all()


@usage
def signs_of_sequences_and_videos(vq):
    layer = vq.LFQ(codebook_size=256, dim=8)
    for shape in ((1, 32, 8), (1, 8, 3, 4, 4)):
        assert layer(torch.randn(shape))[0].shape == shape


@usage
def signs_in_several_codebooks(vq):
    layer = vq.LFQ(codebook_size=64, dim=8, num_codebooks=4)
    quantized, indices, _ = layer(torch.randn(1, 8, 4, 4))
    assert indices.shape == (1, 4, 4, 4)
    assert (quantized == layer.indices_to_codes(indices)).all()


@usage
def masks_of_whole_images(vq):
    for mask in ([False, False], [True, False], [True, True]):
        for share in (1.0, 0.5):
            layer = vq.LFQ(codebook_size=256, dim=8, frac_per_sample_entropy=share)
            (quantized, indices, _), _ = layer(
                torch.randn(2, 8, 8, 8),
                inv_temperature=100.0,
                return_loss_breakdown=True,
                mask=torch.tensor(mask),
            )
            assert (quantized == layer.indices_to_codes(indices)).all()


@usage
def an_entropy_of_a_share_of_the_tokens(vq):
    x, mask = torch.randn(2, 8, 16, 16), torch.tensor([True, False])
    options = {"codebook_size": 256, "dim": 8}
    given = {"inv_temperature": 1.0, "return_loss_breakdown": True, "mask": mask}
    expected = vq.LFQ(**options)(x, **given)[1].per_sample_entropy
    part = vq.LFQ(**options, frac_per_sample_entropy=0.1)
    found = torch.stack([part(x, **given)[1].per_sample_entropy for _ in range(50)])
    assert abs(found.mean() - expected) < 5 * found.std() / math.sqrt(len(found))


@usage
def levels_of_signs(vq):
    layer = vq.ResidualLFQ(dim=16, codebook_size=64, num_quantizers=4).eval()
    quantized, indices, _ = layer(torch.randn(1, 64, 16))
    assert indices.shape == (1, 64, 4)
    assert torch.equal(quantized, layer.get_output_from_indices(indices))


@usage
def latents_of_learned_scalars(vq):
    module = importlib.import_module(f"{vq.__name__}.latent_quantization")
    for options, shape in (
        ({"levels": [5, 5, 8]}, (1, 16, 8, 8)),
        ({"levels": [5, 5, 8], "optimize_values": False}, (1, 16, 8, 8)),
        ({"levels": 5, "codebook_dim": 3}, (1, 16, 4, 8, 8)),
        ({"levels": [5, 5, 8], "num_codebooks": 4}, (1, 16, 64)),
    ):
        layer = module.LatentQuantize(
            dim=16, commitment_loss_weight=0.1, quantization_loss_weight=0.1, **options
        )
        x = torch.randn(shape)
        quantized, indices, loss = layer(x)
        assert quantized.shape == x.shape
        assert (quantized == layer.indices_to_codes(indices)).all()
        assert loss.item() >= 0
        loss.backward()


@usage
def one_number_of_levels_for_no_features(vq):
    with pytest.raises(RuntimeError):
        vq.LatentQuantize(levels=5, dim=16)


@usage
def bits_of_logits(vq):
    layer, logits = vq.BinaryMapper(bits=4, deterministic_on_eval=True).eval(), torch.randn(3, 7, 4)
    one_hot, indices, loss = layer(
        logits, calc_aux_loss=True, return_indices=True, reduce_aux_kl_loss=False
    )
    assert (one_hot.shape, indices.shape, loss.shape) == ((3, 7, 16), (3, 7), (3, 7))
    by_index = layer.log_prob(logits, indices=indices)
    assert torch.allclose(by_index, layer.log_prob(logits, one_hot=one_hot))


@usage
def scales_of_an_image(vq):
    layer = vq.HierarchicalVQ(
        dim=8,
        codebook_size=32,
        accept_image_fmap=True,
        scales=(1, 2, 4, 7),
        quant_resi=0.5,
        share_quant_resi=1,
    )
    x = torch.randn(1, 8, 7, 7)
    quantized, indices, loss = layer(x)
    assert quantized.shape == x.shape
    assert [tuple(each.shape) for each in indices] == [(1, n, n) for n in (1, 2, 4, 7)]
    assert layer.get_output_from_indices(indices).shape == x.shape
    assert torch.isfinite(loss)


@usage
def an_autoencoder_in_a_row(vq):
    model = vq.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.MaxPool2d(2),
        nn.GELU(),
        vq.VectorQuantize(dim=8, codebook_size=16, accept_image_fmap=True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 1, 3, padding=1),
    )
    x = torch.rand(2, 1, 8, 8)
    out, _, loss = model(x)
    ((out - x).abs().mean() + loss).backward()
    assert out.shape == x.shape


@usage
def bits_that_evolve(vq):
    model = vq.EvoLFQ(
        nn.Linear(6, 4),
        nn.Linear(4, 6),
        codebook_size=4,
        num_codebooks=2,
        pop_size=4,
        elitism_count=1,
    )
    x = torch.randn(2, 6)
    reconstructed, indices, _ = model(x)
    assert (reconstructed.shape, indices.shape) == (x.shape, (2, 2))

    def fitness(decoded, genes):
        return genes.sum(-1) + 0.0 * decoded.sum(-1)

    *_, last = model.evolve(fitness, pop_size=4, shape=(4,), generations=2)
    assert last.pop_bits.shape == (4, 4)


@usage
def more_codes_than_there_are(vq):
    layer = vq.VectorQuantize(dim=4, codebook_size=8).eval()
    assert layer(torch.randn(1, 9, 4), topk=9)[1].shape == (1, 9, 8)


@usage
def infinite_latents(vq):
    vq.VectorQuantize(dim=4, codebook_size=8).eval()(torch.full((1, 9, 4), math.inf))


@usage
def the_last_code_by_minus_one(vq):
    layer = vq.VectorQuantize(dim=4, codebook_size=8)
    assert torch.equal(layer.get_codes_from_indices(torch.tensor([[-1]]))[0, 0], layer.codebook[-1])


@pytest.mark.parametrize("function", USAGES, ids=lambda function: function.__name__)
@pytest.mark.rows("library", [original, ours])
def test_usages_run_unchanged(function, library):
    torch.manual_seed(0)
    if library is ours and function.__name__ in DIFFERENT:
        assert DIFFERENT[function.__name__] in MIGRATION.read_text()
        with pytest.raises(CertVQError):
            function(library)
    else:
        assert function(library) is None  # each has assertions of its own


def test_few_usages_differ():
    assert len(DIFFERENT) <= 3
    assert set(DIFFERENT) < {function.__name__ for function in USAGES}
