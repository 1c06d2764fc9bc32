"""A codebook that the user sets stays: no start and no average overrules it."""

import copy
import functools
import io
import subprocess
import sys
import textwrap

import pytest
import torch

from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import (
    EMA,
    Affine,
    Given,
    Gradient,
    GroupedResidualVQ,
    Heads,
    HierarchicalVQ,
    Neural,
    Online,
    ProductQuantize,
    ResidualVQ,
    Revive,
    VectorQuantize,
)

SGD = functools.partial(torch.optim.SGD, lr=0.0)
FAMILIES = {
    "ema": lambda: VectorQuantize(2, 4),
    "cosine": lambda: VectorQuantize(2, 4, metric="cosine"),
    "affine": lambda: VectorQuantize(2, 4, update=EMA(affine=Affine())),
    "gradient": lambda: VectorQuantize(2, 4, update=Gradient()),
    "online": lambda: VectorQuantize(2, 4, update=Online(SGD)),
    "residual": lambda: ResidualVQ(2, 4, num_quantizers=2),
    "shared": lambda: ResidualVQ(2, 4, num_quantizers=2, shared=True),
    "neural": lambda: ResidualVQ(2, 4, num_quantizers=2, neural=Neural(depth=1)),
    "product": lambda: ProductQuantize([VectorQuantize(1, 4), VectorQuantize(1, 4)]),
    "grouped": lambda: GroupedResidualVQ(2, 4, groups=2, num_quantizers=1),
    "heads": lambda: Heads(VectorQuantize(1, 4), 2),
    "scales": lambda: HierarchicalVQ(2, 4, [1, 2], layout="b d n"),
}


def wanted(part):
    """Code vectors of a part, of length one, as the cosine stores them."""
    angles = torch.arange(part.codebook.numel(), dtype=torch.float32) + 0.25
    vectors = angles.sin().reshape(part.codebook.shape)
    return vectors / vectors.norm(dim=1, keepdim=True) if vectors.shape[1] > 1 else vectors


def books(layer):
    return {
        f"{name}.codebook" if name else "codebook": part
        for name, part in layer.named_modules()
        if isinstance(part, VectorQuantize)
    }


@torch.no_grad()
def by_copy(layer):
    for part in books(layer).values():
        part.codebook.copy_(wanted(part))
    return layer


def by_data(layer):
    for part in books(layer).values():
        part.codebook.data = wanted(part)
    return layer


def by_assignment(layer):
    for part in books(layer).values():
        kind = torch.nn.Parameter if isinstance(part.codebook, torch.nn.Parameter) else torch.Tensor
        part.codebook = kind(wanted(part))
    return layer


def by_partial_state(layer):
    state = {name: wanted(part) for name, part in books(layer).items()}
    assert not layer.load_state_dict(state, strict=False).unexpected_keys
    return layer


def by_saving_before_training(layer):
    other = copy.deepcopy(layer)
    stored = io.BytesIO()
    torch.save(by_copy(layer).state_dict(), stored)
    stored.seek(0)
    other.load_state_dict(torch.load(stored))
    return other


def by_copying_and_moving(layer):
    return copy.deepcopy(by_copy(layer)).double().float()


WAYS = [
    by_copy,
    by_data,
    by_assignment,
    by_partial_state,
    by_saving_before_training,
    by_copying_and_moving,
]


def latents(seeded, seed=0):
    return torch.randn(3, 2, 2, generator=seeded(seed))


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.rows("way", WAYS)
def test_the_first_batch_leaves_it(way, make, seeded):
    layer = way(make())
    x = latents(seeded)
    expected = copy.deepcopy(layer).eval()(x)
    quantized, codes, _ = layer(x)
    for name, part in books(layer).items():
        assert torch.equal(part.codebook, wanted(part)), name
        assert part.started
    if not any(part.affine for part in books(layer).values()):  # which follows the batch
        assert torch.equal(codes, expected.codes)
        assert torch.equal(quantized.detach(), expected.quantized)


