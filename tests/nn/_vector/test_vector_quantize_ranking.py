"""Several codes of each latent, against exact arithmetic and the formula."""

from fractions import Fraction

import pytest
import torch

from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, Gradient, VectorQuantize


def layer_of(seeded, **options):
    layer = VectorQuantize(3, 7, generator=seeded(), **options)
    layer(torch.randn(2, 30, 3, generator=seeded(1)))
    return layer.eval()


def by_distance(row, book):
    """Codes by exact squared distance, then by index."""
    exact = [[Fraction(number) for number in each] for each in (row, *book)]
    distances = [sum((a - b) ** 2 for a, b in zip(exact[0], c, strict=True)) for c in exact[1:]]
    return sorted(range(len(book)), key=lambda code: (distances[code], code))


def test_the_order_is_the_exact_one_with_ties(seeded):
    layer = layer_of(seeded)
    layer.codebook[5] = layer.codebook[2]
    layer.codebook[6] = -layer.codebook[2]
    x = torch.randn(1, 20, 3, generator=seeded(2))
    x[0, 0] = 0.0
    book = layer.codebook.tolist()
    for count in (1, 3, 7):
        expected = [by_distance(row, book)[:count] for row in x[0].tolist()]
        assert layer.nearest(x, count)[0].tolist() == expected
        assert layer.rank_tokens(x[0], count).codes.tolist() == expected
    assert torch.equal(layer.nearest(x, 2)[..., 0], layer.encode(x))


def test_layouts_and_masks(seeded, snapshot, unchanged):
    layer = VectorQuantize(3, 7, layout="b c h w", generator=seeded())
    x = torch.randn(2, 3, 4, 5, generator=seeded(1))
    mask = torch.rand(2, 4, 5, generator=seeded(2)) > 0.4
    layer(x)
    before = snapshot(layer)
    codes = layer.train().nearest(x, 2, mask)
    assert codes.shape == (2, 4, 5, 2)
    assert (codes[~mask] == PADDING).all()
    assert torch.equal(codes[mask], layer.nearest(x, 2)[mask])
    assert unchanged(layer, before)


@pytest.mark.parametrize("count", [0, 8])
def test_the_count_is_in_range(count, seeded):
    with pytest.raises(OptionError, match=f"got {count}"):
        layer_of(seeded).nearest(torch.zeros(1, 2, 3), count)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_cross_entropy_leaves_padding_out(metric, seeded):
    layer = layer_of(seeded, metric=metric)
    x = torch.randn(2, 9, 3, generator=seeded(3))
    mask = torch.rand(2, 9, generator=seeded(4)) > 0.4
    codes = torch.randint(7, (2, 9), generator=seeded(5))
    book = layer.code_vectors()
    points = x[mask] / x[mask].norm(dim=1, keepdim=True) if metric == "cosine" else x[mask]
    scores = points @ book.T if metric == "cosine" else -torch.cdist(points, book)
    expected = torch.nn.functional.cross_entropy(scores, codes[mask])
    torch.testing.assert_close(layer.cross_entropy(x, codes, mask), expected)
    padded = codes.masked_fill(~mask, PADDING)
    torch.testing.assert_close(layer.cross_entropy(x, padded, mask), expected)


def test_cross_entropy_teaches_latents_and_a_parameter(seeded):
    x = torch.randn(1, 9, 3).requires_grad_()
    codes = torch.zeros(1, 9, dtype=torch.int64)
    layer = layer_of(seeded, update=Gradient())
    layer.cross_entropy(x, codes).backward()
    assert x.grad.any()
    assert layer.codebook.grad.any()


def test_wrong_codes_and_latents_are_named(seeded):
    layer, x = layer_of(seeded), torch.zeros(1, 2, 3)
    bad = x.clone()
    bad[0, 1, 2] = torch.inf
    with pytest.raises(ShapeError, match=r"codes must have the shape \(1, 2\), got \(2, 1\)"):
        layer.cross_entropy(x, torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(CodeRangeError, match="7"):
        layer.cross_entropy(x, torch.tensor([[0, 7]]))
    with pytest.raises(NonFiniteError, match="row 1, column 2"):
        layer.cross_entropy(bad, torch.zeros(1, 2, dtype=torch.int64))
