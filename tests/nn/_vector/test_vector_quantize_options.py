"""The layer's further options: cosine, several nearest codes, cross entropy, weights, counts."""

import math
from fractions import Fraction

import pytest
import torch
from torch.nn import functional

from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import (
    EMA,
    PADDING,
    Diversity,
    Estimator,
    Gradient,
    KMeans,
    Online,
    Orthogonal,
    Revive,
    RotationTrick,
    Uniform,
    VectorQuantize,
    straight_through,
)
from certvq.nn._core.similarity import unit_rows


def exact_order(tokens, codebook):
    """Sort the codes of each token by exact squared distance, then by index."""
    points, rows = ([[Fraction(x) for x in row] for row in t.tolist()] for t in (tokens, codebook))
    orders = []
    for z in points:
        distance = [sum((a - b) ** 2 for a, b in zip(z, c, strict=True)) for c in rows]
        orders.append(sorted(range(len(rows)), key=lambda i: (distance[i], i)))
    return orders


def trained(seeded, **options):
    layer = VectorQuantize(3, 12, generator=seeded(), **options)
    for step in range(3):
        layer(torch.randn(2, 20, 3, generator=seeded(step)))
    return layer


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("update", [EMA(), Gradient(), Online(torch.optim.SGD)], ids=str)
def test_a_later_forward_may_revive_codes_before_the_backward_pass(metric, update, seeded):
    """As where two batches have one loss; the gradients are those of the first codebook."""
    options = {
        "metric": metric,
        "update": update,
        "revive": Revive(0.99),
        "regularizers": (Orthogonal(), Diversity()) if isinstance(update, Gradient) else (),
    }
    slopes = []
    for later in (True, False):
        layer = trained(seeded, **options)
        x = torch.randn(2, 20, 3, generator=seeded(7)).requires_grad_()
        loss = layer(x).loss + layer.cross_entropy(x, layer.encode(x))
        before = layer.codebook.detach().clone()
        if later:
            layer(5.0 + torch.randn(2, 20, 3, generator=seeded(8)))
            assert not torch.equal(layer.codebook, before)
        loss.backward()
        slopes.append([x.grad, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))


