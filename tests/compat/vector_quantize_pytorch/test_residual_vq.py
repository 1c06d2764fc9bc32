"""The original's ResidualVQ beside ours: same weights, same codes, outputs, losses, gradients."""

import copy
import functools
import io
import pickle

import pytest
import torch

from certvq.compat import vector_quantize_pytorch as compat
from certvq.compat.vector_quantize_pytorch import ResidualVQ
from certvq.compat.vector_quantize_pytorch.residual_vq import codebook_of
from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch", reason="the bench extra")

NEAR = {"rtol": 2e-5, "atol": 2e-6}
"""Bound of sums of a few float32 numbers of magnitude 1 that are added in another order."""


def pair(**keywords):
    """The original with random codebooks, and ours with its state."""
    torch.manual_seed(0)
    theirs = original.ResidualVQ(**keywords)
    for layer in theirs.layers:
        book = layer._codebook
        if "use_cosine_sim" not in keywords and not keywords.get("kmeans_init"):
            book.embed.data.copy_(torch.randn_like(book.embed))
            book.embed_avg.data.copy_(book.embed.data)
    ours = ResidualVQ(**keywords)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def latents(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(100 + seed))


def run(module, x, **options):
    leaf = x.clone().requires_grad_()
    torch.manual_seed(5)
    result = module(leaf, **options)
    weight = latents(*result[0].shape, seed=7)
    loss = (result[0] * weight).sum() + result[2].sum()
    if module.training and loss.requires_grad:
        loss.backward()
    return [part.detach() for part in result], leaf.grad


SLOPE = {"rtol": 1e-3, "atol": 1e-4}
"""Likewise of rotated gradients, that divide by the lengths of small residuals."""


CASES = {
    "plain": {},
    "straight": {"rotation_trick": False},
    "sizes": {"codebook_size": (8, 5, 11), "num_quantizers": None},
    "cosine": {"use_cosine_sim": True},
    "projected": {"codebook_dim": 3},
    "grad-frac": {"quant_grad_frac": 0.3},
    "grad-all": {"quant_grad_frac": 1.0, "rotation_trick": False},
    "weights": {"commitment_weight": 0.25, "decay": 0.5},
    "learnable": {"learnable_codebook": True, "ema_update": False},
    "frozen": {"ema_update": False},
    "dropout": {"quantize_dropout": True},
    "dropout-multiple": {
        "quantize_dropout": True,
        "quantize_dropout_cutoff_index": 1,
        "quantize_dropout_multiple_of": 2,
    },
    "beam": {"beam_size": 3},
    "beam-weights": {"beam_size": 3, "beam_score_quantizer_weights": [1.0, 0.5, 2.0]},
    "neural": {"implicit_neural_codebook": True, "mlp_kwargs": {"depth": 2, "dim_hidden": 7}},
    "diversity": {
        "codebook_diversity_loss_weight": 0.1,
        "codebook_diversity_temperature": 2.0,
        "ema_update": False,
    },
    "cross-entropy": {"commitment_use_cross_entropy_loss": True, "ema_update": False},
    "affine": {"affine_param": True},
    "affine-learnable": {"affine_param": True, "learnable_codebook": True, "ema_update": False},
    "unrouted": {"route_gradients_to_input": False},
    "straight-through": {"straight_through": True, "rotation_trick": False},
    "synchronous": {"learnable_codebook": True, "ema_update": False, "sync_update_v": 0.5},
    "orthogonal": {"orthogonal_reg_weight": 1.0, "ema_update": False},
    "bridge": {"vq_bridge": torch.nn.Linear(4, 4)},
    "by hand": {"manual_ema_update": True},
}


