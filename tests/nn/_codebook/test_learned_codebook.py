"""How a codebook starts, moves and revives codes; what chooses the codes is not asked."""

import functools

import pytest
import torch
from torch import nn

from certvq.nn import EMA, Affine, Gradient, KMeans, Online, Revive, Uniform, VectorQuantize
from certvq.nn._core.search import search
from certvq.nn._torch.transaction import all_or_nothing

SGD = functools.partial(torch.optim.SGD, lr=0.5)


def learner(seeded, **options):
    usual = {"metric": "euclidean", "update": EMA(0.5), "start": Uniform(1.0), "revive": None}
    usual |= {"layout": "b n d", "generator": seeded()}
    return VectorQuantize(2, 3, **{**usual, **options})


TOKENS = torch.tensor([[1.0, 2.0], [3.0, 2.0], [-4.0, 0.5]])
CODES = torch.tensor([0, 0, 2])


@pytest.mark.parametrize(
    ("update", "width"), [(EMA(), 2), (Online(SGD), 2), (Gradient(), 0)], ids=["ema", "sgd", "grad"]
)
def test_what_moves_decides_what_is_kept(update, width, seeded):
    layer = learner(seeded, update=update)
    assert isinstance(layer.codebook, nn.Parameter) == isinstance(update, Gradient)
    assert layer.statistics.width == width
    assert (layer.inner_optimizer is None) == (not isinstance(update, Online))
    assert layer.codebook_size == 3
    assert layer.codebook.abs().max() <= 1.0
    assert not layer.started


def test_averages_arrive_with_the_next_batch(seeded):
    """The start is one token for each code, with the weight ``1 - decay`` and one batch older."""
    layer = learner(seeded, update=EMA(0.5, eps=1e-12))
    layer.learn_now(TOKENS)
    assert layer.started
    first = layer.codebook.clone()
    layer.observe_now(TOKENS, CODES)
    assert torch.equal(layer.codebook, first)
    layer.learn_now(TOKENS)
    expected = (0.25 * first[0] + 0.5 * TOKENS[:2].sum(0)) / (0.25 + 0.5 * 2)
    torch.testing.assert_close(layer.codebook[0], expected)
    torch.testing.assert_close(layer.codebook[1], first[1])
    torch.testing.assert_close(layer.codebook[2], (0.25 * first[2] + 0.5 * TOKENS[2]) / 0.75)


def test_settling_does_so_at_once_and_only_once(seeded, snapshot, unchanged):
    layer, other = learner(seeded), learner(seeded)
    for each in (layer, other):
        each.learn_now(TOKENS)
        each.observe_now(TOKENS, CODES)
    other.learn_now(TOKENS)
    layer.settle()
    assert unchanged(layer, snapshot(other))
    layer.settle()
    assert unchanged(layer, snapshot(other))


def test_an_inner_optimiser_steps_down_the_mean_error(seeded):
    layer = learner(seeded, update=Online(SGD))
    layer.learn_now(TOKENS)
    first = layer.codebook.clone()
    layer.observe_now(TOKENS, CODES)
    layer.settle()
    slope = 2.0 * (2 * first[0] - TOKENS[:2].sum(0)) / TOKENS.numel()
    torch.testing.assert_close(layer.codebook[0], first[0] - 0.5 * slope)
    assert torch.equal(layer.codebook[1], first[1])


def test_an_immediate_step_uses_the_nearest_codes_of_its_own_batch(seeded):
    layer = learner(seeded, update=Online(SGD, immediate=True))
    first = layer.codebook.clone()
    layer.learn_now(TOKENS)
    codes = search(TOKENS, first).codes
    slope = torch.zeros(3, 2).index_add(0, codes, 2.0 * (first[codes] - TOKENS)) / TOKENS.numel()
    torch.testing.assert_close(layer.codebook, first - 0.5 * slope)


def test_k_means_begins_from_the_first_batch(seeded):
    layer = learner(seeded, start=KMeans(5))
    layer.learn_now(TOKENS)
    assert sorted(layer.codebook.tolist()) == sorted(TOKENS.tolist())


def test_without_tokens_nothing_begins(seeded, snapshot, unchanged):
    layer = learner(seeded, start=KMeans(5))
    before = snapshot(layer)
    layer.learn_now(TOKENS[:0])
    assert unchanged(layer, before)


def test_dead_codes_become_tokens_or_given_candidates(seeded):
    layer = learner(seeded, revive=Revive(2.0, unit="tokens"))
    layer.learn_now(TOKENS)
    layer.statistics.counts.fill_(5.0)
    layer.statistics.counts[1] = 0.0
    first = layer.codebook.clone()
    layer.learn_now(TOKENS, candidates=lambda: torch.full((4, 2), 9.0))
    assert layer.codebook[1].tolist() == [9.0, 9.0]
    assert torch.equal(layer.codebook[0], first[0])
    assert torch.equal(layer.codebook[2], first[2])


@pytest.mark.parametrize("update", [EMA(0.5), Online(SGD), Gradient()], ids=["ema", "sgd", "grad"])
def test_cosine_code_vectors_have_length_one(update, seeded):
    layer = learner(seeded, metric="cosine", update=update)
    for _ in range(3):
        layer.learn_now(TOKENS)
        layer.observe_now(layer._points(TOKENS), CODES)
    lengths = layer.code_vectors().detach().norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3))


def test_statistics_are_kept_where_the_codebook_is_stored(seeded):
    """Behind an affine map the sums are of tokens mapped back."""
    layer = learner(seeded, update=EMA(0.5, affine=Affine()))
    for _ in range(2):
        layer.learn_now(TOKENS)
        layer.observe_now(TOKENS, CODES)
    layer.statistics.pending_sums.zero_()
    layer.observe_now(TOKENS, CODES)
    stored = layer.affine.inverse(TOKENS)
    assert not torch.allclose(stored, TOKENS)
    torch.testing.assert_close(layer.statistics.pending_sums[0], stored[:2].sum(0))
    torch.testing.assert_close(layer.code_vectors(), layer.affine(layer.codebook))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_codes_that_nobody_chooses_stay_to_the_bit(metric, seeded):
    layer = learner(seeded, metric=metric, update=EMA(0.8))
    layer.learn_now(TOKENS)
    first = layer.codebook.clone()
    for _ in range(100):
        layer.observe_now(layer._points(TOKENS), CODES)
        layer.learn_now(TOKENS)
    assert torch.equal(layer.codebook[1], first[1])
    assert not torch.equal(layer.codebook[0], first[0])


def test_a_step_that_fails_later_leaves_no_trace_of_what_it_wrote(seeded):
    """What was put back is not taken for a codebook that somebody set."""
    layer, twin = learner(seeded), learner(seeded)
    for each in (layer, twin):
        for _ in range(2):
            each.learn_now(TOKENS)
            each.observe_now(TOKENS, CODES)

    def interrupted():
        layer.learn_now(TOKENS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_or_nothing(layer, TOKENS, interrupted)
    for each in (layer, twin):
        for _ in range(2):
            each.learn_now(TOKENS)
            each.observe_now(TOKENS, CODES)
    assert torch.equal(layer.codebook, twin.codebook)
