"""Parity with the original's `VectorQuantize`, option by option, from equal weights.

Codes and eval outputs compare with `==`, on data for which the original finds the true nearest code
(an assertion says so). What the original computes by another formula compares within `CLOSE`.
"""

import copy
import functools
import io

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize as Original

import certvq
from certvq.compat.vector_quantize_pytorch import VectorQuantize
from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError

CLOSE = {"rtol": 2e-5, "atol": 2e-6}
"""The original's float32 formulas (rotated values, sums by matrix product) against ours."""

SGD = functools.partial(torch.optim.SGD, lr=0.5, momentum=0.5)
LEARNS = {"learnable_codebook": True, "ema_update": False}

STILL = {"ema_update": False}
"""Where the original's gradients go through distances: it has by then overwritten the codebook."""

OPTIONS = {
    "default": {},
    "plain": {"rotation_trick": False},
    "cosine": {"use_cosine_sim": True},
    "projected": {"codebook_dim": 4},
    "projected-norm": {"codebook_dim": 4, "layernorm_after_project_in": True},
    "heads": {"heads": 2, "codebook_dim": 3},
    "separate": {"heads": 2, "codebook_dim": 3, "separate_codebook_per_head": True},
    "learnable": LEARNS,
    "in-place": {**LEARNS, "in_place_codebook_optimizer": SGD},
    "slow": {"decay": 0.99, "eps": 5e-5, "commitment_weight": 0.25},
    "frozen": {"freeze_codebook": True},
    "no-ema": {"ema_update": False},
    "affine": {"affine_param": True},
    "affine-learnable": {"affine_param": True, **LEARNS},
    # in other layouts than a sequence the original raises; see docs/migration.md
    "cross-entropy": {"commitment_use_cross_entropy_loss": True, **STILL},
    "cross-entropy-heads": {
        "commitment_use_cross_entropy_loss": True,
        "heads": 2,
        "codebook_dim": 3,
        **STILL,
        "separate_codebook_per_head": True,
    },
    "orthogonal": {"orthogonal_reg_weight": 10.0, **LEARNS},
    "orthogonal-still": {"orthogonal_reg_weight": 10.0, **STILL},
    "orthogonal-active": {
        "orthogonal_reg_weight": 1.0,
        "orthogonal_reg_active_codes_only": True,
        **STILL,
    },
    "diverse": {
        "codebook_diversity_loss_weight": 0.5,
        "codebook_diversity_temperature": 3.0,
        **STILL,
    },
    "diverse-heads": {
        "codebook_diversity_loss_weight": 0.5,
        "codebook_diversity_temperature": 3.0,
        "heads": 2,
        "codebook_dim": 3,
        **STILL,
    },
    "diverse-cosine": {
        "codebook_diversity_loss_weight": 0.5,
        "use_cosine_sim": True,
        **STILL,
    },
    "synchronous": {"sync_update_v": 0.5, **LEARNS},
    "unrouted": {"route_gradients_to_input": False, **LEARNS},
    "gumbel-gradient": {
        "straight_through": True,
        "rotation_trick": False,
        "route_gradients_to_input": False,
        **STILL,
    },
    "no-commitment": {"commitment_weight": 0.0},
    "manual": {"manual_ema_update": True},
    "manual-without-optimizer": {"manual_in_place_optimizer_update": True},
}
LAYOUTS = {
    "sequence": ({}, (3, 7, 6)),
    "channel-first": ({"channel_last": False}, (3, 6, 7)),
    "image": ({"accept_image_fmap": True}, (3, 6, 2, 4)),
    "volume": ({"accept_3d_fmap": True}, (3, 6, 2, 2, 3)),
    "single": ({}, (9, 6)),
}
IN_EVERY_LAYOUT = ("default", "cosine", "projected", "heads", "separate", "diverse", "in-place")


each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def combinations(*, leave_out=()):
    """List all options for sequences, and some for the other layouts."""
    for name, options in OPTIONS.items():
        for layout in LAYOUTS:
            wanted = layout == "sequence" or name in IN_EVERY_LAYOUT
            if wanted and not set(leave_out) & options.keys():
                yield pytest.param(options, layout, id=f"{name}-{layout}")