def keywords_of(case):
    """With little smoothing: the original's draws codes without tokens to the origin."""
    return {"eps": 1e-9, "dim": 4, "num_quantizers": 3, "codebook_size": 8} | CASES[case]


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"affine", "affine-learnable", "bridge"}))
def test_eval_mode_equals_the_original(case):
    """With an affine map the original changes its state in eval mode too; it decodes unbridged."""
    theirs, ours = (module.eval() for module in pair(**keywords_of(case)))
    x = latents(2, 30, 4)
    expected = theirs(x, return_all_codes=True)
    got = ours(x, return_all_codes=True)
    assert torch.equal(got[1], expected[1])
    for left, right in zip(got, expected, strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        torch.testing.assert_close(left, right, **NEAR)
    torch.testing.assert_close(
        ours.get_output_from_indices(got[1]), theirs.get_output_from_indices(got[1]), **NEAR
    )


@pytest.mark.parametrize("case", CASES)
def test_train_mode_equals_the_original(case):
    """Four batches: each sees the codebook that the batches before it have taught.

    With a beam the original teaches the first level alone; with an affine map it learns in eval
    mode too.
    """
    theirs, ours = pair(**keywords_of(case))
    beam = case.startswith("beam")
    by_gradient = {"learnable", "neural", "synchronous", "orthogonal", "bridge"}
    for step in range(1 if beam or case in by_gradient else 4):
        x = latents(2, 40, 4, seed=step)
        (quantized, codes, losses), slope = run(theirs, x)
        (our_quantized, our_codes, our_losses), our_slope = run(ours, x)
        assert torch.equal(our_codes, codes)
        torch.testing.assert_close(our_quantized, quantized, **NEAR)
        torch.testing.assert_close(our_losses, losses, **NEAR)
        if slope is None:
            assert our_slope is None
        else:
            torch.testing.assert_close(our_slope, slope, **SLOPE)
    theirs, ours = theirs.eval(), ours.eval()
    if not beam and not case.startswith("affine"):
        assert torch.equal(ours(x)[1], theirs(x)[1])
    pairs = list(zip(ours.codebooks, theirs.codebooks, strict=True))
    for left, right in pairs[:1] if beam else pairs:
        torch.testing.assert_close(left, right, **NEAR)


def test_averages_are_taken_in_by_hand():
    theirs, ours = pair(**keywords_of("by hand"))
    x, before = latents(2, 40, 4), ours.codebooks.clone()
    theirs(x)
    ours(x)
    assert torch.equal(ours.codebooks, before)
    for layers in (theirs.layers, ours.layers):
        for layer in layers:
            layer._codebook.update_ema()
    assert not torch.equal(ours.codebooks, before)
    torch.testing.assert_close(ours.codebooks, theirs.codebooks, **NEAR)


def test_inner_steps_are_taken_by_hand():
    keywords = {"learnable_codebook": True, "ema_update": False}
    inner = functools.partial(torch.optim.SGD, lr=0.5)
    keywords |= {"in_place_codebook_optimizer": inner, "manual_in_place_optimizer_update": True}
    _, ours = pair(**keywords_of("plain") | keywords)
    before = ours.codebooks.clone()
    ours(latents(2, 40, 4))
    assert torch.equal(ours.codebooks, before)
    for layer in ours.layers:
        layer.update_in_place_optimizer()
    assert all(not torch.equal(*books) for books in zip(ours.codebooks, before, strict=True))


def test_bridges_are_one_module_and_learn():
    _, ours = pair(**keywords_of("bridge"))
    assert sum(name.startswith("vq_bridge.") for name, _ in ours.named_parameters()) == 2
    quantized, indices, losses = ours(latents(2, 40, 4))
    losses.sum().backward()
    assert ours.vq_bridge.weight.grad.any()
    assert torch.equal(ours.get_output_from_indices(indices), quantized)


@pytest.mark.parametrize("case", ["learnable", "neural"])
def test_parameters_get_the_gradients_of_the_original(case):
    theirs, ours = pair(**keywords_of(case))
    x = latents(2, 40, 4)
    run(theirs, x)
    run(ours, x)
    books = [layer._codebook.embed.grad[0] for layer in theirs.layers]
    own = [getattr(layer, "base", layer).codebook.grad for layer in ours.layers]
    for left, right in zip(own, books, strict=True):
        torch.testing.assert_close(left, right, **SLOPE)
    if case == "neural":
        for level, network in enumerate(theirs.mlps, start=1):
            transform = ours.layers[level].transform
            for left, right in zip(transform.parameters(), network.parameters(), strict=True):
                torch.testing.assert_close(left.grad, right.grad, **SLOPE)


@pytest.mark.parametrize("zeros", [True, False])
def test_masks_equal_the_original(zeros):
    theirs, ours = pair(**keywords_of("plain"), return_zeros_for_masked_padding=zeros)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 20:] = mask[1, :3] = False
    for step in range(3):
        if step == 2:
            theirs.eval(), ours.eval()
        x = latents(2, 30, 4, seed=step)
        expected, slope = run(theirs, x, mask=mask)
        got, our_slope = run(ours, x, mask=mask)
        assert torch.equal(got[1], expected[1])
        torch.testing.assert_close(got[0], expected[0], **NEAR)
        torch.testing.assert_close(got[2], expected[2], **NEAR)
        if step < 2:
            torch.testing.assert_close(our_slope, slope, **SLOPE)


