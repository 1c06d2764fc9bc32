"""Scores are explained by the right operands, and by no others."""

from dataclasses import replace

import pytest
import torch

from certvq.inspect._argmin.explain import explain, lengths_differ, tolerance
from certvq.inspect._libraries.adapter import Comparison


def explains(comparison, scores, sign):
    return explain(comparison, scores, sign).agrees


@pytest.fixture
def comparison():
    return Comparison(torch.randn(2, 50, 8), torch.randn(2, 20, 8))


def scores_of(comparison):
    z, c = comparison.latents, comparison.codebook
    square = (z**2).sum(-1, keepdim=True) + (c**2).sum(-1)[:, None] - 2 * z @ c.mT
    return {
        "squared": (square, 1),
        "distance": (torch.cdist(z, c), 1),
        "negative": (-torch.cdist(z, c), -1),
        "without |z|^2": (square - (z**2).sum(-1, keepdim=True), 1),
        "clamped": (square.clamp(min=1e-8).sqrt(), 1),
    }


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("kind", ["squared", "distance", "negative", "without |z|^2", "clamped"])
def test_distances_are_explained(comparison, kind, mean):
    comparison = Comparison(comparison.latents + mean, comparison.codebook + mean)
    scores, sign = scores_of(comparison)[kind]
    assert explains(comparison, scores, sign)
    assert mean or not explains(comparison, scores, -sign)


def test_an_inner_product_is_explained_by_unit_vectors_only(comparison):
    unit = torch.nn.functional.normalize(comparison.codebook, dim=-1)
    scores = comparison.latents @ unit.mT
    assert explains(Comparison(comparison.latents, unit), scores, -1)
    assert not explains(comparison, comparison.latents @ comparison.codebook.mT, -1)


def test_other_operands_do_not_explain(comparison):
    scores, sign = scores_of(comparison)["squared"]
    z, c = comparison.latents, comparison.codebook
    normal = torch.nn.functional.normalize
    for other in (
        Comparison(2 * z, c),
        Comparison(z, c.flip(1)),
        Comparison(normal(z, dim=-1), c),
        Comparison(normal(z, dim=-1), normal(c, dim=-1)),
        Comparison(z.flip(0), c),
    ):
        assert not explains(other, scores, sign)


def test_a_single_wrong_row_is_seen(comparison):
    """The last row of the last codebook is among those that are looked at."""
    scores, sign = scores_of(comparison)["squared"]
    scores[-1, -1, 3] += 1.0
    assert not explains(comparison, scores, sign)


def test_rows_that_overflowed_are_left_out(comparison):
    scores, sign = scores_of(comparison)["squared"]
    scores[0, 0, 0] = torch.inf
    assert explains(comparison, scores, sign)


def test_no_rows_are_explained(comparison):
    empty = Comparison(comparison.latents[:, :0], comparison.codebook)
    assert explains(empty, torch.zeros(2, 0, 20), 1)


def test_the_tolerance_follows_the_coarsest_type(comparison):
    scores, _ = scores_of(comparison)["squared"]
    wide = tolerance(comparison, scores)
    assert wide == 8 * 19 * torch.finfo(torch.float32).eps
    assert tolerance(comparison, scores.bfloat16()) == 8 * 19 * torch.finfo(torch.bfloat16).eps
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tolerance(comparison, scores) == 8 * 19 * torch.finfo(torch.bfloat16).eps


def own_comparison(shift=0.0):
    return Comparison(torch.randn(30, 1, 8), torch.randn(30, 20, 8), own=True, shift=shift)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_code_vectors_of_each_latent_are_explained(scale):
    """`pairwise_distance` adds 1e-6 to each entry, which matters where vectors are small."""
    plain = own_comparison(shift=1e-6)
    comparison = Comparison(plain.latents * scale, plain.codebook * scale, own=True, shift=1e-6)
    scores = torch.pairwise_distance(comparison.latents, comparison.codebook)
    assert explains(comparison, scores, 1)
    assert scale < 1 or not explains(comparison, -scores, 1)
    other = Comparison(comparison.latents.flip(0), comparison.codebook, own=True)
    assert scale < 1 or not explains(other, scores, 1)


def test_a_shift_widens_the_bound_by_what_it_does():
    comparison = own_comparison(shift=0.5)
    scores = torch.pairwise_distance(comparison.latents, comparison.codebook, eps=0.5)
    assert explains(comparison, scores, 1)
    assert not explains(replace(comparison, shift=0.0), scores, 1)


def test_the_last_latent_with_its_own_code_vectors_is_seen():
    comparison = own_comparison()
    scores = torch.cdist(comparison.latents, comparison.codebook).squeeze(1)
    assert explains(comparison, scores, 1)
    scores[-1, 3] += 1.0
    assert not explains(comparison, scores, 1)


def test_no_latents_with_their_own_code_vectors_are_explained():
    empty = Comparison(torch.zeros(0, 1, 8), torch.zeros(0, 20, 8), own=True)
    assert explains(empty, torch.zeros(0, 20), 1)


def test_latents_near_0_explain_and_tell_nothing(comparison):
    """Whatever else the layer does with its latents, silence gives these scores."""
    scores, sign = scores_of(comparison)["squared"]
    assert explain(comparison, scores, sign).telling
    silent = Comparison(0 * comparison.latents, comparison.codebook)
    scores, sign = scores_of(silent)["squared"]
    found = explain(silent, scores, sign)
    assert (found.agrees, found.telling) == (True, False)


def test_vectors_too_short_to_be_scaled_are_left_out(comparison):
    """`normalize` divides by 1e-12 at least."""
    raw = comparison.codebook.clone()
    raw[:, 3] *= 1e-14
    normal = torch.nn.functional.normalize
    unit = Comparison(normal(comparison.latents, dim=-1), normal(raw, dim=-1), unit=True)
    scores = 2 * unit.latents @ unit.codebook.mT + (unit.codebook**2).sum(-1)[:, None]
    assert explains(unit, scores, -1)
    assert not explains(replace(unit, unit=False), scores, -1)


def test_inner_products_with_vectors_of_unlike_lengths_are_told(comparison):
    comparison.codebook[1, 3] = 0.0
    scores = comparison.latents @ comparison.codebook.mT
    code, length, other, most = lengths_differ(comparison, scores, -1)
    norms = comparison.codebook.norm(dim=-1)
    assert (code, length) == (3, 0.0)
    assert most == pytest.approx(norms.max().item())
    assert norms[:, other].max() == norms.max()
    assert lengths_differ(comparison, scores_of(comparison)["squared"][0], 1) is None