def pair(options, *, seed=0):
    """Make the original and ours, with equal weights."""
    torch.manual_seed(seed)
    options = {"dim": 6, "codebook_size": 11, **options}
    theirs, ours = Original(**options), VectorQuantize(**options)
    with torch.no_grad():
        embed = torch.randn_like(theirs._codebook.embed)
        if options.get("use_cosine_sim"):
            embed = torch.nn.functional.normalize(embed, dim=-1)
        theirs._codebook.embed.copy_(embed)
        theirs._codebook.embed_avg.copy_(embed)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(layer, x, result):
    quantized, _, loss = result[:3]
    total = (quantized * draw(quantized.shape, 77)).sum() + 3.0 * loss.sum()
    names, leaves = zip(*[("x", x), *layer.named_parameters()], strict=True)
    if not total.requires_grad:
        return {}
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    pairs = zip(names, found, strict=True)
    return {renamed(n): g.squeeze(0) for n, g in pairs if g is not None and g.any()}


def renamed(name):
    """Write a name of the original's in a way that both have; there is one codebook."""
    return "codebook" if name.startswith(("_codebook.", "layers.")) else name


@pytest.mark.parametrize(
    # the original takes the moments of eval batches in; see docs/migration.md
    ("options", "layout"),
    list(combinations(leave_out=["affine_param"])),
)
def test_eval_mode_is_the_same(options, layout):
    """Codes, vectors and both ways of decoding, bit for bit."""
    arranged, shape = LAYOUTS[layout]
    theirs, ours = (m.eval() for m in pair({**options, **arranged}))
    x = draw(shape, 1)
    quantized, codes, loss = theirs(x)
    found = ours(x)
    assert torch.equal(found[1], codes)
    if options.get("codebook_dim") is None:
        assert torch.equal(found[0], quantized)
    torch.testing.assert_close(found[0], quantized, **CLOSE)
    assert float(found[2]) == float(loss) == 0.0
    assert found[2].shape == loss.shape
    if options.get("heads", 1) == 1 or options.get("separate_codebook_per_head"):
        assert torch.equal(ours.get_codes_from_indices(codes), theirs.get_codes_from_indices(codes))
    if layout == "sequence" and not options.get("heads"):
        expected = theirs.get_output_from_indices(codes)
        torch.testing.assert_close(ours.get_output_from_indices(codes), expected, **CLOSE)
    assert torch.equal(ours.codebook, theirs.codebook)


@pytest.mark.parametrize(("options", "layout"), list(combinations()))
def test_train_mode_is_the_same(options, layout):
    """Four batches: codes, vectors, losses with their breakdown, gradients, and the codebook."""
    arranged, shape = LAYOUTS[layout]
    theirs, ours = pair({**options, **arranged})
    for step in range(4):
        x, y = (draw(shape, step).requires_grad_() for _ in range(2))
        expected, found = theirs(x, return_loss_breakdown=True), ours(y, return_loss_breakdown=True)
        assert torch.equal(found[1], expected[1])
        torch.testing.assert_close(found[0], expected[0], **CLOSE)
        torch.testing.assert_close(found[2], expected[2], **CLOSE)
        assert found[3]._fields == expected[3]._fields
        for mine, other in zip(found[3], expected[3], strict=True):
            torch.testing.assert_close(mine.detach(), other.detach(), **CLOSE)
        if "in_place_codebook_optimizer" in options:
            continue  # the original's outer loss also reaches the codebook; see docs/migration.md
        mine, other = gradients(ours, y, found), gradients(theirs, x, expected)
        if options.get("separate_codebook_per_head"):  # ours are several parameters
            mine, other = ({"x": grads["x"]} for grads in (mine, other))
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, other[name], rtol=2e-4, atol=2e-5)
    theirs.eval()
    ours.eval()
    torch.testing.assert_close(ours.codebook, theirs.codebook, **CLOSE)
    torch.testing.assert_close(ours._codebook.cluster_size, theirs._codebook.cluster_size, **CLOSE)