def test_masked_beams_equal_the_original():
    theirs, ours = (module.eval() for module in pair(**keywords_of("beam")))
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 20:] = False
    x = latents(2, 30, 4)
    expected, got = theirs(x, mask=mask), ours(x, mask=mask)
    assert torch.equal(got[1][mask], expected[1][mask])
    assert (got[1][~mask] == -1).all()
    torch.testing.assert_close(got[2], expected[2], **NEAR)


@pytest.mark.parametrize("seed", range(6))
def test_the_same_seed_gives_the_same_depth(seed):
    theirs, ours = pair(**keywords_of("dropout"))
    x = latents(2, 30, 4)
    expected = theirs(x, rand_quantize_dropout_fixed_seed=seed)
    got = ours(x, rand_quantize_dropout_fixed_seed=seed)
    assert torch.equal(got[1], expected[1])
    torch.testing.assert_close(got[2], expected[2], **NEAR)


def test_codes_of_fewer_levels_and_padding(same_bits):
    theirs, ours = (module.eval() for module in pair(**keywords_of("dropout")))
    indices = ours(latents(2, 30, 4))[1]
    indices[0, :9, 2] = -1
    for given in (indices, indices[..., :2], indices[..., :1]):
        assert torch.equal(ours.get_codes_from_indices(given), theirs.get_codes_from_indices(given))
    with pytest.raises(CodeRangeError, match=r"range\(8\), got 8 at position \(0, 0, 1\)"):
        ours.get_codes_from_indices(torch.tensor([[[0, 8, 0]]]))
    with pytest.raises(CodeRangeError, match="got -2"):
        ours.get_codes_from_indices(torch.tensor([[[0, -2, 0]]]))
    with pytest.raises(ShapeError, match=r"1 to 3 levels in the last axis, got shape \(1, 1, 4\)"):
        ours.get_codes_from_indices(torch.zeros(1, 1, 4, dtype=torch.int64))


@pytest.mark.parametrize("mode", [True, False])
def test_decoding_gives_what_forward_returned(mode, same_bits):
    """Also in train mode, where the original's codebook has moved on."""
    _, ours = pair(**keywords_of("projected"))
    ours.train(mode)
    for step in range(3):
        quantized, indices, _ = ours(latents(2, 30, 4, seed=step))
        assert same_bits(ours.get_output_from_indices(indices), quantized)


def test_images_and_other_layouts(same_bits):
    """The original refuses images (the axes of its residuals do not fit)."""
    _, plain = pair(**keywords_of("plain"))
    x = latents(2, 4, 3, 5)
    tokens = x.permute(0, 2, 3, 1).reshape(2, 15, 4)
    expected = plain.eval()(tokens)
    for keywords in ({"accept_image_fmap": True}, {"channel_last": False}):
        ours = ResidualVQ(**keywords_of("plain"), **keywords).eval()
        ours.load_state_dict(plain.state_dict())
        given = x if "accept_image_fmap" in keywords else x.flatten(2)
        quantized, indices, losses = ours(given)
        assert same_bits(quantized.flatten(2).transpose(1, 2), expected[0])
        assert torch.equal(indices.reshape(2, 15, 3), expected[1])
        assert losses.shape == (3,)
    assert torch.equal(plain(tokens[0])[1], expected[1][0])


def test_a_shared_codebook_has_one_state():
    theirs, ours = pair(**keywords_of("plain"), shared_codebook=True)
    x = latents(2, 40, 4)
    (quantized, codes, losses), slope = run(theirs, x)
    (our_quantized, our_codes, our_losses), our_slope = run(ours, x)
    assert torch.equal(our_codes, codes)
    torch.testing.assert_close(our_quantized, quantized, **NEAR)
    torch.testing.assert_close(our_losses, losses, **NEAR)
    torch.testing.assert_close(our_slope, slope, **SLOPE)
    assert len(ours.residual.parts) == 1
    assert ours.codebooks.shape == (3, 8, 4)


def test_networks_can_adapt_a_shared_codebook():
    theirs, ours = pair(**keywords_of("neural"), shared_codebook=True)
    x = latents(2, 40, 4)
    (quantized, codes, losses), slope = run(theirs, x)
    (our_quantized, our_codes, our_losses), our_slope = run(ours, x)
    assert torch.equal(our_codes, codes)
    torch.testing.assert_close(our_quantized, quantized, **NEAR)
    torch.testing.assert_close(our_losses, losses, **NEAR)
    torch.testing.assert_close(our_slope, slope, **SLOPE)
    (book,) = {
        id(level.codebook): level.codebook for level in map(codebook_of, ours.layers)
    }.values()
    torch.testing.assert_close(book.grad, theirs.layers[0]._codebook.embed.grad[0], **NEAR)
    assert torch.equal(ours.get_output_from_indices(our_codes), our_quantized)
    revived = ResidualVQ(
        **keywords_of("neural"), shared_codebook=True, threshold_ema_dead_code=9, kmeans_init=True
    )
    for step in range(3):  # codes revive once in each forward, before any level has searched
        vectors, found, _ = revived(latents(2, 40, 4, seed=step))
        assert torch.equal(revived.get_output_from_indices(found), vectors)


