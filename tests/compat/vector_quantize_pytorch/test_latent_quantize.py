"""`LatentQuantize` beside the installed original, and where it differs on purpose."""

import copy
import functools

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from certvq.compat.vector_quantize_pytorch import LatentQuantize
from certvq.errors import CodeRangeError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 16 * 2.0**-23
"""Theirs add and subtract the latent, and rebuild values by arithmetic; maps add products."""

CASES = [
    ({"levels": [5, 5, 8], "dim": 3}, (2, 3, 50)),
    ({"levels": [5, 5, 8], "dim": 9}, (2, 9, 6, 7)),
    ({"levels": [4, 8], "dim": 4, "num_codebooks": 2}, (2, 4, 50)),
    ({"levels": 5, "dim": 6, "codebook_dim": 3}, (2, 6, 50)),
    ({"levels": [5, 8], "dim": 2, "optimize_values": False}, (2, 2, 50)),
    ({"levels": [5, 8], "dim": 3, "commitment_loss_weight": 0.0}, (2, 3, 50)),
]


def pair(*, training=True, **options):
    ours, theirs = LatentQuantize(**options), original.LatentQuantize(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def digits_of(module, indices):
    return module.quantizer.level_indices(indices.long())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
def test_forward_is_the_originals(options, shape, training, seeded):
    """Theirs cuts off the float index: it is lower wherever a rounding fell below an integer."""
    ours, theirs = pair(training=training, **options)
    latents = torch.randn(shape, generator=seeded()) * 0.4
    (vectors, indices, loss), (vectors_0, indices_0, loss_0) = ours(latents), theirs(latents)
    assert indices.shape == indices_0.shape
    assert indices.dtype == indices_0.dtype == torch.int32
    with torch.no_grad():
        tokens = theirs.project_in(latents.movedim(1, -1))
        codes = theirs.quantize(tokens.reshape(*tokens.shape[:-1], ours.num_codebooks, -1))
    exact = (theirs._scale_and_shift(codes.double()).round() * theirs._basis).sum(-1)
    if not ours.keep_num_codebooks_dim:
        exact = exact.squeeze(-1)
    assert torch.equal(indices, exact.to(torch.int32))
    assert (indices_0 <= indices).all()
    assert vectors.shape == vectors_0.shape
    assert (vectors - vectors_0).abs().max() <= ULPS * vectors_0.abs().max().clamp(min=1)
    assert abs(loss - loss_0) <= 1e-6


@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
def test_decoding_is_the_originals_at_the_start(options, shape, seeded):
    ours, theirs = pair(training=False, **options)
    indices = ours(torch.randn(shape, generator=seeded()))[1]
    for project in (True, False):
        back, back_0 = (m.indices_to_codes(indices, project_out=project) for m in (ours, theirs))
        assert back.shape == back_0.shape
        assert (back - back_0).abs().max() <= ULPS
    assert (ours.implicit_codebook - theirs.implicit_codebook).abs().max() <= ULPS


def test_values_learn_and_are_decoded_as_learned(seeded):
    """In the original no gradient reaches them, and decoding uses the values of the start."""
    ours, theirs = pair(levels=[5, 8], dim=2)
    latents = torch.randn(2, 2, 100, generator=seeded())
    theirs(latents.clone().requires_grad_())[2].backward()
    assert all(values.grad is None or not values.grad.any() for values in theirs.values_per_latent)
    optimiser = torch.optim.SGD(ours.parameters(), lr=1.0)
    for _ in range(5):
        optimiser.zero_grad()
        ours(latents)[2].backward()
        optimiser.step()
    vectors, indices, _ = ours.eval()(latents)
    assert torch.equal(ours.indices_to_codes(indices), vectors)
    assert not torch.equal(ours.quantizer.values, torch.cat(list(theirs.values_per_latent)))


def test_the_encoder_is_taught_by_the_quantization_term(seeded):
    """The original's two terms cancel on the latents where their weights are equal."""
    ours, theirs = pair(levels=[5, 8], dim=2)
    latents = torch.randn(2, 2, 100, generator=seeded())
    slopes = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        vectors, _, loss = module(leaf)
        loss.backward()
        slopes.append(leaf.grad)
    assert slopes[1].abs().max() < 1e-9
    expected = 0.1 * 2 * (latents - vectors.detach()) / latents.numel()
    torch.testing.assert_close(slopes[0], expected)


def test_an_inner_optimiser_moves_the_values_before_they_are_used(seeded):
    """The original raises AttributeError in train mode."""
    options = {"levels": [5, 8], "dim": 2}
    ours = LatentQuantize(
        **options, in_place_codebook_optimizer=lambda params: torch.optim.SGD(params, lr=1.0)
    )
    latents = torch.randn(2, 2, 200, generator=seeded())
    start = ours.quantizer.values.detach().clone()
    errors = []
    for _ in range(8):
        vectors, indices, loss = ours(latents)
        assert torch.equal(vectors, ours.indices_to_codes(indices))
        errors.append(loss.item())
    assert errors[-1] < errors[0]
    assert not torch.equal(ours.quantizer.values, start)
    with torch.no_grad():
        ours(latents)
    before = ours.quantizer.values.detach().clone()
    ours.eval()(latents)
    assert torch.equal(ours.quantizer.values, before)


def test_methods_and_attributes(seeded):
    ours, theirs = pair(levels=[5, 8], dim=2)
    for name in ["dim", "codebook_dim", "codebook_size", "num_codebooks", "has_projections"]:
        assert getattr(ours, name) == getattr(theirs, name), name
    for values, values_0 in zip(ours.values_per_latent, theirs.values_per_latent, strict=True):
        assert torch.equal(values, values_0)
    grid = ours.implicit_codebook
    assert torch.equal(ours.codes_to_indices(grid), torch.arange(40).int())
    z = torch.randn(2, 9, 2, generator=seeded())
    assert (ours.quantize(z) - theirs.quantize(z)).abs().max() <= ULPS
    for name in ("quantization_loss", "commitment_loss"):
        found, expected = (getattr(m, name)(z, z + 1) for m in (ours, theirs))
        assert torch.equal(found, expected)


def test_states_of_fixed_values_load_both_ways():
    options = {"levels": [5, 8], "dim": 3, "optimize_values": False}
    ours, _ = pair(**options)
    LatentQuantize(**options).load_state_dict(ours.state_dict())
    with pytest.raises(RuntimeError, match=r"quantizer\.values"):
        LatentQuantize(levels=[5, 8], dim=3).load_state_dict({}, strict=True)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": 5, "dim": 3}, "codebook_dim must be at least 1 .* got -1"),
        ({"levels": [5, 5], "dim": 3, "codebook_dim": 3}, "number of levels, 2, got 3"),
        (
            {
                "levels": [5],
                "dim": 1,
                "optimize_values": False,
                "in_place_codebook_optimizer": torch.optim.SGD,
            },
            "in_place_codebook_optimizer needs optimize_values=True",
        ),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        LatentQuantize(**options)


def test_wrong_input_is_named():
    ours = LatentQuantize(levels=[5, 8], dim=2)
    with pytest.raises(ShapeError, match=r"dim=2 features, got shape \(1, 3, 4\)"):
        ours(torch.zeros(1, 3, 4))
    with pytest.raises(CodeRangeError, match=r"range\(40\), got 40"):
        ours.indices_to_codes(torch.tensor([[40]]))
    with pytest.raises(ShapeError, match=r"2 features, got shape \(4, 3\)"):
        ours.codes_to_indices(torch.zeros(4, 3))


@pytest.mark.parametrize("levels", [[1], [1, 3]])
def test_a_feature_of_one_level_is_learned(levels):
    """Where it starts differs; from the original's state it goes on as there."""
    theirs, ours = (
        package(levels=levels, dim=len(levels))
        for package in (original.LatentQuantize, LatentQuantize)
    )
    assert theirs.values_per_latent[0].tolist() == [-0.5]
    assert ours.values_per_latent[0].tolist() == [0.0]
    x = torch.randn(2, len(levels), 9)
    ours(x)[2].backward()
    assert ours.quantizer.values.grad[0] != 0.0
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=ULPS, atol=ULPS)
    assert torch.equal(ours(x)[1], theirs(x)[1])