def same(found, expected):
    """Compare two results: codes with ==, the rest within `CLOSE`."""
    for mine, other in zip(found, expected, strict=True):
        if isinstance(other, tuple):
            same(mine, other)
        elif other.is_floating_point():
            assert mine.shape == other.shape
            torch.testing.assert_close(mine.detach(), other.detach(), **CLOSE)
        else:
            assert torch.equal(mine, other)


def same_codebook(ours, theirs):
    for model in (ours, theirs):
        model.eval()
    torch.testing.assert_close(ours.codebook, theirs.codebook, **CLOSE)
    torch.testing.assert_close(ours._codebook.cluster_size, theirs._codebook.cluster_size, **CLOSE)
    torch.testing.assert_close(ours._codebook.embed_avg, theirs._codebook.embed_avg, **CLOSE)


@pytest.mark.parametrize("as_lens", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("extra", [{}, {"heads": 2, "codebook_dim": 3}], ids=["one", "heads"])
def test_masks_and_lengths(as_lens, zeros, extra):
    theirs, ours = pair({**extra, "return_zeros_for_masked_padding": zeros})
    lens = torch.tensor([7, 3, 1])
    given = {"lens": lens} if as_lens else {"mask": torch.arange(7) < lens[:, None]}
    for step in range(3):
        x = draw((3, 7, 6), step)
        if extra:  # the original compares latents that were not cut into heads: its loss fails
            with torch.no_grad():
                theirs.has_commitment_loss = ours.has_commitment_loss = False
        same(ours(x, **given), theirs(x, **given))
    same_codebook(ours, theirs)
    same(ours(x, **given), theirs(x, **given))


@pytest.mark.rows("training", [True, False])
@pytest.mark.rows("options", [{}, {"use_cosine_sim": True}, {"codebook_dim": 4}])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_nearest_codes(training, options, layout):
    arranged, shape = LAYOUTS[layout]
    theirs, ours = (m.train(training) for m in pair({**options, **arranged}))
    x = draw(shape, 1).requires_grad_()
    given = {"topk": 3, "return_loss_breakdown": True}
    same(ours(x, **given), theirs(x, **given))
    assert ours(x, topk=11)[1].shape[-1] == 11
    with pytest.raises(OptionError, match="topk must be at most codebook_size=11, got 12"):
        ours(x, topk=12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_cosine_sim": True},
        LEARNS,
        {"heads": 2, "codebook_dim": 3, "separate_codebook_per_head": True},
    ],
    ids=str,
)
def test_cross_entropy_against_given_codes(options):
    theirs, ours = (m.eval() for m in pair(options))
    shape = (3, 7, 2) if options.get("heads") else (3, 7)
    codes = torch.randint(-1, 11, shape, generator=torch.Generator().manual_seed(3))
    x, y = (draw((3, 7, 6), 1).requires_grad_() for _ in range(2))
    expected, found = theirs(x, indices=codes), ours(y, indices=codes)
    torch.testing.assert_close(found[1], expected[1], **CLOSE)
    slopes = [torch.autograd.grad(r[1], z)[0] for r, z in ((found, y), (expected, x))]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
    if not options.get("heads"):  # there the original returns its inner layout
        torch.testing.assert_close(found[0], expected[0], **CLOSE)


def test_a_batch_can_be_frozen():
    theirs, ours = pair({})
    for step in range(4):
        given = {"freeze_codebook": step % 2 == 1}
        same(ours(draw((3, 7, 6), step), **given), theirs(draw((3, 7, 6), step), **given))
    same_codebook(ours, theirs)


@pytest.mark.parametrize("callable_", [False, True])
def test_codes_can_move_at_rates_of_their_own(callable_):
    theirs, ours = pair({})
    rates = torch.linspace(0, 1, 11)
    weight = (lambda total, counts: rates[None] + 0.0 * counts) if callable_ else rates
    for step in range(3):
        x = draw((3, 7, 6), step)
        same(ours(x, ema_update_weight=weight), theirs(x, ema_update_weight=weight))
    same_codebook(ours, theirs)