def test_a_fresh_layer_averages_as_the_original():
    """Averages begin with one token for each code, where no state was loaded."""
    theirs, _ = pair(**keywords_of("plain"))
    ours = ResidualVQ(**keywords_of("plain"))
    for level, layer in zip(ours.layers, theirs.layers, strict=True):
        level.codebook.copy_(layer._codebook.embed[0])
    for step in range(2):
        x = latents(2, 40, 4, seed=step)
        assert torch.equal(ours(x)[1], theirs(x)[1])
    torch.testing.assert_close(ours.eval().codebooks, theirs.eval().codebooks, **NEAR)


def test_diveq_learns_from_what_follows():
    theirs, ours = pair(**keywords_of("plain"), diveq=True, threshold_ema_dead_code=0)
    x = latents(2, 40, 4)
    (quantized, codes, losses), _ = run(theirs, x)
    (our_quantized, our_codes, our_losses), _ = run(ours, x)
    assert torch.equal(our_codes, codes)
    assert not losses.any()
    assert not our_losses.any()
    far, our_far = ((part - x).norm(dim=-1) for part in (quantized, our_quantized))
    torch.testing.assert_close(our_far, far, **NEAR)
    assert all(layer.codebook.grad.any() for layer in ours.layers)


@pytest.mark.parametrize("name", ["VectorQuantize", "ResidualVQ", "GroupedResidualVQ"])
def test_training_code_may_call_backward_with_a_frozen_encoder(name):
    """The averages learn without any gradient, but a loop over a loss does not know that."""
    more = {} if name == "VectorQuantize" else {"num_quantizers": 2}
    for package in (original, compat):
        layer = getattr(package, name)(dim=4, codebook_size=8, **more)
        loss = layer(torch.randn(2, 9, 4))[2].sum()
        loss.backward()
        assert loss >= 0.0


def test_frozen_batches_teach_nothing(snapshot, unchanged):
    _, ours = pair(**keywords_of("plain"))
    ours(latents(2, 40, 4))
    assert ours.codebooks.isfinite().all()  # which takes in what waits
    before = snapshot(ours)
    ours(latents(2, 40, 4, seed=2), freeze_codebook=True)
    assert unchanged(ours, before)
    ours(latents(2, 40, 4, seed=2))
    assert not unchanged(ours, before)


def test_the_option_to_freeze_is_kept(snapshot, unchanged):
    """The original's forward overrules it by its own default."""
    _, ours = pair(**keywords_of("plain"), freeze_codebook=True)
    before = snapshot(ours)
    for step in range(2):
        ours(latents(2, 40, 4, seed=step))
    assert unchanged(ours, before)


def test_all_levels_learn_with_a_beam():
    """The original's slice takes the first level where it means the first beam."""
    _, ours = pair(**keywords_of("beam"))
    before = [book.clone() for book in ours.codebooks]
    ours(latents(2, 40, 4))
    for book, old in zip(ours.eval().codebooks, before, strict=True):
        assert not torch.equal(book, old)


def test_a_residual_of_zero_keeps_its_code_vector():
    """The original's rotation of the zero vector returns zero, not the code vector."""
    _, ours = pair(**keywords_of("plain"))
    x = ours.layers[0].codebook[:6].detach()[None].clone().requires_grad_()
    quantized, indices, _ = ours(x)
    assert torch.equal(quantized, ours.get_output_from_indices(indices))


def test_codes_can_be_drawn():
    _, ours = pair(**keywords_of("plain"), stochastic_sample_codes=True)
    x = latents(2, 200, 4)
    nearest = ours.eval()(x)[1]
    ours.train()
    drawn = ours(x, freeze_codebook=True, sample_codebook_temp=5.0)[1]
    assert (drawn != nearest).float().mean() > 0.3
    assert torch.equal(ours(x, freeze_codebook=True, sample_codebook_temp=0.0)[1], nearest)


