"""What the seed leaves open about choosing a code, each theorem a law on exact rationals.

Beside each law stands a concrete example on which a wrong version of the statement fails.
"""
# ruff: noqa: N802 - a test bears the name of its theorem, letter for letter

from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq import spec

LAW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def nearest(codebook, z):
    """Every code that satisfies the predicate, one question at a time."""
    return [code for code in range(codebook.num_codes) if spec.is_nearest_code(codebook, z, code)]


@LAW
@given(data=st.data())
def test_isNearestCode_iff_mse(draws, data):
    codebook, z = data.draw(draws.assignments())
    means = [spec.mse(z, vector) for vector in codebook.embedding]
    for code, mean in enumerate(means):
        by_mean = all(mean <= other for other in means)
        assert spec.is_nearest_code(codebook, z, code) == by_mean


def test_isNearestCode_iff_mse_mutant():
    """The mean absolute error chooses another code than the mean squared error."""
    codebook = spec.Codebook(((2, 2), (3, 0)))
    absolute = [Fraction(sum(abs(entry) for entry in code), 2) for code in codebook.embedding]
    assert nearest(codebook, (0, 0)) == [0]
    assert min(absolute) == absolute[1] < absolute[0]


@LAW
@given(data=st.data())
def test_isNearestCode_iff_score(draws, data):
    codebook, z = data.draw(draws.assignments(draws.possibly_empty))
    scores = [spec.score(codebook, z, code) for code in range(codebook.num_codes)]
    for code, own in enumerate(scores):
        by_score = all(other <= own for other in scores)
        assert spec.is_nearest_code(codebook, z, code) == by_score


def test_isNearestCode_iff_score_mutant():
    """The inner product alone, without half the squared norm, chooses the longer code vector."""
    codebook, z = spec.Codebook(((1, 0), (3, 0))), (1, 0)
    products = [spec.dot(z, vector) for vector in codebook.embedding]
    assert nearest(codebook, z) == [0]
    assert max(products) == products[1] > products[0]


@LAW
@given(data=st.data())
def test_exists_isNearestCode(draws, data):
    codebook, z = data.draw(draws.assignments(draws.possibly_empty))
    assert codebook.num_codes > 0
    assert len(nearest(codebook, z)) > 0


def test_exists_isNearestCode_mutant(documented):
    """Without K > 0 it is false, and so it is for all codes instead of some."""
    assert nearest(spec.Codebook(()), (1,)) == []
    assert nearest(documented.codebook, documented.x) == [0]


@LAW
@given(data=st.data())
def test_lowest_isNearestCode_unique(draws, data):
    codebook, z = data.draw(draws.assignments(draws.possibly_empty))
    codes = nearest(codebook, z)
    lowest = [code for code in codes if not any(other < code for other in codes)]
    assert lowest == [spec.nearest_code(codebook, z)]
    assert tuple(codes) == spec.nearest_codes(codebook, z)


def test_lowest_isNearestCode_unique_mutant():
    """Nearest codes alone are not unique."""
    assert nearest(spec.Codebook(((0,), (2,), (2,))), (1,)) == [0, 1, 2]


@LAW
@given(data=st.data())
def test_argmin_isNearestCode(draws, data):
    codebook, z = data.draw(draws.assignments(draws.possibly_empty))
    found = spec.argmin(spec.squared_distances(codebook, z))
    assert spec.is_nearest_code(codebook, z, found)
    assert not any(spec.is_nearest_code(codebook, z, lower) for lower in range(found))


def test_argmin_isNearestCode_mutant():
    """An argmin that also moves on a tie ends at the highest nearest code, not the lowest."""
    codebook, z = spec.Codebook(((5,), (0,), (2,))), (1,)
    distances = spec.squared_distances(codebook, z)
    place = 0
    for other in range(1, len(distances)):
        if distances[other] <= distances[place]:
            place = other
    assert place == 2
    assert spec.argmin(distances) == spec.nearest_code(codebook, z) == 1