def test_micro_batches_add_up():
    theirs, ours = pair({})
    for step in range(6):
        given = {"accum_ema_update": step % 3 != 2}
        same(ours(draw((3, 7, 6), step), **given), theirs(draw((3, 7, 6), step), **given))
    same_codebook(ours, theirs)


def test_averages_can_be_written_by_hand():
    theirs, ours = pair({"manual_ema_update": True})
    for step in range(4):
        same(ours(draw((3, 7, 6), step)), theirs(draw((3, 7, 6), step)))
        if step == 2:
            theirs._codebook.update_ema()
            ours._codebook.update_ema()
    same_codebook(ours, theirs)


def test_averages_can_be_switched_off_for_a_batch():
    theirs, ours = pair({"threshold_ema_dead_code": 1e-9})
    for step in range(5):
        given = {"ema_update": step % 2 == 0}
        same(ours(draw((3, 7, 6), step), **given), theirs(draw((3, 7, 6), step), **given))
    same_codebook(ours, theirs)


@pytest.mark.parametrize(
    ("layout", "extra"),
    [
        ("sequence", {}),
        ("channel-first", {}),
        ("image", {}),
        ("sequence", {"heads": 2, "codebook_dim": 3}),  # with images the original raises
    ],
    ids=str,
)
def test_statistics_can_be_fed_from_outside(layout, extra):
    arranged, shape = LAYOUTS[layout]
    theirs, ours = pair({**arranged, **extra})
    x = draw(shape, 0)
    codes = theirs(x, freeze_codebook=True)[1]
    for model in (theirs, ours):
        model.update_ema_indices(x, codes)
    same_codebook(ours, theirs)


def test_the_inner_optimiser_can_step_by_hand():
    options = {"in_place_codebook_optimizer": SGD, "manual_in_place_optimizer_update": True}
    theirs, ours = pair({**LEARNS, **options})
    for step in range(4):
        with torch.no_grad():
            x = draw((3, 7, 6), step)
        same(ours(x), theirs(x))
        if step % 2:
            theirs.update_in_place_optimizer()
            ours.update_in_place_optimizer()
    torch.testing.assert_close(ours.codebook, theirs.codebook, **CLOSE)


def test_code_vectors_of_each_latent():
    theirs, ours = (m.eval() for m in pair({}))
    shift = draw((3, 7, 11, 6), 5)

    def transform(book):
        return book[:, None, None] + shift[None]

    x = draw((3, 7, 6), 1)
    same(ours(x, codebook_transform_fn=transform), theirs(x, codebook_transform_fn=transform))


def test_a_bridge():
    torch.manual_seed(0)
    bridge = torch.nn.Linear(6, 6)
    theirs, ours = pair({"vq_bridge": bridge})
    for step in range(3):
        same(ours(draw((3, 7, 6), step)), theirs(draw((3, 7, 6), step)))
    x, y = (draw((3, 7, 6), 1).requires_grad_() for _ in range(2))
    ours(y)[2].backward()
    mine = [p.grad.clone() for p in ours.vq_bridge.parameters()]
    for parameter in theirs.parameters():
        parameter.grad = None
    theirs(x)[2].backward()
    expected = [p.grad for p in theirs._codebook.vq_bridge.parameters()]
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


def test_sampled_codes_are_as_likely():
    """Shares of 60000 draws, within five standard deviations of a difference of two."""
    options = {"stochastic_sample_codes": True, "sample_codebook_temp": 0.7, **STILL}
    theirs, ours = pair(options)
    x = draw((1, 1, 6), 1).expand(1, 60000, 6)
    shares = [torch.bincount(m(x)[1].flatten(), minlength=11) / 60000 for m in (ours, theirs)]
    spread = (shares[1] * (1 - shares[1]) * 2 / 60000).sqrt() + 1e-4
    assert ((shares[0] - shares[1]).abs() < 5 * spread).all()
    assert torch.equal(ours(x[:, :9], sample_codebook_temp=0.0)[1], ours.eval()(x[:, :9])[1])


