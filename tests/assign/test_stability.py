"""The stability radius: never above the exact distance to the border, and close to it."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import certvq


def exact_square_of_radius(z, codebook, code):
    """min over j of (d_j - d_i)^2 / (4 |c_i - c_j|^2), as a fraction."""

    def d(x, y):
        return sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, y, strict=True))

    own = codebook[code]
    return min((d(z, c) - d(z, own)) ** 2 / (4 * d(own, c)) for c in codebook if d(own, c) != 0)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_radius_is_below_the_exact_one_and_close(rng, offset, scale):
    latents = (rng.standard_normal((60, 4)) + offset) * scale
    codebook = (rng.standard_normal((12, 4)) + offset) * scale
    codes = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, codes)
    for z, code, r in zip(latents.tolist(), codes.tolist(), radius.tolist(), strict=True):
        square = exact_square_of_radius(z, codebook.tolist(), code)
        assert Fraction(r) ** 2 <= square
        assert Fraction(r) ** 2 >= square * Fraction(99, 100) or r < 1e-6 * scale


def test_no_perturbation_within_the_radius_changes_a_code(rng):
    latents, codebook = rng.standard_normal((200, 3)), rng.standard_normal((30, 3))
    codes = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, codes)
    for _ in range(20):
        step = rng.standard_normal(latents.shape)
        step *= (radius * (1 - 1e-12) / np.linalg.norm(step, axis=1))[:, None]
        assert (certvq.assign(latents + step, codebook).codes == codes).all()


def test_a_step_just_beyond_the_radius_can_change_the_code():
    latents, codebook = np.array([[0.25, 7.0]]), np.array([[0.0, 7.0], [1.0, 7.0]])
    radius = certvq.stability_radius(latents, codebook, [0])
    moved = latents + np.array([[radius[0] * (1 + 1e-9), 0.0]])
    assert certvq.assign(moved, codebook).codes.tolist() == [1]


@pytest.mark.parametrize(
    ("latents", "codebook", "codes", "expected"),
    [
        ([[0.3]], [[5.0]], [0], [np.inf]),
        ([[0.3]], [[5.0], [5.0]], [0], [np.inf]),
        ([[5.0]], [[5.0], [5.0]], [1], [0.0]),
        ([[0.5]], [[0.0], [1.0]], [0], [0.0]),
        ([[0.9]], [[0.0], [1.0]], [0], [0.0]),
    ],
)
def test_special_cases(latents, codebook, codes, expected):
    """One code: infinite. A higher twin, an exact tie, a wrong code: nothing is proved."""
    radius = certvq.stability_radius(np.array(latents), np.array(codebook), np.array(codes))
    assert radius.tolist() == expected


def test_torch_in_torch_out_and_empty():
    radius = certvq.stability_radius(torch.zeros(0, 2), torch.ones(3, 2), torch.zeros(0).long())
    assert isinstance(radius, torch.Tensor)
    assert radius.shape == (0,)


def test_the_error_term_is_needed(monkeypatch, rng):
    """Without it, some radius is above the exact one."""
    from certvq import bounds

    monkeypatch.setattr(bounds, "score_radius", lambda norms, code_norm, dim: norms * 0.0)
    monkeypatch.setattr(bounds, "gamma", lambda terms: 0.0)
    latents = rng.standard_normal((400, 6)) + 1e7
    codebook = rng.standard_normal((12, 6)) + 1e7
    codes = certvq.assign(latents, codebook, backend="reference").codes
    radius = certvq.stability_radius(latents, codebook, codes)
    above = [
        Fraction(r) ** 2 > exact_square_of_radius(z, codebook.tolist(), code)
        for z, code, r in zip(latents.tolist(), codes.tolist(), radius.tolist(), strict=True)
    ]
    assert any(above)
