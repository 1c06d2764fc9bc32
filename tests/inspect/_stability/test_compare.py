"""Tokens of two runs are compared rightly, and what the theorem says of them is checked."""

from fractions import Fraction

import numpy as np
import pytest

from certvq.errors import CertificateError, NonFiniteError, OptionError, ShapeError
from certvq.inspect._stability import compare as _compare
from certvq.inspect._stability.compare import compare, could_flip, distance_upper, moved_by, pair
from certvq.inspect._stability.record import Place, Search

LINE = np.arange(4.0)[:, None]


def search(latents, codes=None, codebook=LINE):
    rows = np.array(latents, dtype=np.float64).reshape(-1, codebook.shape[1])
    nearest = np.clip(np.ceil(rows[:, 0] - 0.5), 0, 3) if codes is None else codes
    return Search(rows, codebook, np.array(nearest, dtype=np.int64))


def here(call=0, part=(0, 0), layer="q"):
    return Place(layer, call, part)


@pytest.mark.rows("dim", [1, 2, 7, 64, 1000])
@pytest.mark.rows("scale", [1e-300, 1e-160, 1e-5, 1.0, 1e100])
def test_the_noise_is_an_upper_bound_and_a_close_one(rng, dim, scale):
    left = rng.standard_normal((20, dim)) * scale
    right = left + rng.standard_normal((20, dim)) * scale * 10.0 ** rng.integers(-15, 1, (20, 1))
    right[::2] += 1e3 * scale
    for row, bound in enumerate(distance_upper(left, right)):
        square = sum(
            (Fraction(a) - Fraction(b)) ** 2 for a, b in zip(left[row], right[row], strict=True)
        )
        assert Fraction(bound) ** 2 >= square
        slack = 1 + Fraction(2 * dim + 24, 2**53 - 2 * dim - 24)
        floor = Fraction(2) ** -530 * Fraction(np.nextafter(np.sqrt(dim), np.inf))
        if bound > floor:
            assert (Fraction(bound) - floor) ** 2 <= square * slack**2


def test_equal_rows_have_not_moved_and_overflow_is_infinite():
    left = np.array([[1e308, 5e-324], [1e308, 0.0], [5e-324, 0.0]])
    right = np.array([[1e308, 5e-324], [-1e308, 0.0], [0.0, 0.0]])
    bounds = distance_upper(left, right)
    assert bounds[0] == 0.0
    assert bounds[1] == np.inf
    assert 5e-324 <= bounds[2] < 1e-150


def test_a_token_could_flip_from_its_radius_on():
    """Not at all if it did not move: the code is a function of the latent."""
    noise = np.array([0.0, 0.0, 1.0, 1.0, np.nextafter(1.0, 2.0), 1.0])
    radius = np.array([0.0, 1.0, 0.0, 1.0, 1.0, np.nextafter(1.0, 2.0)])
    assert could_flip(noise, radius).tolist() == [False, False, True, True, True, False]


def test_noise_radius_and_flips_by_hand():
    first, second = search([0.1, 0.4, 1.45, 2.0, 2.5]), search([0.2, 0.6, 1.4, 2.0, 2.5])
    tokens = compare(first, second, "q")
    assert np.abs(tokens.noise - [0.1, 0.2, 0.05, 0.0, 0.0]).max() < 1e-14
    assert np.abs(tokens.radius - [0.4, 0.1, 0.05, 0.5, 0.0]).max() < 1e-13
    assert tokens.could_flip[[0, 1, 3, 4]].tolist() == [False, True, False, False]
    assert tokens.flipped.tolist() == [False, True, False, False, False]
    assert not tokens.inexact.any()


def test_codes_of_a_wrong_argmin_are_told_from_flips():
    """One wrong code in the first run, one in the second; the latents did not move enough."""
    first = search([0.1, 1.1, 2.1], codes=[3, 1, 2])
    second = search([0.1, 1.2, 2.1], codes=[0, 0, 2])
    tokens = compare(first, second, "q")
    assert tokens.flipped.tolist() == [True, True, False]
    assert tokens.inexact.tolist() == [True, True, False]
    assert not tokens.could_flip.any()


def test_a_given_distance():
    tokens = moved_by(0.25, search([0.0, 0.25, 0.26, 2.0], codes=[0, 0, 1, 2]), "q")
    assert tokens.could_flip.tolist() == [False, True, True, False]
    assert not tokens.flipped.any()
    assert tokens.inexact.tolist() == [False, False, True, False]
    assert not moved_by(0.0, search([0.5]), "q").could_flip.any()


