"""The independent checker: right answers pass, every kind of wrong one is found and named.

Also of `certvq._checker._violations`.
"""

from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch

import certvq
from certvq import _checker, check, testing
from certvq.errors import (
    CertificateError,
    CodeRangeError,
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    ShapeError,
)


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def path(request, monkeypatch):
    """Run every test with the compiled filter and without it."""
    if request.param == "numpy":
        monkeypatch.setattr(_checker, "_rivals", None)
    return request.param


@pytest.fixture
def problem(rng):
    latents = rng.standard_normal((300, 6)).astype(np.float32)
    codebook = rng.standard_normal((20, 6)).astype(np.float32)
    return latents, codebook, certvq.assign(latents, codebook)


def test_right_assignment_passes(problem):
    latents, codebook, assignment = problem
    report = check.verify(assignment, latents, codebook)
    assert report == check.CheckReport(300, 300 * 19, 0)


def test_every_single_wrong_code_is_found(problem):
    latents, codebook, assignment = problem
    for row in range(0, 300, 29):
        codes = assignment.codes.copy()
        codes[row] = (codes[row] + 1) % 20
        with pytest.raises(CertificateError, match=rf"row {row} has code {codes[row]} where"):
            check.verify(replace(assignment, codes=codes), latents, codebook)
        (violation,) = check.find_violations(latents, codebook, codes)
        z, wrong, right = (
            [Fraction(v) for v in a.tolist()]
            for a in (latents[row], codebook[codes[row]], codebook[assignment.codes[row]])
        )
        excess = sum((a - b) ** 2 for a, b in zip(z, wrong, strict=True)) - sum(
            (a - b) ** 2 for a, b in zip(z, right, strict=True)
        )
        assert violation == check.Violation(row, codes[row], assignment.codes[row], excess)


def test_tie_to_the_higher_index_is_a_violation_without_excess():
    latents, codebook = np.array([[0.5]]), np.array([[0.0], [1.0]])
    (violation,) = check.find_violations(latents, codebook, np.array([1]))
    assert violation.is_tie
    assert violation.nearest == 0


@pytest.mark.parametrize("unit", [1.0, 1e300])
def test_excesses_of_any_size_are_seen(unit):
    """The second code is nearer, by less than a unit in the last place of the distance; a tie."""
    codebook = unit * np.array([[-1.0, 0.0], [1.0, 0.0]])
    for step in (2.0**-30, 2.0**-70, 2.0**-200, 5e-324):
        (violation,) = check.find_violations(np.array([[step, 0.0]]), codebook, np.array([0]))
        assert violation == check.Violation(0, 0, 1, 4 * Fraction(step) * Fraction(unit))
        assert not violation.is_tie
        assert list(check.find_violations(np.array([[-step, 0.0]]), codebook, np.array([0]))) == []
        (violation,) = check.find_violations(np.array([[0.0, step]]), codebook, np.array([1]))
        assert violation == check.Violation(0, 1, 0, Fraction(0))


def test_ties_take_exact_comparisons():
    latents, codebook = np.array([[0.5], [0.25]]), np.array([[0.0], [1.0]])
    assignment = certvq.assign(latents, codebook)
    assert check.verify(assignment, latents, codebook) == check.CheckReport(2, 2, 1)
    with pytest.raises(CertificateError, match="row 0 has code 1 where 0 is right .*distance 0"):
        check.verify(replace(assignment, codes=np.array([1, 0])), latents, codebook)


def test_violations_come_in_order_of_rows(rng):
    """Also where rows that float32 can decide lie between rows that it cannot."""
    latents, codebook = rng.standard_normal((40, 3)), rng.standard_normal((9, 3))
    latents[::3] *= 1e200
    right = certvq.assign(latents, codebook).codes
    codes = (right + rng.integers(1, 9, 40)) % 9
    violations = list(check.find_violations(latents, codebook, codes))
    assert [v.row for v in violations] == list(range(40))
    assert [v.nearest for v in violations] == right.tolist()
    assert all(v.excess > 0 for v in violations)


def test_codes_without_sense_are_all_found(rng):
    latents, codebook = rng.standard_normal((200, 4)), rng.standard_normal((300, 4))
    codes = rng.integers(0, 300, 200)
    right = certvq.assign(latents, codebook).codes
    rows = [v.row for v in check.find_violations(latents, codebook, codes)]
    assert rows == np.flatnonzero(codes != right).tolist()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ">f4", np.float64])
def test_all_types_are_verified(rng, dtype):
    latents = rng.standard_normal((100, 5)).astype(dtype)
    codebook = rng.standard_normal((30, 5)).astype(dtype)
    assignment = certvq.assign(latents, codebook)
    assert check.verify(assignment, latents, codebook).rows == 100
    codes = assignment.codes.copy()
    codes[77] = (codes[77] + 1) % 30
    with pytest.raises(CertificateError, match="row 77"):
        check.verify(replace(assignment, codes=codes), latents[:, ::1], codebook)