@pytest.mark.parametrize("update", [EMA(), Gradient(), Online(torch.optim.SGD)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cosine_codes_are_nearest_to_the_rounded_direction(update, dtype, seeded):
    """Exactly, among the code vectors in use, which have length one to rounding."""
    layer = trained(seeded, metric="cosine", update=update).to(dtype)
    x = torch.randn(2, 20, 3, generator=seeded(9)).to(dtype) * 50.0
    codes = layer.encode(x)
    book = layer.code_vectors().detach()
    directions = unit_rows(x.reshape(-1, 3))
    assert codes.flatten().tolist() == [o[0] for o in exact_order(directions, book.float())]
    lengths = book.double().norm(dim=1)
    assert ((lengths - 1.0).abs() < 4 * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize(("metric", "decay"), [("euclidean", 0.8), ("cosine", 0.95)])
def test_the_metric_decides_how_long_the_default_average_is(metric, decay, seeded):
    """What is left out, and None, learn to the bit what the named option learns."""
    options = [{}, {"update": None}, {"update": EMA(decay=decay)}]
    layers = [trained(seeded, metric=metric, **each) for each in options]
    assert {layer.update for layer in layers} == {EMA(decay=decay)}
    assert f"EMA(decay={decay}," in repr(layers[0])
    other = trained(seeded, metric=metric, update=EMA(decay=0.5))
    for layer in (*layers, other):
        layer.settle()
    assert all(torch.equal(layer.codebook, layers[-1].codebook) for layer in layers)
    assert not torch.equal(other.codebook, layers[-1].codebook)


def test_a_given_update_stays_with_cosine():
    for update in (EMA(), EMA(decay=0.99, debias=False), Gradient()):
        assert VectorQuantize(3, 4, metric="cosine", update=update).update is update


def test_cosine_codes_do_not_depend_on_length(seeded):
    """Powers of two scale latents without any rounding."""
    layer = trained(seeded, metric="cosine").eval()
    x = torch.randn(1, 50, 3, generator=seeded(9))
    assert torch.equal(layer.encode(x), layer.encode(x * 2.0**60))


def test_a_zero_latent_gets_the_shortest_code_vector(seeded):
    layer = trained(seeded, metric="cosine").eval()
    squares = [sum(Fraction(a) ** 2 for a in row) for row in layer.codebook.tolist()]
    assert int(layer.encode(torch.zeros(1, 1, 3))) == squares.index(min(squares))


def test_cosine_loss_and_gradient_are_those_of_the_direction(seeded):
    layer = trained(seeded, metric="cosine", commitment_weight=1.0).eval()
    x = torch.randn(1, 9, 3, generator=seeded(9), requires_grad=True)
    quantized, codes, loss = layer(x)
    direction = functional.normalize(x, dim=-1)
    expected = (direction - layer.codebook[codes]).square().mean()
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, x, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(expected, x, retain_graph=True))
    upstream = torch.randn(1, 9, 3, generator=seeded(8))
    found = torch.autograd.grad(quantized, x, upstream)
    torch.testing.assert_close(found, torch.autograd.grad(direction, x, upstream))


def test_cosine_names_the_bad_number_and_not_its_row(seeded):
    layer = trained(seeded, metric="cosine")
    x = torch.zeros(1, 4, 3)
    x[0, 2, 1] = torch.inf
    for method in (layer, layer.encode, layer.eval()):
        with pytest.raises(NonFiniteError, match="got inf at row 2, column 1"):
            method(x)


def test_a_metric_is_one_of_two():
    with pytest.raises(OptionError, match="metric must be 'euclidean' or 'cosine', got 'l2'"):
        VectorQuantize(2, 3, metric="l2")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_several_nearest_codes_come_in_exact_order(metric, seeded):
    layer = trained(seeded, metric=metric, layout="b n d")
    x = torch.randn(2, 7, 3, generator=seeded(9))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    codes = layer.nearest(x, 5, mask)
    points = x.reshape(-1, 3) if metric == "euclidean" else unit_rows(x.reshape(-1, 3))
    expected = [order[:5] for order in exact_order(points, layer.codebook)]
    assert codes[mask].tolist() == torch.tensor(expected).reshape(2, 7, 5)[mask].tolist()
    assert (codes[~mask] == PADDING).all()
    assert torch.equal(codes[..., 0], layer.encode(x, mask))
    with pytest.raises(OptionError, match=r"count must lie in 1..12.*got 13"):
        layer.nearest(x, 13)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_cross_entropy_is_the_formula(metric, seeded):
    layer = trained(seeded, metric=metric, update=Gradient(), layout="b n d")
    x = torch.randn(2, 7, 3, generator=seeded(9), requires_grad=True)
    codes = torch.randint(12, (2, 7), generator=seeded(8))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 0] = False
    book = layer.code_vectors()
    z = functional.normalize(x, dim=-1) if metric == "cosine" else x
    level = z @ book.T if metric == "cosine" else -torch.cdist(z, book)
    expected = functional.cross_entropy(level[mask], codes[mask])
    found = layer.cross_entropy(x, codes.masked_fill(~mask, PADDING), mask)
    torch.testing.assert_close(found, expected)
    wanted = (x, layer.codebook)
    torch.testing.assert_close(
        torch.autograd.grad(found, wanted), torch.autograd.grad(expected, wanted)
    )


def test_cross_entropy_names_wrong_codes(seeded):
    layer = trained(seeded)
    with pytest.raises(CodeRangeError, match=r"range\(12\), got 12"):
        layer.cross_entropy(torch.zeros(1, 2, 3), torch.tensor([[0, 12]]))
    with pytest.raises(ShapeError, match=r"codes must have the shape \(1, 2\), got \(1, 3\)"):
        layer.cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.int64))


def test_the_codebook_term_has_a_weight_of_its_own(seeded):
    layer = VectorQuantize(
        2, 3, update=Gradient(weight=4.0), start=Uniform(1.0), commitment_weight=0.5
    )
    x = torch.randn(1, 6, 2, generator=seeded(), requires_grad=True)
    quantized, _, loss = layer(x)
    error = (x - quantized).detach()
    torch.testing.assert_close(loss.detach(), 4.5 * error.square().mean())
    loss.backward()
    torch.testing.assert_close(x.grad, error / 12)
    torch.testing.assert_close(layer.codebook.grad.sum(0), -4.0 * 2.0 * error[0].sum(0) / 12)
    with pytest.raises(OptionError, match="Gradient weight must be finite .* got -1"):
        Gradient(-1.0)


def test_without_debias_the_start_is_remembered(seeded):
    """decay^t of one token at the start, and the rest from the batches."""
    layer = VectorQuantize(
        1, 2, update=EMA(0.5, eps=1e-9, debias=False), start=Uniform(), revive=None
    ).double()
    layer.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    for _ in range(2):
        layer(torch.tensor([[[1.0], [2.0], [8.0]]], dtype=torch.float64))
    assert layer.statistics.weight == 1.0
    torch.testing.assert_close(layer.codebook.flatten().tolist(), [1.0, 9.0])