def test_the_inner_optimiser_follows_a_parameter_that_a_loader_replaces(seeded):
    """As ``assign=True`` does, and whoever builds on the meta device."""

    def make():
        adam = functools.partial(torch.optim.Adam, lr=0.1)
        return LatentQuantize([5, 4], dim=2, in_place_codebook_optimizer=adam)

    latents = torch.randn(2, 2, 50, generator=seeded())
    plain, assigned = make(), make()
    plain(latents)
    assigned(latents)
    assigned.load_state_dict(copy.deepcopy(plain.state_dict()), assign=True)
    plain(latents)
    assigned(latents)
    assert torch.equal(assigned.quantizer.values, plain.quantizer.values)
    assert not torch.equal(assigned.quantizer.values, make().quantizer.values)


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_inner_optimiser_steps_once_under_gradient_checkpointing(reentrant, seeded):
    def make():
        sgd = functools.partial(torch.optim.SGD, lr=0.1)
        return LatentQuantize([5, 4], dim=2, in_place_codebook_optimizer=sgd)

    latents = torch.randn(2, 2, 50, generator=seeded()).requires_grad_()
    plain, again = make(), make()
    plain(latents)
    checkpoint(again, latents, use_reentrant=reentrant)[0].sum().backward()
    assert torch.equal(again.quantizer.values, plain.quantizer.values)
    assert not torch.equal(again.quantizer.values, make().quantizer.values)
