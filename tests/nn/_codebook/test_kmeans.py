"""The start from data: seeds far apart, Lloyd's iterations, and what few tokens give."""

import pytest
import torch

import certvq
from certvq.errors import OptionError
from certvq.nn import KMeans, VectorQuantize
from certvq.nn._codebook.kmeans import cluster


def blobs(seeded):
    centres = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0], [300.0, 300.0]])
    sizes = [400, 30, 30, 30, 2]
    tokens = torch.cat(
        [
            c + 0.1 * torch.randn(n, 2, generator=seeded(n))
            for c, n in zip(centres, sizes, strict=True)
        ]
    )
    return centres, tokens


@pytest.mark.parametrize("seed", range(10))
def test_seeds_reach_every_distant_blob(seed, seeded):
    """Uniform seeds would miss the two-token blob in most runs; squared distances do not."""
    centres, tokens = blobs(seeded)
    found = cluster(tokens, torch.empty(5, 2), iterations=10, generator=seeded(seed))
    nearest = torch.cdist(centres, found.codebook).min(dim=1).values
    assert nearest.max() < 1.0
    assert found.counts.sum() == len(tokens)
    assert sorted(found.counts.tolist()) == [2, 30, 30, 30, 400]


@pytest.mark.parametrize("seed", range(5))
def test_an_offset_of_the_data_does_not_matter(seed, seeded):
    """Distances from dot products would drown in rounding without centring."""
    centres, tokens = (t.double() + 1e10 for t in blobs(seeded))
    found = cluster(tokens, torch.empty(5, 2).double(), iterations=0, generator=seeded(seed))
    differences = (centres[:, None] - found.codebook).square().sum(dim=2)
    assert differences.min(dim=1).values.max() < 1.0


def test_a_start_is_that_of_kmeans_with_a_seed_of_the_generator(seeded):
    tokens = torch.randn(300, 4, generator=seeded()).bfloat16()
    seed = int(torch.randint(1 << 62, (1,), generator=seeded(3)))
    found = cluster(tokens, torch.empty(20, 4), iterations=4, generator=seeded(3))
    wanted = certvq.kmeans(tokens.float(), 20, iterations=4, seed=seed)
    assert torch.equal(found.codebook, wanted.codebook)
    assert found.counts.tolist() == wanted.counts.tolist()
    again = cluster(tokens, torch.empty(20, 4), iterations=4, generator=seeded(3))
    assert torch.equal(again.codebook, found.codebook)
    other = cluster(tokens, torch.empty(20, 4), iterations=4, generator=seeded(4))
    assert not torch.equal(other.codebook, found.codebook)


def test_tokens_of_length_zero_have_no_direction(seeded):
    tokens = torch.nn.functional.normalize(torch.randn(40, 3, generator=seeded()), dim=1)
    padded = torch.cat([torch.zeros(5, 3), tokens])
    options = {"iterations": 5, "unit": True}
    plain = cluster(tokens, torch.empty(6, 3), generator=seeded(1), **options)
    found = cluster(padded, torch.empty(6, 3), generator=seeded(1), **options)
    assert torch.equal(found.codebook, plain.codebook)
    assert (found.counts.sum(), plain.counts.sum()) == (45, 40)
    assert torch.allclose(found.codebook.norm(dim=1), torch.ones(6))
    nothing = cluster(padded[:5], torch.empty(6, 3), generator=seeded(1), **options)
    assert not nothing.codebook.any()


def test_iterations_lower_the_distortion(seeded):
    tokens = torch.randn(500, 4, generator=seeded())

    def distortion(iterations):
        found = cluster(
            tokens, torch.empty(20, 4), iterations=iterations, generator=seeded(1)
        ).codebook
        return float(torch.cdist(tokens, found).min(dim=1).values.square().mean())

    assert distortion(10) < 0.95 * distortion(0)


def test_seeds_are_tokens(seeded):
    tokens = torch.randn(50, 3, generator=seeded())
    seeds = cluster(tokens, torch.empty(20, 3), iterations=0, generator=seeded(1)).codebook
    rows = {tuple(row) for row in tokens.tolist()}
    assert len({tuple(row) for row in seeds.tolist()} & rows) == 20


def test_fewer_distinct_tokens_than_codes(seeded):
    """Each distinct token is a code; the others lie within the noise around tokens."""
    distinct = torch.tensor([[0.0, 0.0], [10.0, -4.0], [3.0, 8.0]])
    tokens = distinct[torch.tensor([0, 1, 2, 0, 1, 2, 2])]
    found = cluster(tokens, torch.empty(8, 2), iterations=10, generator=seeded())
    distances = torch.cdist(distinct, found.codebook)
    assert distances.min(dim=1).values.max() == 0.0
    assert distances.min(dim=0).values.max() < 6 * 0.01 * float(tokens.std(dim=0).norm())
    assert len({tuple(row) for row in found.codebook.tolist()}) == 8
    assert found.counts.sum() == 7


def test_as_many_distinct_tokens_as_codes(seeded):
    tokens = torch.arange(6.0)[:, None]
    found = cluster(tokens, torch.empty(6, 1), iterations=3, generator=seeded())
    assert sorted(found.codebook.flatten().tolist()) == list(range(6))


def test_one_distinct_token(seeded):
    layer = VectorQuantize(2, 4, generator=seeded())
    quantized, codes, _ = layer(torch.full((1, 9, 2), 3.0))
    assert codes.tolist() == [[0] * 9]
    assert bool((quantized == 3.0).all())


def test_tokens_too_close_for_the_seeds_arithmetic(seeded):
    """Squared distances underflow to zero, and yet the seeds are different tokens."""
    tokens = torch.arange(20.0).double()[:, None] * 1e-170
    found = cluster(tokens, torch.empty(19, 1).double(), iterations=0, generator=seeded())
    assert len(set(found.codebook.flatten().tolist())) == 19


def test_surplus_codes_stay_where_they_are(seeded):
    """They count as chosen once; without that the average would draw them to zero."""
    layer = VectorQuantize(2, 8, revive=None, generator=seeded())
    tokens = torch.tensor([[[50.0, 60.0], [70.0, 80.0]]])
    for _ in range(4):
        layer(tokens)
    assert bool((layer.codebook > 45.0).all())


def test_it_runs_once_and_never_in_eval_mode(seeded, snapshot, unchanged):
    layer = VectorQuantize(2, 4, generator=seeded(), revive=None).eval()
    before = snapshot(layer)
    layer(torch.randn(1, 50, 2))
    layer.encode(torch.randn(1, 50, 2))
    assert unchanged(layer, before)
    assert not bool(layer.started)
    layer.train().encode(torch.randn(1, 50, 2))
    assert unchanged(layer, before)
    layer(100.0 + torch.randn(1, 50, 2))
    assert bool(layer.started)
    assert bool((layer.codebook > 90.0).all())
    layer(-100.0 + torch.randn(1, 50, 2))
    assert bool((layer.codebook > 90.0).all())


def test_negative_iterations_are_refused():
    with pytest.raises(OptionError, match="iterations must be at least 0, got -1"):
        KMeans(iterations=-1)