def test_one_ulp_is_seen():
    latents, codebook = np.array([[np.nextafter(0.5, 1.0)]]), np.array([[0.0], [1.0]])
    (violation,) = check.find_violations(latents, codebook, np.array([0]))
    assert violation.excess == Fraction(2) ** -52
    assert list(check.find_violations(latents, codebook, np.array([1]))) == []


@pytest.mark.parametrize("margin", [(0.0, 0.0)])
def test_checker_needs_its_margin(monkeypatch, rng, margin):
    """Without the margin a near tie is decided by rounding, and some wrong code passes."""
    monkeypatch.setattr(check, "_margin", lambda dim: margin)
    found_wrong = False
    for case in testing.contract_cases():
        if "near ties" in case.name:
            expected = case.expected()
            found = {v.row for v in check.find_violations(case.latents, case.codebook, expected)}
            naive = ((case.latents[:, None] - case.codebook) ** 2).sum(2).argmin(1)
            wrong = set(np.flatnonzero(naive != expected).tolist())
            seen = {v.row for v in check.find_violations(case.latents, case.codebook, naive)}
            found_wrong |= bool(found) or not wrong <= seen
    assert found_wrong


def test_evidence_must_be_there(problem):
    latents, codebook, assignment = problem
    undecided = assignment.decided_by.copy()
    undecided[9] = 4
    with pytest.raises(CertificateError, match="decided_by must be 1, 2 or 3, got 4 at row 9"):
        check.verify(replace(assignment, decided_by=undecided), latents, codebook)
    undecided[7] = 0
    with pytest.raises(CertificateError, match="decided_by must be 1, 2 or 3, got 0 at row 7"):
        check.verify(replace(assignment, decided_by=undecided), latents, codebook)
    with pytest.raises(ShapeError, match=r"decided_by must have shape \(300,\)"):
        check.verify(replace(assignment, decided_by=undecided[:5]), latents, codebook)


@pytest.mark.parametrize("factor", [1.0 + 1e-12, 1.0 - 1e-12, np.nan, np.inf, -1.0])
def test_wrong_distance_is_found(problem, factor):
    latents, codebook, assignment = problem
    sqdist = assignment.sqdist.copy()
    sqdist[11] *= factor
    with pytest.raises(CertificateError, match="sqdist must be the squared distance.*row 11"):
        check.verify(replace(assignment, sqdist=sqdist), latents, codebook)


def test_torch_tensors_and_prepared_codebooks_are_read():
    latents = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    codebook = torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    prepared = certvq.prepare(codebook)
    assert check.verify(certvq.assign(latents, prepared), latents, prepared).rows == 40


@pytest.mark.rows(
    ("latents", "codebook", "codes", "error", "match"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), [0, 0], ShapeError, r"\(2, 3\), \(2, 4\)"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0], ShapeError, "codes must be 2 integers"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0.0, 1.0], ShapeError, "got float64"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0, 2], CodeRangeError, "got 2 at row 1"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), [0, 0], NonFiniteError, "row 0, column 0"),
        (np.zeros((2, 3)), np.full((2, 3), np.inf), [0, 0], NonFiniteError, "codebook.*inf"),
        (np.array([[0], [np.nan]]), np.zeros((2, 1)), [0, 0], NonFiniteError, "nan at row 1"),
    ],
)
def test_what_does_not_fit_is_refused(latents, codebook, codes, error, match):
    with pytest.raises(error, match=match):
        list(check.find_violations(latents, codebook, np.array(codes)))


def test_flushed_subnormals_are_refused(problem):
    latents, codebook, assignment = problem
    assert torch.set_flush_denormal(True)
    try:
        with pytest.raises(FloatEnvironmentError, match="subnormal"):
            check.verify(assignment, latents, codebook)
        with pytest.raises(FloatEnvironmentError, match="set_flush_denormal"):
            certvq.assign(latents, codebook)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("claimed", [-3.0, 0.0, 5.0, 1e308])
def test_wrong_distance_is_found_where_float64_overflows(claimed):
    latents, codebook = np.array([[1e200]]), np.array([[0.0]])
    right = certvq.assign(latents, codebook)
    assert right.sqdist.tolist() == [np.inf]
    check.verify(right, latents, codebook)
    with pytest.raises(CertificateError, match="sqdist"):
        check.verify(replace(right, sqdist=np.array([claimed])), latents, codebook)


@pytest.mark.parametrize(
    "latents",
    [np.array([[2**53 + 1]]), np.array([[5j]]), np.ones((1, 1), dtype=np.longdouble)],
)
def test_numbers_outside_the_contract_are_refused(latents):
    with pytest.raises(DTypeError, match="must be float64, float32, bfloat16 or float16"):
        list(check.find_violations(latents, np.array([[0.0]]), np.array([0])))