def random_runs(rng, noise):
    codebook = rng.standard_normal((50, 3))
    first = rng.standard_normal((4000, 3))
    direction = rng.standard_normal((4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    searches = []
    for rows in (first, first + noise * direction):
        codes = ((rows[:, None] - codebook) ** 2).sum(2).argmin(1)
        searches.append(Search(rows, codebook, codes))
    return searches


@pytest.mark.parametrize("noise", [3e-3, 1e-2, 1e-1])
def test_only_tokens_that_could_flip_do(rng, noise):
    tokens = compare(*random_runs(rng, noise), "q")
    assert tokens.flipped.sum() > 3
    assert not (tokens.flipped & ~tokens.could_flip).any()
    # a random direction reaches a border at half of all distances or more: the bound says much
    assert tokens.flipped.sum() > tokens.could_flip.sum() / 10


@pytest.mark.parametrize("fault", ["radius", "noise"])
def test_a_radius_too_large_or_noise_too_small_is_found(rng, monkeypatch, fault):
    runs = random_runs(rng, 0.1)
    name = {"radius": "stability_radius", "noise": "distance_upper"}[fault]
    right, factor = getattr(_compare, name), {"radius": 2.0, "noise": 0.5}[fault]
    monkeypatch.setattr(_compare, name, lambda *given: factor * right(*given))
    text = (
        r"layer 'a\.q': a latent that moves by less than its radius must keep its nearest code, "
        r"but row \d+ moved by at most 0\.\d+, has the radius 0\.\d+ and went from code \d+ to \d+ "
        r"\(\d+ rows in all\)"
    )
    with pytest.raises(CertificateError, match=text):
        compare(*runs, "a.q")


@pytest.mark.parametrize("run", [0, 1])
def test_nan_is_named_with_layer_and_run(run):
    runs = [search([0.1, 0.2]), search([0.1, 0.2])]
    runs[run].latents[1, 0] = np.nan
    text = f"layer 'q', {('first', 'second')[run]} run: latents must be finite, got nan at row 1"
    with pytest.raises(NonFiniteError, match=text):
        compare(*runs, "q")
    with pytest.raises(NonFiniteError, match="layer 'q': latents must be finite, got nan at row 0"):
        moved_by(1.0, search([np.nan], codes=[0]), "q")


def test_calls_in_pieces_are_put_together():
    """Two calls of all three tokens; the second run makes them for one and then for two tokens."""
    first = {here(0): search([0.1, 1.1, 2.1]), here(1): search([0.2, 1.2, 2.2])}
    rows = [[0.1], [0.2], [1.1, 2.1], [1.2, 2.2]]
    second = {here(call): search(each) for call, each in enumerate(rows)}
    joined = pair(first, second)
    assert list(joined) == list(first)
    for place, each in first.items():
        assert (joined[place].latents == each.latents).all()
        assert (joined[place].codes == each.codes).all()


def test_the_order_is_that_of_the_first_run():
    first = {here(layer="b"): search([0.1]), here(layer="a", part=(0, 1)): search([1.1])}
    assert list(pair(first, dict(reversed(first.items())))) == list(first)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ([[0.1]], [], r"layer 'q': the second run must call it as often .* got 0 calls for 1"),
        ([], [[0.1]], r"got 1 calls for 0; both runs must be of the same model"),
        ([[0.1], [0.1]], [[0.1]] * 3, r"got 3 calls for 2"),
        (
            [[0.1, 0.2]],
            [[0.1]],
            r"latents of shape \(2, 1\) in all, got \(1, 1\); it must not crop",
        ),
        ([[0.1, 0.2]], [[0.1], [0.1, 0.3]], r"\(2, 1\) in all, got \(1, 1\) and \(2, 1\)"),
    ],
)
def test_runs_of_other_shapes_are_refused(first, second, text):
    runs = [{here(i): search(each) for i, each in enumerate(rows)} for rows in (first, second)]
    with pytest.raises(ShapeError, match=text):
        pair(*runs)


def test_another_dim_is_refused():
    wide = Search(np.zeros((1, 2)), np.eye(2), np.zeros(1, dtype=np.int64))
    with pytest.raises(ShapeError, match=r"latents of shape \(1, 1\) in all, got \(1, 2\)"):
        pair({here(): search([0.1])}, {here(): wide})


def test_another_codebook_is_refused():
    other = LINE.copy()
    other[2:] += 2.0**-30
    text = (
        r"layer 'q': both runs must search the same code vectors, got 2 other ones, the first is "
    )
    with pytest.raises(
        OptionError, match=text + r"row 2, by up to 9\.31e-10; .*perturbation='batc"
    ):
        pair({here(): search([0.1])}, {here(): search([0.1], codebook=other)})
    with pytest.raises(OptionError, match=r"got shapes \(4, 1\) and \(3, 1\)"):
        pair({here(): search([0.1])}, {here(): search([0.1], codebook=LINE[:3])})