def test_averages_move_it_by_one_minus_the_decay(seeded):
    """Not to the mean of the first batch at once."""
    codebook = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [9.0, 9.0]])
    layer = VectorQuantize(2, 4, update=EMA(0.9), start=Given(codebook), revive=None)
    assert torch.equal(layer.codebook, codebook)
    x = codebook.repeat(5, 1)[None] + 1.0
    layer(x)
    assert torch.equal(layer.codebook, codebook)
    layer.settle()
    torch.testing.assert_close(layer.codebook, codebook + 0.1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", [by_copy, by_data, by_assignment, by_partial_state])
def test_it_stays_while_training_goes_on(way, seeded):
    layer = VectorQuantize(2, 4, update=EMA(0.9), revive=None)
    for seed in range(3):
        layer(latents(seeded, seed))
    way(layer)
    layer(latents(seeded, 3))
    assert torch.equal(layer.codebook, wanted(layer))
    layer(latents(seeded, 4))
    moved = (layer.codebook - wanted(layer)).norm(dim=1)
    assert 0.0 < moved.max() < 0.5


def test_states_that_say_more_are_taken_at_their_word(seeded):
    """A whole state of a layer that has not begun has not; a trained one resumes to the bit."""
    fresh, trained = VectorQuantize(2, 4), VectorQuantize(2, 4)
    fresh.load_state_dict(VectorQuantize(2, 4, generator=seeded(5)).state_dict())
    before = fresh.codebook.clone()
    fresh(latents(seeded))
    assert not torch.equal(fresh.codebook, before)
    for seed in range(3):
        trained(latents(seeded, seed))
    resumed = VectorQuantize(2, 4)
    for name, value in trained.state_dict().items():  # one by one, as some loaders do
        resumed.load_state_dict({name: value}, strict=False)
    for layer in (trained, resumed):
        layer(latents(seeded, 9))
    assert torch.equal(trained.codebook, resumed.codebook)


def test_a_step_that_fails_gives_nothing(seeded):
    """What was put back is the layer's own: k-means starts it at the next try."""
    layer = ResidualVQ(2, 4, num_quantizers=2, revive=None)
    last = layer.parts[1]
    last.token_error = lambda tokens: NonFiniteError("no") if len(tokens) else None
    with pytest.raises(NonFiniteError):
        layer(latents(seeded) * 1e14)
    del last.token_error
    assert not layer.parts[0].started
    before = layer.parts[0].codebook.clone()
    layer(latents(seeded))
    assert not torch.equal(layer.parts[0].codebook, before)


def test_a_start_that_does_not_fit_is_named():
    with pytest.raises(OptionError, match=r"\(codebook_size, dim\) = \(4, 2\), got \(2, 4\)"):
        VectorQuantize(2, 4, start=Given(torch.zeros(2, 4)))
    with pytest.raises(ShapeError, match=r"must be \(K, D\), got shape \(4,\)"):
        Given(torch.zeros(4))
    with pytest.raises(NonFiniteError, match="must be finite"):
        Given(torch.tensor([[float("nan")]]))


def test_the_layer_owns_what_it_is_given():
    codebook = torch.ones(4, 2)
    layer = VectorQuantize(2, 4, start=Given(codebook))
    codebook.zero_()
    assert layer.codebook.all()
    assert "start=Given((4, 2))" in repr(layer)


WORKER = """
    import sys, torch
    from datetime import timedelta
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel
    from certvq.nn import VectorQuantize

    rank, path = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group(
        "gloo", f"file://{path}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
    )
    torch.manual_seed(rank)
    lone = VectorQuantize(2, 4)
    early, late = (
        torch.nn.Sequential(torch.nn.Linear(2, 2), VectorQuantize(2, 4)) for _ in range(2)
    )
    wanted = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    if rank == 0:
        early[1].codebook.copy_(wanted)  # before wrapping, on one rank alone
        early.state_dict()
    models = [DistributedDataParallel(model) for model in (early, late)]
    late[1].codebook.copy_(wanted)
    for model, layer in zip([*models, lone], (early[1], late[1], lone)):
        model(torch.randn(1, 6, 2))
        started = layer.codebook.clone()
        assert torch.equal(started, wanted) == (layer is not lone), (rank, started)
        model(torch.randn(1, 6, 2))
        mine = layer.codebook.clone()
        distributed.broadcast(mine, src=0)
        assert torch.equal(mine, layer.codebook)
    distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_agree_on_it(tmp_path):
    """The first one decides, whatever the others drew when they were built."""
    script = textwrap.dedent(WORKER)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(tmp_path / "store")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()


def test_a_given_codebook_may_be_on_meta_where_loaders_build():
    with torch.device("meta"):
        layer = VectorQuantize(2, 4, start=Given(torch.zeros(4, 2)), metric="cosine")
    layer.load_state_dict(VectorQuantize(2, 4, metric="cosine").state_dict(), assign=True)
    assert not layer.codebook.is_meta


@pytest.mark.parametrize("update", [EMA(), EMA(affine=Affine()), Gradient()], ids=str)
def test_training_goes_on_after_inference_mode(update, seeded):
    layer, other = (
        VectorQuantize(2, 4, update=update, start=Given(torch.eye(4, 2))) for _ in range(2)
    )
    for step in range(4):
        with torch.inference_mode(step < 2):
            layer(torch.randn(1, 9, 2, generator=seeded(step)))
        other(torch.randn(1, 9, 2, generator=seeded(step)))
    assert torch.equal(layer.codebook, other.codebook)


def test_given_codes_are_not_taken_for_dead_where_tokens_are_few():
    layer, x = VectorQuantize(2, 4, revive=Revive(2, unit="tokens")), torch.randn(1, 4, 2)
    layer(x)
    by_copy(layer)
    layer(x)
    assert torch.equal(layer.codebook, wanted(layer))