@pytest.mark.parametrize("shape", [(0, 2), (2, 0)])
def test_empty_codebook_is_refused(shape):
    latents = np.zeros((0, shape[1]))
    with pytest.raises(ShapeError, match="at least one row and one column"):
        list(check.find_violations(latents, np.zeros(shape), np.zeros(0, dtype=int)))


def test_evidence_must_be_integers(problem):
    latents, codebook, assignment = problem
    with pytest.raises(DTypeError, match="decided_by must be integers, got float64"):
        check.verify(replace(assignment, decided_by=assignment.decided_by * 1.5), latents, codebook)
    narrow = torch.tensor(assignment.decided_by).bfloat16()
    with pytest.raises(DTypeError, match="decided_by must be integers, got float32"):
        check.verify(replace(assignment, decided_by=narrow), latents, codebook)


def with_second(latents, codebook):
    return certvq.assign(latents, codebook, second=True)


def test_right_second_codes_pass(problem):
    latents, codebook, _ = problem
    report = check.verify(with_second(latents, codebook), latents, codebook)
    assert report == check.CheckReport(300, 300 * (19 + 18), 0)


def test_every_wrong_second_code_is_found(problem):
    latents, codebook, _ = problem
    assignment = with_second(latents, codebook)
    for row in range(0, 300, 7):
        for wrong in set(range(20)) - {assignment.codes[row], assignment.second[row]}:
            second = assignment.second.copy()
            second[row] = wrong
            text = rf"row {row} has {wrong} where {assignment.second[row]} is right"
            with pytest.raises(CertificateError, match=text):
                check.verify(replace(assignment, second=second), latents, codebook)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_second_codes_among_ties_and_equal_vectors(rng, dtype):
    """Small integers: of the second lowest squared distances the lowest index, but for the code."""
    for _ in range(40):
        codes, dim = int(rng.integers(2, 12)), int(rng.integers(1, 4))
        latents = rng.integers(-1, 2, (25, dim)) / 2
        codebook = rng.integers(-1, 2, (codes, dim)) * rng.choice([-1.0, 1.0], (codes, dim))
        sqdist = ((latents[:, None] - codebook) ** 2).sum(2)
        nearest = sqdist.argmin(1)
        np.put_along_axis(sqdist, nearest[:, None], np.inf, axis=1)
        right = sqdist.argmin(1)
        z, c = latents.astype(dtype), codebook.astype(dtype)
        assignment = with_second(z, c)
        check.verify(replace(assignment, second=right), z, c)
        for row in range(25):
            for wrong in range(codes):
                if wrong in {right[row], nearest[row]}:
                    continue
                second = right.copy()
                second[row] = wrong
                with pytest.raises(CertificateError, match=f"{wrong} where {right[row]} is right"):
                    check.verify(replace(assignment, second=second), z, c)


def test_second_codes_of_one_code(rng):
    z, c = rng.standard_normal((5, 3)), rng.standard_normal((1, 3))
    assignment = with_second(z, c)
    check.verify(assignment, z, c)
    with pytest.raises(CodeRangeError, match="second must be -1 where there is one code, got 0 at"):
        check.verify(replace(assignment, second=np.zeros(5, int)), z, c)


def test_senseless_second_codes_are_refused(problem):
    latents, codebook, _ = problem
    assignment = with_second(latents, codebook)

    def spoilt(row, value):
        second = assignment.second.copy()
        second[row] = value
        return replace(assignment, second=second)

    for value in (-1, 20):
        text = rf"second must lie in range\(20\), got {value} at row 7"
        with pytest.raises(CodeRangeError, match=text):
            check.verify(spoilt(7, value), latents, codebook)
    own = assignment.codes[9]
    with pytest.raises(CertificateError, match=f"must differ from the code, got {own} for both at"):
        check.verify(spoilt(9, own), latents, codebook)
    for second in (assignment.second[1:], assignment.second.astype(float)):
        with pytest.raises(ShapeError, match="second must be 300 integers, got"):
            check.verify(replace(assignment, second=second), latents, codebook)


def test_verify_reads_second_codes_of_torch(problem):
    latents, codebook = (torch.from_numpy(a) for a in problem[:2])
    report = check.verify(with_second(latents, codebook), latents, codebook)
    assert report.rows == len(latents)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is in beta
@pytest.mark.rows("place", range(3))
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda t: t.to("meta"), "torch.strided one on meta"),
        (lambda t: t.to_sparse(), "torch.sparse_coo one"),
        (lambda t: torch.nested.nested_tensor([t, t[:1]]), "nested one"),
        (
            lambda t: torch.masked.masked_tensor(t, torch.ones_like(t, dtype=torch.bool)),
            "MaskedTensor one",
        ),
    ],
)
def test_tensors_without_numbers_are_refused(place, spoil, kind):
    given = [torch.eye(2), torch.eye(2), torch.arange(2)]
    given[place] = spoil(given[place])
    with pytest.raises(DTypeError, match=f"must be dense and have numbers, got a {kind}"):
        list(check.find_violations(*given))
