"""A training step of the original's classes that fails halfway has changed nothing."""

import pytest
import torch

from certvq.compat import vector_quantize_pytorch as vq
from certvq.compat.vector_quantize_pytorch._layer import Layer
from certvq.nn._codebook.learned_codebook import LearnedCodebook
from certvq.nn._codebook.online import InnerOptimizer
from certvq.nn._core import similarity

from ._classes import ADAM, LEARNS, SEPARATE

VQ = {"dim": 6, "codebook_size": 16}
INNER = {**LEARNS, "in_place_codebook_optimizer": ADAM}
OPTIONS = {
    "averages": {"threshold_ema_dead_code": 2},
    "k-means": {"kmeans_init": True},
    "affine": {"affine_param": True},
    "inner optimiser": INNER,
    "separate": {**SEPARATE, "kmeans_init": True, "threshold_ema_dead_code": 2},
    "separate inner optimisers": {**SEPARATE, **INNER},
    "drawn": {"stochastic_sample_codes": True},
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def latents(seed):
    return torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(seed)).requires_grad_()


class StopError(Exception):
    """What the user's own part of a step raises."""


def raiser(*_args, **_kwargs):
    raise StopError


def others(layer):
    """State that is no tensor."""
    return [(part.writes, part.step_loss, part.statistics.held) for part in layer.layers]


@every
@pytest.mark.parametrize("steps", [0, 2])
def test_a_loss_that_fails_undoes_the_step(options, steps, monkeypatch, snapshot, unchanged):
    """And the next step is that of a layer that never failed."""
    torch.manual_seed(0)
    layer = vq.VectorQuantize(**VQ, **options)
    torch.manual_seed(0)
    twin = vq.VectorQuantize(**VQ, **options)
    for step in range(steps):
        torch.manual_seed(step)
        layer(latents(step))
        torch.manual_seed(step)
        twin(latents(step))
    before, beside = snapshot(layer), others(layer)
    torch.manual_seed(7)
    with monkeypatch.context() as patch:
        patch.setattr(Layer, "_terms", raiser)
        with pytest.raises(StopError):
            layer(latents(8))
    assert unchanged(layer, before)
    for was, now in zip(beside, others(layer), strict=True):
        assert all(a is b for a, b in zip(was, now, strict=True))
    found = layer(latents(9))
    torch.manual_seed(7)
    expected = twin(latents(9))
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    assert unchanged(layer, snapshot(twin))


def test_a_map_that_fails_undoes_the_step(snapshot, unchanged):
    layer = vq.VectorQuantize(**VQ, codebook_dim=4)
    layer(latents(0))
    before = snapshot(layer)
    handle = layer.project_out.register_forward_hook(raiser)
    with pytest.raises(StopError):
        layer(latents(1))
    handle.remove()
    assert unchanged(layer, before)
    layer(latents(1))
    assert not unchanged(layer, before)


def test_cross_entropies_that_fail_undo_the_step(monkeypatch, snapshot, unchanged):
    layer = vq.VectorQuantize(**VQ)
    layer(latents(0))
    before = snapshot(layer)
    monkeypatch.setattr(similarity, "cross_entropy", raiser)
    with pytest.raises(StopError):
        layer(latents(1), indices=torch.zeros(2, 40, dtype=torch.int64))
    assert unchanged(layer, before)


@pytest.mark.parametrize("act", ["step", "eval", "update_indices", "expire"])
def test_what_fails_at_the_second_codebook_undoes_the_first(act, monkeypatch, snapshot, unchanged):
    by_hand = {"manual_in_place_optimizer_update": True} if act == "step" else {}
    more = {"threshold_ema_dead_code": 50} if act == "expire" else {}
    options = {**SEPARATE, **INNER, **by_hand} if act == "step" else {**SEPARATE, **more}
    torch.manual_seed(0)
    layer = vq.VectorQuantize(**VQ, **options)
    if act != "expire":  # which the first forward does by itself
        layer(latents(0))
    owner, name = {
        "step": (InnerOptimizer, "step"),
        "eval": (Layer, "write"),
        "update_indices": (Layer, "observe_now"),
        "expire": (LearnedCodebook, "replace_dead_codes"),
    }[act]
    real, calls = getattr(owner, name), []

    def second_fails(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 2:
            raise StopError
        return real(self, *args, **kwargs)

    before = snapshot(layer)
    do = {
        "step": layer.update_in_place_optimizer,
        "eval": layer.eval,
        "update_indices": lambda: layer.update_indices(
            latents(3), torch.zeros(2, 40, 2, dtype=torch.int64)
        ),
        "expire": lambda: layer.expire_codes_(latents(3)),
    }[act]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, second_fails)
        with pytest.raises(StopError):
            do()
    assert len(calls) == 2
    assert unchanged(layer, before)
    assert layer.training
    do()
    assert not unchanged(layer, before)


@pytest.mark.parametrize("name", ["ResidualVQ", "GroupedResidualVQ"])
def test_a_loss_of_a_level_that_fails_undoes_all_levels(name, monkeypatch, snapshot, unchanged):
    torch.manual_seed(0)
    layer = getattr(vq, name)(**VQ, num_quantizers=2, kmeans_init=True)
    layer(latents(0))
    before = snapshot(layer)
    with monkeypatch.context() as patch:
        patch.setattr(Layer, "total", raiser)
        with pytest.raises(StopError):
            layer(latents(1))
    assert unchanged(layer, before)
    layer(latents(1))
    assert not unchanged(layer, before)


def test_levels_that_fail_to_settle_leave_all_as_they_were(monkeypatch, snapshot, unchanged):
    layer = vq.ResidualVQ(**VQ, num_quantizers=2)
    layer(latents(0))
    before = snapshot(layer)
    kind, calls = type(layer.residual.quantizers[0]), []
    real = kind.settle

    def second_fails(self):
        calls.append(self)
        if len(calls) == 2:
            raise StopError
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "settle", second_fails)
        with pytest.raises(StopError):
            layer.eval()
    assert unchanged(layer, before)
    layer.eval()
    assert not unchanged(layer, before)


SEVERAL = {**VQ, "num_quantizers": 3}
CLASSES = {
    "averages": lambda: vq.VectorQuantize(**VQ, threshold_ema_dead_code=2, kmeans_init=True),
    "inner optimisers": lambda: vq.VectorQuantize(**VQ, **SEPARATE, **INNER),
    "residual": lambda: vq.ResidualVQ(**SEVERAL, quantize_dropout=True),
    "groups": lambda: vq.GroupedResidualVQ(**SEVERAL, groups=2, quantize_dropout=True),
    "scales": lambda: vq.HierarchicalVQ(
        **VQ, scales=[1, 3, 5], channel_first=False, nested_dropout=0.5
    ),
}


@pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
def test_ctrl_c_at_any_line_of_a_forward_undoes_all(
    make, snapshot, unchanged, interrupt_everywhere
):
    torch.manual_seed(0)
    layer = make()
    layer(latents(0))
    mask = torch.arange(80).reshape(2, 40) % 4 > 0
    before, drawn = snapshot(layer), torch.get_rng_state()
    switches = [vars(part).get("frozen") for part in layer.modules()]

    def check(layer, line):
        assert unchanged(layer, before), line
        assert torch.equal(torch.get_rng_state(), drawn), line
        assert [vars(part).get("frozen") for part in layer.modules()] == switches, line

    def step(layer):
        torch.set_rng_state(drawn)
        layer(latents(1), mask=mask, sample_codebook_temp=0.5)

    assert interrupt_everywhere(layer, step, check) > 100
