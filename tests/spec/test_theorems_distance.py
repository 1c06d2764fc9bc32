"""The seed's theorems about distances and nearest codes, each a law on exact rationals.

Beside each law stands a concrete example on which a wrong version of the statement fails.
"""
# ruff: noqa: N802 - a test bears the name of its theorem, letter for letter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq import spec

LAW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@LAW
@given(data=st.data())
def test_squaredL2_nonneg(draws, data):
    x, y = data.draw(draws.pairs())
    assert spec.squared_l2(x, y) >= 0


def test_squaredL2_nonneg_mutant():
    """It is not always positive."""
    assert not spec.squared_l2((1, 2), (1, 2)) > 0


@LAW
@given(data=st.data())
def test_squaredL2_self(draws, data):
    x, _ = data.draw(draws.pairs())
    assert spec.squared_l2(x, x) == 0


def test_squaredL2_self_mutant():
    """Between two tensors it need not be 0, even where the entries' sums agree."""
    assert spec.squared_l2((1, 0), (0, 1)) == 2


@LAW
@given(data=st.data())
def test_exactCodeMatch_isNearestCode(draws, data):
    codebook, idx = data.draw(draws.matches())
    z = codebook.embedding[idx]
    assert spec.is_nearest_code(codebook, z, idx) is True


def test_exactCodeMatch_isNearestCode_mutant(documented):
    """Without the match it is false; with it the code need not be the only nearest one."""
    assert spec.is_nearest_code(documented.codebook, documented.x, 1) is False
    assert spec.nearest_codes(spec.Codebook(((4,), (4,))), (4,)) == (0, 1)


@LAW
@given(data=st.data())
def test_exactCodeMatch_selected_distance_zero(draws, data):
    codebook, idx = data.draw(draws.matches())
    z = codebook.embedding[idx]
    assert spec.squared_distances(codebook, z)[idx] == 0


def test_exactCodeMatch_selected_distance_zero_mutant(documented):
    """Being nearest is not enough."""
    assert spec.is_nearest_code(documented.codebook, documented.x, 0)
    assert spec.squared_distances(documented.codebook, documented.x)[0] != 0


@LAW
@given(data=st.data())
def test_nearestCode_minimizes_quantization_loss(draws, data):
    codebook, z = data.draw(draws.assignments(draws.possibly_empty))
    idx = data.draw(st.sampled_from(spec.nearest_codes(codebook, z)))
    assert spec.is_nearest_code(codebook, z, idx)
    for vector in codebook.embedding:
        assert spec.squared_l2(z, codebook.embedding[idx]) <= spec.squared_l2(z, vector)


def test_nearestCode_minimizes_quantization_loss_mutant(documented):
    """Without the hypothesis it is false; and a tie refutes the strict inequality."""
    book, z = documented.codebook.embedding, documented.x
    assert not spec.squared_l2(z, book[1]) <= spec.squared_l2(z, book[0])
    assert spec.nearest_codes(spec.Codebook(((0,), (2,))), (1,)) == (0, 1)
    assert not spec.squared_l2((1,), (0,)) < spec.squared_l2((1,), (2,))


def test_drawn_assignments_hold_ties_and_clear_winners(draws):
    """The laws are tried where codes tie, on duplicate codes, and where one code wins."""
    seen = set()

    @settings(LAW, derandomize=True, max_examples=400)  # rare kinds must not be left to luck
    @given(assignment=draws.assignments())
    def look(assignment):
        codebook, z = assignment
        nearest = spec.nearest_codes(codebook, z)
        vectors = [codebook.embedding[code] for code in nearest]
        if len(set(vectors)) > 1:
            seen.add("tie of unlike codes")
        if len(set(vectors)) < len(vectors):
            seen.add("duplicate nearest codes")
        if nearest[0] > 0:
            seen.add("code 0 is not nearest")
        if len(nearest) == 1 < codebook.num_codes:
            seen.add("one winner")

    look()
    assert seen == {
        "tie of unlike codes",
        "duplicate nearest codes",
        "code 0 is not nearest",
        "one winner",
    }