def test_directional_reparametrisation():
    options = {"directional_reparam": True, "threshold_ema_dead_code": 1e-9}
    theirs, ours = pair({**options, "directional_reparam_variance": 0.0})
    x, y = (draw((3, 7, 6), 1).requires_grad_() for _ in range(2))
    expected, found = theirs(x), ours(y)
    same(found, expected)
    mine, other = gradients(ours, y, found), gradients(theirs, x, expected)
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_start_from_k_means_finds_the_clusters():
    torch.manual_seed(0)
    layer = VectorQuantize(2, 3, kmeans_init=True)
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    x = centres.repeat(1, 50, 1) + 0.01 * torch.randn(1, 150, 2)
    layer.eval()(x)
    assert not layer._codebook.initted
    layer.train()(x)
    assert layer._codebook.initted
    assert float(torch.cdist(layer.codebook, centres).amin(1).max()) < 0.05


def test_dead_codes_are_replaced():
    torch.manual_seed(0)
    layer = VectorQuantize(2, 8, threshold_ema_dead_code=1)
    layer.codebook = torch.full((8, 2), 100.0)
    layer.expire_codes_(torch.zeros(1, 4, 2))
    x = torch.randn(1, 64, 2)
    for _ in range(3):
        layer(x)
    assert float(layer.codebook.abs().max()) < 10.0


def test_a_codebook_that_is_set_stays_set():
    """What waits of the batch before is not written over it."""
    layer, new = VectorQuantize(6, 11), draw((11, 6), 1)
    layer(draw((2, 30, 6), 0))
    layer.codebook = new
    assert torch.equal(layer.eval().codebook, new)


def test_quantized_is_decode_of_indices_in_train_mode():
    """Complaints 44, 71 and 224 of the original."""
    torch.manual_seed(0)
    layer = VectorQuantize(6, 11, accept_image_fmap=True)
    for step in range(4):
        quantized, codes, _ = layer(draw((2, 6, 3, 3), step).requires_grad_())
        assert torch.equal(layer.get_output_from_indices(codes), quantized)


def test_a_bad_batch_changes_nothing():
    """One NaN makes every code of the original NaN."""
    layer = VectorQuantize(6, 11)
    layer(draw((1, 20, 6), 0))
    before = copy.deepcopy(layer.state_dict())
    x = draw((1, 20, 6), 1)
    x[0, 3, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="nan at row 3, column 2"):
        layer(x)
    after = layer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_loss_of_eval_mode_is_nobody_elses():
    """The original returns a buffer of its own."""
    layer = VectorQuantize(6, 11).eval()
    layer(draw((1, 2, 6), 0))[2].add_(5.0)
    assert layer(draw((1, 2, 6), 0))[2] == 0.0


@each_option
def test_state_travels(options):
    """Our own state dict, too; also by deepcopy."""
    torch.manual_seed(0)
    layer, other = (VectorQuantize(6, 11, **options) for _ in range(2))
    for step in range(3):
        layer(draw((1, 30, 6), step))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    third = copy.deepcopy(layer)
    results = [m(draw((1, 30, 6), 7)) for m in (layer, other, third)]
    for result in results[1:]:
        assert torch.equal(result[0], results[0][0])
        assert torch.equal(result[1], results[0][1])


def test_float64_stays_exact():
    """The original rounds latents and codebook to float32."""
    layer = VectorQuantize(1, 2, rotation_trick=False).double().eval()
    layer.codebook = torch.tensor([[1.0 + 2.0**-40], [1.0]], dtype=torch.float64)
    quantized, codes, _ = layer(torch.tensor([[[1.0]]], dtype=torch.float64))
    assert codes.tolist() == [[1]]
    assert quantized.dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learnable_codebook": True}, "learnable_codebook=True needs ema_update=False"),
        ({"use_cosine_sim": True, **LEARNS}, "excludes learnable_codebook"),
        ({"use_cosine_sim": True, "affine_param": True}, "excludes affine_param"),
        ({"directional_reparam": True}, "needs threshold_ema_dead_code > 0"),
        ({"straight_through": True, "rotation_trick": True}, "at most one of"),
        ({"straight_through": True, **LEARNS}, "straight_through=True excludes"),
        ({"sync_update_v": 0.5}, "sync_update_v > 0 needs learnable_codebook=True"),
        ({"sync_update_v": 2.0, **LEARNS}, r"must lie in \[0, 1\], got 2.0"),
        ({"in_place_codebook_optimizer": SGD}, "in_place_codebook_optimizer needs"),
        (
            {"vq_bridge": torch.nn.Identity(), **STILL, "learnable_codebook": False},
            "vq_bridge needs",
        ),
    ],
    ids=str,
)
def test_contradicting_keywords_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        VectorQuantize(6, 11, **options)