def test_cross_entropy_of_given_indices():
    """The original fails here: it unpacks two results into three names."""
    _, ours = pair(**keywords_of("plain"))
    ours.eval()
    x = latents(2, 30, 4).requires_grad_()
    indices = ours(x)[1]
    quantized, entropy = ours(x, indices=indices)
    torch.testing.assert_close(quantized, ours.get_output_from_indices(indices))
    residual, expected = x, 0.0
    for level, layer in enumerate(ours.layers):
        distance = torch.cdist(
            residual, layer.codebook[None], compute_mode="donot_use_mm_for_euclid_dist"
        )
        expected = expected + torch.nn.functional.cross_entropy(
            -distance.flatten(0, 1), indices[..., level].flatten()
        )
        residual = residual - layer.codebook[indices[..., level]]
    torch.testing.assert_close(entropy, expected, **NEAR)
    entropy.backward()
    assert x.grad.any()
    with pytest.raises(CodeRangeError, match="got -1"):
        ours(x, indices=torch.full_like(indices, -1))


def test_bad_batches_change_nothing(snapshot, unchanged):
    _, ours = pair(**keywords_of("plain"))
    ours(latents(2, 40, 4))
    before = snapshot(ours)
    bad = latents(2, 40, 4)
    bad[1, 3, 2] = float("nan")
    with pytest.raises(NonFiniteError, match="row 43, column 2"):
        ours(bad)
    with pytest.raises(ShapeError, match=r"dim=4 features, got shape \(2, 40, 5\)"):
        ours(latents(2, 40, 5))
    with pytest.raises(ShapeError, match=r"\(2, 40\), got \(2, 41\)"):
        ours(latents(2, 40, 4), mask=torch.ones(2, 41, dtype=torch.bool))
    with pytest.raises(DTypeError, match="latents must be float64.* got int64"):
        ours(torch.zeros(2, 40, 4, dtype=torch.int64))
    assert unchanged(ours, before)


def test_copies_and_own_state(snapshot, unchanged):
    _, ours = pair(**keywords_of("projected"))
    ours(latents(2, 40, 4))
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301 (ours)
        assert unchanged(other, snapshot(ours))
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    fresh = ResidualVQ(**keywords_of("projected"))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert unchanged(fresh, snapshot(ours))


@pytest.mark.rows(
    ("keywords", "text"),
    [
        ({"heads": 2}, "one head, got heads=2"),
        ({"num_quantizers": None}, "at least 1 for one codebook_size, got None"),
        ({"codebook_size": (8, 9)}, r"num_quantizers=3 levels, got \(8, 9\)"),
        ({"codebook_size": (8, 9, 8), "shared_codebook": True}, "needs one codebook_size"),
        ({"eval_beam_size": 2}, "eval_beam_size=2 needs beam_size"),
        ({"beam_score_quantizer_weights": [1.0]}, "each of 3 levels, got 1"),
        ({"quantize_dropout_cutoff_index": 3}, r"lie in range\(3\), got 3"),
        ({"quantize_dropout_multiple_of": 0}, "at least 1, got 0"),
        ({"mlp_kwargs": {"l2": 1}, "implicit_neural_codebook": True}, r"got \['l2'\]"),
        ({"sync_update_v": 0.5}, "sync_update_v > 0 needs learnable_codebook=True"),
        (
            {"learnable_codebook": True, "ema_update": True},
            "learnable_codebook=True needs ema_update=False",
        ),
        ({"straight_through": True, "rotation_trick": True}, "at most one of"),
        ({"directional_reparam": True}, "needs threshold_ema_dead_code > 0"),
        ({"in_place_codebook_optimizer": torch.optim.SGD}, "needs learnable_codebook=True"),
        ({"implicit_neural_codebook": True, "use_cosine_sim": True}, "use_cosine_sim is not"),
        ({"implicit_neural_codebook": True, "affine_param": True}, "goes with neither"),
    ],
)
def test_options_that_contradict_are_refused(keywords, text):
    with pytest.raises(OptionError, match=text):
        ResidualVQ(**keywords_of("plain") | keywords)


def test_unknown_keywords_are_an_error_of_type():
    with pytest.raises(TypeError, match=r"unexpected keyword arguments \['codebook'\]"):
        ResidualVQ(**keywords_of("plain"), codebook=3)
    with pytest.raises(
        TypeError, match=r"\['commitment_wieght'\]; did you mean 'commitment_weight'\?"
    ):
        ResidualVQ(**keywords_of("plain"), commitment_wieght=1.0)


def test_neural_codebooks_have_no_beam():
    ours = ResidualVQ(**keywords_of("neural"), beam_size=2)
    with pytest.raises(OptionError, match="beam over implicit neural codebooks"):
        ours(latents(1, 9, 4))
