"""Chunked sums over all pairs against the plain formulas."""

import pytest
import torch
from torch.nn import functional

from certvq.nn._core import similarity as module
from certvq.nn._core.similarity import cross_entropy, negative_entropy, similarity

METRICS = ["euclidean", "cosine"]


def pair(seeded, rows=23, size=11):
    z = torch.randn(rows, 3, dtype=torch.float64, generator=seeded()).requires_grad_()
    book = torch.randn(size, 3, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    return z, book


def plain(z, book, metric):
    return z @ book.T if metric == "cosine" else -torch.cdist(z, book)


@pytest.fixture(params=[30, 1 << 20], ids=["chunks", "whole"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", request.param)


@pytest.mark.parametrize("metric", METRICS)
def test_similarity_is_the_formula(metric, seeded):
    z, book = pair(seeded)
    torch.testing.assert_close(similarity(z, book, metric), plain(z, book, metric))


def test_the_distance_to_oneself_has_a_gradient():
    z = torch.ones(1, 2, requires_grad=True)
    similarity(z, torch.ones(1, 2), "euclidean").backward()
    assert torch.equal(z.grad, torch.zeros(1, 2))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("metric", METRICS)
def test_cross_entropy_is_the_formula(metric, seeded):
    z, book = pair(seeded)
    codes = torch.randint(11, (23,), generator=seeded(2))
    value, expected = (
        cross_entropy(z, book, codes, metric),
        functional.cross_entropy(plain(z, book, metric), codes),
    )
    torch.testing.assert_close(value, expected)
    found = torch.autograd.grad(3.0 * value, (z, book))
    torch.testing.assert_close(found, torch.autograd.grad(3.0 * expected, (z, book)))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("groups", [1, 4])
def test_negative_entropy_is_the_formula(metric, groups, seeded):
    z, book = pair(seeded, rows=24)
    value = negative_entropy(z.reshape(groups, -1, 3), book, 2.0, metric)
    p = (2.0 * plain(z, book, metric)).softmax(1).reshape(groups, -1, 11).mean(1)
    expected = (p * p.clamp(min=1e-5).log()).sum(1).mean()
    torch.testing.assert_close(value, expected)
    found = torch.autograd.grad(3.0 * value, (z, book))
    torch.testing.assert_close(found, torch.autograd.grad(3.0 * expected, (z, book)))


def test_no_latents_cost_nothing():
    book, none = torch.ones(3, 2), torch.zeros(0, 2, requires_grad=True)
    assert cross_entropy(none, book, torch.zeros(0, dtype=torch.int64), "euclidean") == 0.0
    assert negative_entropy(none[None], book, 1.0, "euclidean") == 0.0


def test_without_a_gradient_none_is_made(seeded):
    z, book = (t.detach() for t in pair(seeded))
    codes = torch.zeros(23, dtype=torch.int64)
    assert not cross_entropy(z, book, codes, "cosine").requires_grad
    assert not negative_entropy(z[None], book, 1.0, "cosine").requires_grad


def test_rare_codes_have_the_gradient_of_the_clamped_logarithm(seeded):
    """So cold that most mean probabilities are below 1e-5."""
    z, book = pair(seeded)
    value = negative_entropy(z[None], book, 60.0, "euclidean")
    p = (60.0 * plain(z, book, "euclidean")).softmax(1).mean(0)
    assert (p < 1e-5).any()
    expected = (p * p.clamp(min=1e-5).log()).sum()
    found = torch.autograd.grad(value, (z, book))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (z, book)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's
def test_torch_func_gives_derivatives_of_any_order(seeded, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 44)  # four rows at a time
    z, book = (t.detach().double() for t in pair(seeded))
    groups, direction = z[:20].reshape(2, 10, -1), torch.randn(2, 10, z.shape[1]).double()

    def value(z):
        return negative_entropy(z, book, 2.0, "euclidean")

    def formula(z):
        distances = (z[:, :, None] - book).square().sum(3).sqrt()  # `cdist` has no forward mode
        p = (-2.0 * distances).softmax(2).mean(1)
        return (p * p.clamp(min=1e-5).log()).sum(1).mean()

    for one, other in ((value, formula), *[[torch.func.grad(f) for f in (value, formula)]]):
        torch.testing.assert_close(one(groups), other(groups))
        found = torch.func.jvp(one, (groups,), (direction,))[1]
        torch.testing.assert_close(found, torch.func.jvp(other, (groups,), (direction,))[1])
    samples = torch.stack([groups, -groups])
    found = torch.func.vmap(value)(samples)
    torch.testing.assert_close(found, torch.stack([value(sample) for sample in samples]))
