"""Codebooks and averages can be read right after a forward, and set for good."""

import pytest
import torch
import vector_quantize_pytorch as original
from torch.nn.functional import normalize

from certvq.compat import vector_quantize_pytorch as ours
from certvq.errors import DTypeError, NonFiniteError, OptionError, ShapeError

VQ = {"dim": 4, "codebook_size": 8, "rotation_trick": False}
LEVELS = {**VQ, "num_quantizers": 3}
BUFFERS = ("embed", "cluster_size", "embed_avg")
RATES = torch.linspace(0, 1, 8)
SEPARATE = {"heads": 2, "codebook_dim": 2, "separate_codebook_per_head": True}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(kind="VectorQuantize", **options):
    theirs = getattr(original, kind)(**options)
    layer = getattr(ours, kind)(**options)
    layer.load_state_dict(theirs.state_dict())
    return theirs, layer


def same_buffers(layer, theirs):
    for name in BUFFERS:
        found, expected = getattr(layer._codebook, name), getattr(theirs._codebook, name)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, [{}, {"freeze_codebook": True}, {"ema_update": False}, {}]),
        (SEPARATE, [{}, {"ema_update_weight": lambda _, counts: counts / (1 + counts)}]),
        ({}, [{"accum_ema_update": True}, {"ema_update_weight": RATES}, {}]),
        (
            {"use_cosine_sim": True},
            [{"accum_ema_update": True}, {"ema_update_weight": lambda _, n: n / (1 + n)}, {}],
        ),
        ({"manual_ema_update": True}, [{}, {}]),
        ({"decay": 1.0}, [{}, {}]),
        (
            {
                "affine_param": True,
                "affine_param_batch_decay": 1.0,
                "affine_param_codebook_decay": 1.0,
            },
            [{}, {}],
        ),
    ],
    ids=["plain", "rates by heads", "sums, rates", "sums, own rates", "by hand", "1", "affine 1"],
)
def test_what_a_forward_taught_can_be_read_at_once(options, calls):
    theirs, layer = pair(**VQ, **options)
    for step, given in enumerate(calls):
        x = draw(2, 30, 4, seed=step)
        assert torch.equal(layer(x, **given)[1], theirs(x, **given)[1])
        same_buffers(layer, theirs)
        torch.testing.assert_close(layer.codebook, theirs.codebook, atol=1e-5, rtol=1e-5)


def test_beams_of_codes_can_be_learned_from_outside():
    theirs, layer = pair(**VQ)
    x, mask = draw(2, 30, 4), draw(2, 30, seed=1) > 0
    _, codes, _ = layer(x, mask=mask, topk=2, ema_update=False)
    theirs(x, mask=mask)
    layer.update_ema_indices(x, codes[..., 0], mask=mask)
    same_buffers(layer, theirs)


@pytest.mark.parametrize("options", [{}, {"use_cosine_sim": True}], ids=str)
def test_levels_can_be_read_at_once(options):
    theirs, layer = pair("ResidualVQ", **LEVELS, **options)
    for step in range(2):
        x = draw(2, 30, 4, seed=step)
        assert torch.equal(layer(x)[1], theirs(x)[1])
        torch.testing.assert_close(layer.codebooks, theirs.codebooks, atol=1e-5, rtol=1e-5)
        for level, other in zip(layer.layers, theirs.layers, strict=True):
            same_buffers(level, other)


def test_decoding_waits_for_whoever_looks():
    layer = ours.VectorQuantize(**VQ)
    vectors, codes, _ = layer(draw(2, 30, 4))
    assert torch.equal(layer.get_output_from_indices(codes), vectors)
    saved = layer.state_dict()  # as an optimiser step later
    assert not torch.equal(layer.get_output_from_indices(codes), vectors)
    assert torch.equal(saved["layers.0.codebook"], layer.codebook)
    assert not saved["layers.0.statistics.pending_counts"].any()