def test_wrong_arguments_are_named():
    layer = VectorQuantize(6, 11)
    x = torch.zeros(2, 3, 6)
    with pytest.raises(ShapeError, match=r"dim=6 features, got shape \(2, 3, 5\)"):
        layer(torch.zeros(2, 3, 5))
    with pytest.raises(ShapeError, match="must have 3 axes, or 2 for one token each, got 4"):
        layer(torch.zeros(2, 6, 3, 3))
    with pytest.raises(
        ShapeError, match=r"mask must have the shape \(b, n\).*\(2, 3\), got \(2,\)"
    ):
        layer(x, mask=torch.ones(2, dtype=torch.bool))
    with pytest.raises(OptionError, match="mask and lens say the same"):
        layer(x, mask=torch.ones(2, 3, dtype=torch.bool), lens=torch.tensor([1, 2]))
    with pytest.raises(OptionError, match="topk must be at least 1, got 0"):
        layer(x, topk=0)
    with pytest.raises(CodeRangeError, match=r"range\(11\), got -1"):
        layer.get_codes_from_indices(torch.tensor([[-1]]))
    two = VectorQuantize(6, 11, heads=2, codebook_dim=3)
    with pytest.raises(ShapeError, match=r"last axis of size heads=2, got shape \(4, 3\)"):
        two.get_codes_from_indices(torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(OptionError, match="codebook_transform_fn needs heads=1, got 2"):
        two(x, codebook_transform_fn=lambda book: book)


def test_codes_are_certified_where_the_originals_are_wrong():
    """Latents far from the origin: the original's float32 expansion names other codes."""
    theirs, ours = (m.eval() for m in pair({}))
    for model in (theirs, ours):
        model.codebook = model.codebook + 1000.0
    x = draw((4, 200, 6), 1) + 1000.0
    codes = ours(x)[1]
    exact = certvq.assign(x.reshape(-1, 6), ours.codebook).codes
    assert torch.equal(codes.flatten(), exact)
    assert float((theirs(x)[1] != codes).float().mean()) > 0.1


def test_weights_and_shapes_that_would_spoil_the_codebook_are_named():
    layer = VectorQuantize(6, 11)
    before = layer.codebook.clone()
    with pytest.raises(ShapeError, match=r"codebook must have shape \(11, 6\), got \(1, 6\)"):
        layer.codebook = torch.zeros(1, 6)
    with pytest.raises(ShapeError, match=r"ema_update_weight must be .*\(11,\).*got \(1,\)"):
        layer(draw((2, 3, 6), 1), ema_update_weight=torch.ones(1))
    with pytest.raises(NonFiniteError, match="ema_update_weight must be finite"):
        layer(draw((2, 3, 6), 1), ema_update_weight=lambda _, counts: counts / 0)
    layer.eval()
    assert torch.equal(layer.codebook, before)
    with pytest.raises(TypeError, match="unexpected keyword argument 'codebook'"):
        VectorQuantize(6, 11, codebook=3)


def test_arguments_may_come_without_names():
    """As the original takes them."""
    given = (6, 11, 4, 2, True, 0.7, 1e-4, True, False, 5, True, True)
    layer, theirs = VectorQuantize(*given), Original(*given)
    assert layer.codebook.shape == theirs.codebook.shape == (2, 11, 4)
    assert (layer.options.decay, layer.options.eps) == (0.7, 1e-4)
    assert layer.freeze_codebook
    assert layer.options.use_cosine_sim
