"""Perplexity, usage and dead codes are those of a histogram, by codebook."""

import copy
import math

import numpy as np
import pytest
import torch

from certvq.nn import (
    FSQ,
    LFQ,
    PADDING,
    GroupedResidualFSQ,
    Heads,
    HierarchicalVQ,
    LevelDropout,
    ProductQuantize,
    Project,
    RandomProjectionQuantizer,
    Residual,
    ResidualVQ,
    VectorQuantize,
)
from certvq.nn._core.usage import Place, perplexity, split_places, tally, usage_figures


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([5, 0, 0], 1.0), ([5, 5, 0, 0], 2.0), ([1, 1, 2], math.exp(1.5 * math.log(2)))],
)
def test_perplexity_is_exp_of_the_entropy(counts, expected):
    assert perplexity(np.array(counts)) == pytest.approx(expected)


def test_padding_is_not_counted_and_nothing_has_no_figures():
    codes = torch.tensor([[PADDING, 3, 3], [PADDING, PADDING, 0]])
    assert usage_figures({"": tally(Place(codes, 4))}, shared=False) == {
        "perplexity": pytest.approx(3 / 2 ** (2 / 3)),
        "codebook_usage": 0.5,
        "dead_codes": 2.0,
    }
    nothing = usage_figures({"": tally(Place(codes[:, :1], 4))}, shared=False)
    assert math.isnan(nothing.pop("perplexity"))
    assert nothing == {"codebook_usage": 0.0, "dead_codes": 4.0}
    assert usage_figures({}, shared=False) == {}


@pytest.mark.parametrize("shared", [False, True])
def test_places_without_codes_have_figures_and_count_in_no_mean(shared):
    codes = torch.tensor([[0, PADDING], [1, PADDING]])
    places = {f"level{k}/": tally(Place(codes[:, k], 4)) for k in range(2)}
    figures = usage_figures(places, shared=shared)
    assert figures["perplexity"] == figures["level0/perplexity"] == pytest.approx(2.0)
    assert math.isnan(figures["level1/perplexity"])
    assert (figures["codebook_usage"], figures["dead_codes"]) == (0.5, 2.0)
    assert (figures["level1/codebook_usage"], figures["level1/dead_codes"]) == (0.0, 4.0)


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [
        (4, (2,), [4, 4]),
        ((4, 8), (2,), [4, 8]),
        ((4, 8), (3, 2), [4, 8] * 3),
        (((4, 4), (2, 3)), (2, 2), [4, 4, 2, 3]),
    ],
)
def test_each_place_has_its_own_size(sizes, shape, expected):
    codes = torch.arange(math.prod(shape)).reshape(1, *shape)
    places = split_places(codes, sizes, shape, ("a", "b")).values()
    assert [place.size for place in places] == expected
    assert [place.codes.tolist() for place in places] == [[n] for n in range(len(expected))]


FAMILIES = {
    "vector": (lambda: VectorQuantize(4, 6), {""}),
    "huge": (lambda: LFQ(63, entropy=None), {""}),
    "residual": (
        lambda: ResidualVQ(4, [6, 5], dropout=LevelDropout()),
        {"", "level0/", "level1/"},
    ),
    "shared": (
        lambda: ResidualVQ(4, 6, num_quantizers=2, shared=True),
        {"", "level0/", "level1/"},
    ),
    "product": (
        lambda: ProductQuantize([VectorQuantize(1, 5), FSQ((3, 3, 3))]),
        {"", "group0/", "group1/"},
    ),
    "grouped": (
        lambda: GroupedResidualFSQ((3, 3), 2, groups=2),
        {"", *(f"group{g}/level{n}/" for g in range(2) for n in range(2))},
    ),
    "heads": (lambda: Project(Heads(VectorQuantize(1, 6), 2), 4), {"", "head0/", "head1/"}),
    "nested": (
        lambda: Residual([Heads(FSQ((3, 3)), 2)]),
        {"", "level0/head0/", "level0/head1/"},
    ),
    "books": (
        lambda: RandomProjectionQuantizer(4, 6, code_dim=2, codebooks=2),
        {"", "codebook0/", "codebook1/"},
    ),
    "scales": (
        lambda: HierarchicalVQ(4, [3, 6], [1, 2], shared=False),
        {"", "scale0/", "scale1/"},
    ),
}
KEYS = ("perplexity", "codebook_usage", "dead_codes")


@pytest.mark.parametrize(("make", "names"), FAMILIES.values(), ids=FAMILIES)
def test_every_layer_says_how_its_codes_are_used(make, names, seeded):
    """In both modes, of the latest batch, padding left out, and by the names of its parts."""
    layer = make()
    assert layer.metrics() == {}
    shape = (3, layer.dim, 5) if isinstance(layer, HierarchicalVQ) else (3, 5, layer.dim)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[0, 2:] = False
    for mode in (True, False):
        codes = layer.train(mode)(torch.randn(shape, generator=seeded(int(mode))), mask).codes
        figures = layer.metrics()
        found = {name.removesuffix(key) for name in figures for key in KEYS if name.endswith(key)}
        assert found - names == set()
        assert mode or found == names
        for name, place in layer.code_places(codes).items():
            kept = place.codes[place.codes != PADDING]
            if not len(kept):
                continue
            used = len(set(kept.tolist()))
            assert figures[f"{name}codebook_usage"] == used / place.size
            assert figures[f"{name}dead_codes"] == float(place.size - used)
            counts = np.unique(kept.numpy(), return_counts=True)[1]
            assert figures[f"{name}perplexity"] == pytest.approx(perplexity(counts))


def test_levels_of_one_codebook_are_counted_together():
    """A code that one level uses is not dead."""
    layer = ResidualVQ(1, 2, num_quantizers=2, shared=True)
    layer._codes = torch.tensor([[[0, 1]]])
    assert layer.shares_codebook
    figures = layer.metrics()
    assert [figures[key] for key in KEYS] == [2.0, 1.0, 0.0]
    assert [figures[f"level0/{key}"] for key in KEYS] == [1.0, 0.5, 1.0]


def test_means_and_the_sum_over_levels():
    layer = ResidualVQ(1, [2, 4])
    layer._codes = torch.tensor([[[0, 1], [1, 1]]])
    figures = layer.metrics()
    assert [figures[key] for key in KEYS] == [1.5, (1.0 + 0.25) / 2, 3.0]


def test_codes_are_kept_by_reference_and_left_behind_by_copies(seeded):
    layer = VectorQuantize(2, 4)
    codes = layer(torch.randn(1, 5, 2, generator=seeded())).codes
    assert layer._codes is codes
    assert copy.deepcopy(layer)._codes is None
    assert "perplexity" in layer.metrics()