def test_looking_changes_nothing_of_training_nor_in_eval_mode():
    first, second = ours.VectorQuantize(**VQ), ours.VectorQuantize(**VQ)
    second.load_state_dict(first.state_dict())
    for step in range(3):
        x = draw(2, 30, 4, seed=step)
        vectors = first(x)[0], second(x)[0]
        assert torch.equal(*vectors)
        _ = second.codebook, second._codebook.cluster_size, second.state_dict()
    waiting = first.state_dict() | {"layers.0.statistics.pending_counts": torch.ones(8)}
    second.eval().load_state_dict(waiting)
    before = second(x)[0]
    _ = second.codebook, second.state_dict()
    assert torch.equal(second(x)[0], before)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kmeans_init": True},
        {"use_cosine_sim": True},
        {"threshold_ema_dead_code": 1},
        {"orthogonal_reg_weight": 1.0},
        SEPARATE,
        {"learnable_codebook": True, "ema_update": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("trained", [False, True])
def test_a_codebook_that_is_set_stays(options, trained):
    layer = ours.VectorQuantize(**VQ, **options)
    if trained:
        layer(draw(2, 30, 4))
    wanted = normalize(draw(*layer.codebook.shape, seed=1), dim=-1)
    layer.codebook = torch.nn.Parameter(wanted) if trained else wanted
    assert torch.equal(layer.codebook, wanted)
    tokens = wanted[None] if wanted.ndim == 2 else torch.cat(list(wanted), dim=-1)[None]
    for _ in range(2):
        layer(tokens)  # as they are code vectors, their means are as well
    torch.testing.assert_close(layer.eval().codebook.detach(), wanted, atol=1e-5, rtol=0)


def test_codebooks_of_levels_can_be_set():
    layer = ours.ResidualVQ(**LEVELS, kmeans_init=True)
    layer(draw(2, 30, 4))
    saved = layer.codebooks.clone()
    layer(draw(2, 30, 4, seed=1))
    layer.codebooks = saved
    assert torch.equal(layer.codebooks, saved)
    layer.layers[1]._codebook.embed = saved[:1]
    assert torch.equal(layer.codebooks[1], saved[0])
    groups = ours.GroupedResidualVQ(**{**LEVELS, "dim": 8}, groups=2)
    groups.codebooks = [saved, saved]
    assert torch.equal(groups.codebooks[1], saved)
    shared = ours.ResidualVQ(**LEVELS, shared_codebook=True)
    shared.codebooks = saved[:1].expand(3, -1, -1)
    assert torch.equal(shared.codebooks[2], saved[0])
    with pytest.raises(OptionError, match="codebooks of levels that share one must be equal"):
        shared.codebooks = saved
    neural = ours.ResidualVQ(**LEVELS, implicit_neural_codebook=True)
    neural.codebooks = saved
    assert torch.equal(neural.layers[2]._codebook.embed[0], saved[2])


@pytest.mark.parametrize("looks", [False, True])
def test_levels_that_are_written_to_before_the_first_batch_stay(looks):
    layer, books = ours.ResidualVQ(**LEVELS, kmeans_init=True), draw(3, 8, 4)
    for level, own in zip(layer.layers, books, strict=True):
        level._codebook.embed.copy_(own)
    if looks:
        layer.eval()(draw(2, 30, 4))
        assert torch.equal(layer.train().codebooks, books)
    layer(draw(2, 30, 4))
    assert (layer.codebooks - books).abs().max() < 1


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (torch.zeros(8, 3), ShapeError, r"codebook must have shape \(8, 4\), got \(8, 3\)"),
        (torch.full((8, 4), torch.nan), NonFiniteError, "codebook"),
        (torch.zeros(8, 4).long(), DTypeError, "codebook must hold floats, got int64"),
        ([[0.0]], DTypeError, "codebook must be a torch.Tensor, got list"),
    ],
    ids=["shape", "nan", "integers", "list"],
)
def test_what_cannot_be_a_codebook_changes_nothing(value, error, text):
    layer = ours.VectorQuantize(**VQ)
    before = layer.codebook.clone()
    with pytest.raises(error, match=text):
        layer.codebook = value
    assert torch.equal(layer.codebook, before)
    with pytest.raises(ShapeError, match="codebooks must be code vectors of each of 3 levels"):
        ours.ResidualVQ(**LEVELS).codebooks = torch.zeros(2, 8, 4)


@pytest.mark.parametrize(
    ("layer", "name", "text"),
    [
        (ours.ResidualVQ(**LEVELS), "codebook", "codebook of ResidualVQ cannot be set; set codeb"),
        (ours.VectorQuantize(**VQ), "codebooks", "cannot be set; set codebook"),
        (ours.FSQ([4, 3]), "codebook", "follow from what it was built with"),
        (ours.SimVQ(4, 8), "codebook", "set frozen_codebook"),
        (ours.HierarchicalVQ(dim=4, codebook_size=8, scales=[1, 2]), "codebook", "set get_vq"),
    ],
    ids=["ResidualVQ", "VectorQuantize", "FSQ", "SimVQ", "HierarchicalVQ"],
)
def test_a_codebook_that_nothing_reads_is_not_kept(layer, name, text):
    with pytest.raises(AttributeError, match=text):
        setattr(layer, name, torch.zeros(8, 4))


def test_frozen_vectors_can_be_set():
    layer, given = ours.SimVQ(4, 8), draw(8, 4)
    layer.frozen_codebook = given
    assert torch.equal(layer.codebook, layer.code_transform(given))
    with pytest.raises(ShapeError, match="frozen_codebook must have shape"):
        layer.frozen_codebook = given[:1]


def test_averages_of_a_codebook_without_any_are_named():
    layer = ours.VectorQuantize(**VQ, learnable_codebook=True, ema_update=False)
    with pytest.raises(AttributeError, match="no embed_avg: it learns by gradient"):
        _ = layer._codebook.embed_avg


@pytest.mark.parametrize("kind", [{}, {"learnable_codebook": True, "ema_update": False}])
def test_code_vectors_that_are_assigned_are_copied(kind):
    """To a layer and to a level alike: what the user does with the tensor later changes nothing."""
    layer = ours.VectorQuantize(dim=2, codebook_size=3, **kind)
    several = ours.ResidualVQ(dim=2, codebook_size=3, num_quantizers=2, **kind)
    for owner in (layer, several.layers[0]):
        given = torch.ones(3, 2)
        owner.codebook = given
        given.zero_()
        assert bool((owner.codebook == 1.0).all())
    with pytest.raises(ShapeError, match=r"codebook must have shape \(3, 2\), got \(4, 2\)"):
        several.layers[0].codebook = torch.ones(4, 2)
