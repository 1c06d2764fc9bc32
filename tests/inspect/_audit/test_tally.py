"""What is counted, by hand; and against a comparison of all codes in rational numbers."""

from fractions import Fraction

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.inspect._audit.tally import LayerTally
from certvq.inspect._libraries.adapter import Comparison

BOOK = torch.tensor([[0.0], [1.0], [2.0], [2.0], [9.0]])


def counted(latents, codes, book=BOOK, perturbation=0.0):
    tally = LayerTally("q", "Kind", perturbation)
    comparison = Comparison(torch.tensor(latents)[None, :, None], book[None])
    tally.observe(0, comparison, torch.tensor(codes)[None], torch.float32)
    (layer,) = tally.audits()
    return layer


@pytest.mark.parametrize(
    ("codes", "wrong", "ties", "excess"),
    [
        ([0, 1], 0, 0, 0.0),
        ([1, 0], 1, 0, 0.8),  # the first is not nearest: (0.9^2 - 0.1^2)
        ([0, 2], 1, 0, 1.9**2 - 0.9**2),
        ([0, 4], 1, 0, 8.9**2 - 0.9**2),  # the farthest, with the nearest that is left out
    ],
)
def test_candidates_by_hand(codes, wrong, ties, excess):
    layer = counted([0.1], [codes])
    assert (layer.wrong, layer.ties_broken_otherwise) == (wrong, ties)
    assert layer.largest_excess == pytest.approx(excess, abs=1e-6)  # of 0.1, as float32 has it
    assert (layer.candidates, layer.tokens, layer.codebook_size) == (2, 1, 5)


def test_a_candidate_is_compared_with_the_nearest_that_is_left_out():
    """Codes 1 and 2 are left out; code 3 is the twin of 2, but farther than 1."""
    layer = counted([0.1], [[0, 3, 4]])
    assert (layer.wrong, layer.ties_broken_otherwise) == (1, 0)
    assert layer.largest_excess == pytest.approx(8.9**2 - 0.9**2, abs=1e-5)
    layer = counted([0.1], [[0, 2, 3]])
    assert (layer.wrong, layer.largest_excess) == (1, pytest.approx(1.9**2 - 0.9**2, abs=1e-6))


def test_twins_among_candidates_are_ties():
    assert counted([1.9], [[2, 3]]).wrong == 0
    layer = counted([1.4], [[1, 3]])  # code 2 is the lower twin of 3
    assert (layer.wrong, layer.ties_broken_otherwise) == (0, 1)
    layer = counted([1.9], [[3, 2]])
    assert (layer.wrong, layer.ties_broken_otherwise) == (0, 1)
    layer = counted([1.4, 8.0], [[1, 3], [4, 0]])
    assert (layer.wrong, layer.ties_broken_otherwise) == (1, 1)


def test_a_row_that_is_both_is_wrong_once():
    """The first code is a higher twin, the second is too far."""
    layer = counted([1.9], [[3, 4]])
    assert (layer.wrong, layer.ties_broken_otherwise) == (1, 0)


def test_all_codes_in_any_order_are_right_if_the_first_is():
    assert counted([0.1], [[0, 4, 2, 3, 1]]).wrong == 0


@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_against_all_codes_in_rational_numbers(candidates):
    generator = torch.Generator().manual_seed(3)
    latents = torch.randint(-4, 5, (60, 2), generator=generator) / 4
    book = torch.randint(-4, 5, (12, 2), generator=generator) / 4
    codes = torch.stack([torch.randperm(12, generator=generator)[:candidates] for _ in latents])
    tally = LayerTally("q", "Kind", 0.0)
    shown = codes if candidates > 1 else codes[:, 0]
    tally.observe(0, Comparison(latents[None], book[None]), shown[None], torch.float32)
    (layer,) = tally.audits()
    wrong = ties = 0
    for z, chosen in zip(latents.tolist(), codes.tolist(), strict=True):
        distance = [
            sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(z, c, strict=True))
            for c in book.tolist()
        ]
        order = sorted(range(12), key=lambda code: (distance[code], code))
        far = max(distance[code] for code in chosen)
        left_out = [distance[code] for code in range(12) if code not in chosen]
        bad = far > min(left_out) or distance[chosen[0]] > distance[order[0]]
        wrong += bad
        ties += not bad and (set(chosen) != set(order[:candidates]) or chosen[0] != order[0])
    assert (layer.wrong, layer.ties_broken_otherwise) == (wrong, ties)
    assert wrong > 10


def test_code_vectors_of_each_token_are_one_codebook():
    tally = LayerTally("q", "Kind", None)
    latents = torch.tensor([[[0.0]], [[5.0]], [[5.0]]])
    books = torch.tensor([[[0.0], [1.0]], [[9.0], [4.0]], [[9.0], [4.0]]])
    comparison = Comparison(latents, books, own=True)
    tally.observe(0, comparison, torch.tensor([[0], [1], [0]]), torch.float32)
    (layer,) = tally.audits()
    assert (layer.name, layer.tokens, layer.wrong, layer.largest_excess) == ("q", 3, 1, 15.0)


def test_nan_among_a_token_s_code_vectors_is_named():
    tally = LayerTally("q", "Kind", None)
    books = torch.ones(3, 2, 1)
    books[2, 1] = torch.nan
    comparison = Comparison(torch.ones(3, 1, 1), books, own=True)
    with pytest.raises(NonFiniteError, match="layer 'q', token 2: codebook must be finite"):
        tally.observe(0, comparison, torch.zeros(3, 1, dtype=torch.int64), torch.float32)


def test_a_layer_that_never_ran_is_empty():
    (layer,) = LayerTally("q", "Kind", None).audits()
    assert (layer.tokens, layer.codebook_size, layer.candidates) == (0, 0, 1)


def test_the_stability_of_candidates_is_that_of_the_nearest():
    layer = counted([0.4, 0.1], [[0, 1], [0, 1]], perturbation=0.2)
    assert layer.unstable == 1