def test_dead_codes_can_be_counted_in_tokens(seeded):
    layer = VectorQuantize(
        1,
        2,
        update=EMA(0.5, debias=False),
        start=Uniform(),
        generator=seeded(),
        revive=Revive(0.3, unit="tokens"),
    )
    layer.codebook.copy_(torch.tensor([[0.0], [100.0]]))
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    counts = []
    for _ in range(4):
        layer(x)
        counts.append(round(float(layer.statistics.counts[1]), 4))
    assert counts == [1.0, 0.5, 0.3, pytest.approx(counts[3])]
    assert float(layer.codebook[1]) < 4.0
    with pytest.raises(OptionError, match=r"Revive unit must be 'mean' or 'tokens', got 'x'"):
        Revive(unit="x")
    with pytest.raises(OptionError, match=r"threshold must lie in \[0, infinity\), got -1"):
        Revive(-1.0, unit="tokens")


def test_uniform_numbers_have_a_bound(seeded):
    book = VectorQuantize(4, 500, start=Uniform(3.0), generator=seeded()).codebook
    assert 2.9 < float(book.abs().max()) <= 3.0
    with pytest.raises(OptionError, match="Uniform bound must be positive.*got 0.0"):
        Uniform(0.0)


def test_spherical_k_means_finds_directions(seeded):
    """Two bundles of directions at all lengths; the means of the tokens would lie inside."""
    layer = VectorQuantize(2, 2, metric="cosine", start=KMeans(), generator=seeded())
    spread = 0.05 * torch.randn(200, 2, generator=seeded(1))
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(100, 1) + spread
    layer(x[None] * (10.0 ** torch.linspace(-3, 3, 200))[:, None])
    best = layer.codebook.abs().max(dim=0).values
    assert (best > 0.999).all()


def test_held_batches_add_up(seeded):
    """Micro-batches that wait together are one batch."""
    parts = [torch.randn(1, 10, 3, generator=seeded(s)) for s in range(3)]
    one, many = (VectorQuantize(3, 4, start=Uniform(), revive=None) for _ in range(2))
    many.codebook.copy_(one.codebook)
    one(torch.cat(parts, dim=1))
    for part in parts:
        many.statistics.held = True
        many(part)
    many.statistics.held = False
    one.settle()
    many.settle()
    torch.testing.assert_close(one.codebook, many.codebook)


class Halved(Estimator):
    """A user's own estimator: half the gradient."""

    def estimate(self, latents, codebook, codes, generator):
        del generator
        return straight_through(latents * 0.5, codebook, codes)


def test_a_user_can_write_an_estimator(seeded):
    layer = VectorQuantize(3, 4, estimator=Halved())
    x = torch.randn(1, 9, 3, generator=seeded(), requires_grad=True)
    layer(x).quantized.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 0.5))


def test_training_with_the_rotation_trick_lowers_the_error(seeded):
    network = torch.nn.Linear(3, 3)
    layer = VectorQuantize(3, 8, estimator=RotationTrick(), generator=seeded())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    errors = []
    for step in range(60):
        x = torch.randn(4, 50, 3, generator=seeded(step))
        quantized, _, loss = layer(network(x))
        error = (quantized - x).square().mean()
        optimizer.zero_grad()
        (error + loss).backward()
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-5:]) < 0.8 * sum(errors[:5])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_cross_entropy_names_latents_that_it_cannot_use(metric, bad, seeded):
    layer = VectorQuantize(3, 4, metric=metric, generator=seeded())
    x = torch.zeros(1, 2, 3)
    x[0, 1, 2] = bad
    codes = torch.zeros(1, 2, dtype=torch.int64)
    if metric == "cosine" and bad == 3e38:
        assert torch.isfinite(layer.cross_entropy(x, codes))
        return
    with pytest.raises(NonFiniteError, match=rf"latents .* got ({bad}|3e\+38) at row 1, column 2"):
        layer.cross_entropy(x, codes)
    mask = torch.tensor([[True, False]])
    assert torch.isfinite(layer.cross_entropy(x, codes, mask))


def test_cross_entropy_names_a_codebook_that_it_cannot_use(seeded):
    layer = VectorQuantize(3, 4, generator=seeded())
    layer.codebook[1, 2] = math.nan
    with pytest.raises(NonFiniteError, match="codebook must be finite, got nan at row 1, column 2"):
        layer.cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64))
