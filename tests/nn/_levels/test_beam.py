"""Beams: against all tuples of codes on exact numbers, with weights, ties, in training."""

import itertools
from fractions import Fraction

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Beam, ProductQuantize, Residual, ResidualVQ, Uniform, VectorQuantize


def layer_of(seeded, beam, *, sizes=(3, 4, 3), dim=2):
    """Codebooks of small dyadic numbers, so that no sum or difference is rounded."""
    layer = ResidualVQ(dim, sizes, beam=beam, start=Uniform()).double().eval()
    for level, part in enumerate(layer.quantizers):
        grid = torch.randint(-8, 9, part.codebook.shape, generator=seeded(level))
        part.codebook.copy_(grid / 2.0**level)
    return layer


def latents_of(seeded, count=60, dim=2):
    return torch.randint(-40, 41, (1, count, dim), generator=seeded(9)).double() / 4


def error(row, books, codes):
    """Squared errors after each level, exactly."""
    rest, errors = [Fraction(z) for z in row], []
    for book, code in zip(books, codes, strict=False):
        rest = [r - Fraction(c) for r, c in zip(rest, book[code], strict=True)]
        errors.append(sum(r * r for r in rest))
    return errors


def expected(row, books, width, score):
    """The beam search as its docstring says it, on fractions."""
    kept = [()]
    for level, book in enumerate(books):
        pool = []
        for place, codes in enumerate(kept):
            near = sorted(range(len(book)), key=lambda k: (error(row, books, (*codes, k))[-1], k))
            pool += [
                (score(error(row, books, (*codes, k))), place, rank, (*codes, k))
                for rank, k in enumerate(near[:width])
            ]
        kept = [item[-1] for item in sorted(pool)[: 1 if level == len(books) - 1 else width]]
    return kept[0]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 2.0)])
def test_the_search_is_the_one_described(width, weights, seeded):
    layer = layer_of(seeded, Beam(width, weights=weights))
    books = [part.codebook.tolist() for part in layer.quantizers]

    def score(errors):
        return (
            sum(Fraction(w) * e for w, e in zip(weights, errors, strict=False))
            if weights
            else (errors[-1])
        )

    latents = latents_of(seeded)
    codes = layer(latents).codes[0]
    for row, found in zip(latents[0].tolist(), codes.tolist(), strict=True):
        assert tuple(found) == expected(row, books, width, score if width > 1 else lambda e: e[-1])


def test_a_wide_beam_finds_the_best_tuple(seeded):
    layer = layer_of(seeded, Beam(12))
    greedy = layer_of(seeded, None)
    books = [part.codebook.tolist() for part in layer.quantizers]
    latents = latents_of(seeded)
    tuples = list(itertools.product(*(range(len(book)) for book in books)))
    wide, narrow = layer.encode(latents)[0].tolist(), greedy.encode(latents)[0].tolist()
    better = 0
    for row, found, first in zip(latents[0].tolist(), wide, narrow, strict=True):
        best = min(error(row, books, codes)[-1] for codes in tuples)
        assert error(row, books, found)[-1] == best
        better += error(row, books, first)[-1] > best
    assert better > 0


def test_ties_go_to_the_lower_codes():
    layer = ResidualVQ(1, (3, 3), beam=Beam(3), start=Uniform()).eval()
    for part in layer.quantizers:
        part.codebook.copy_(torch.tensor([[1.0], [1.0], [-1.0]]))
    assert layer.encode(torch.zeros(1, 1, 1)).tolist() == [[[0, 2]]]


@pytest.mark.parametrize("shared", [False, True])
def test_training_observes_the_codes_that_were_chosen(shared, seeded, same_bits):
    layer = ResidualVQ(3, 6, num_quantizers=2, shared=shared, beam=Beam(3), generator=seeded())
    for step in range(4):
        latents = torch.randn(1, 50, 3, generator=seeded(step))
        quantized, codes, _ = layer(latents)
        assert torch.equal(layer.encode(latents), codes)
        assert same_bits(quantized, layer.decode(codes))
        parts = [layer.quantizers[0]] if shared else layer.quantizers
        for level, part in enumerate(parts):
            chosen = codes[0].flatten() if shared else codes[0, :, level]
            counts = torch.bincount(chosen, minlength=6)
            assert torch.equal(part.statistics.pending_counts, counts.float())


def test_train_mode_may_be_narrower(seeded):
    wide = ResidualVQ(3, 6, num_quantizers=2, beam=Beam(4, train_width=1), generator=seeded())
    greedy = ResidualVQ(3, 6, num_quantizers=2, generator=seeded())
    for step in range(3):
        latents = torch.randn(1, 80, 3, generator=seeded(step))
        codes = greedy(latents).codes
        assert torch.equal(wide(latents).codes, codes)
    assert not torch.equal(wide.eval()(latents).codes, codes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"width": 2, "train_width": 0}, "train_width must be at least 1, got 0"),
        ({"width": 2, "weights": (1.0, -1.0)}, "at least 0, got -1.0 at level 1"),
        ({"width": 2, "weights": (float("nan"),)}, "got nan at level 0"),
    ],
)
def test_options_out_of_range_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        Beam(**options)


def test_levels_that_do_not_rank_are_refused():
    with pytest.raises(OptionError, match="level 0 is ProductQuantize"):
        Residual([ProductQuantize([VectorQuantize(2, 3)])], beam=Beam(2))
    with pytest.raises(OptionError, match=r"one for each of 2 levels, got \(1.0,\)"):
        ResidualVQ(2, 3, num_quantizers=2, beam=Beam(2, weights=(1.0,)))
