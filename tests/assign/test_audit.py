"""`certvq.audit` and `certvq.certify`: every violation, its exact excess, and repair or refusal."""

import inspect
import re
from fractions import Fraction
from types import SimpleNamespace

import array_api_strict as xp
import numpy as np
import pytest
import torch

import certvq
from certvq.errors import (
    CertificateError,
    CodeRangeError,
    DTypeError,
    NonFiniteError,
    OptionError,
    ShapeError,
)

CHECK = inspect.unwrap(certvq.certify).__globals__["check"]  # doctests import it once more
LATENTS, CODEBOOK = np.array([[0.25], [0.5], [0.875]]), np.array([[0.0], [1.0]])


def test_audit_finds_every_violation_with_its_excess():
    report = certvq.audit(LATENTS, CODEBOOK, [1, 1, 1])
    assert (report.rows, report.ok, report.wrong, report.ties_broken_otherwise) == (3, False, 1, 1)
    assert [(v.row, v.code, v.nearest, v.excess) for v in report.violations] == [
        (0, 1, 0, Fraction(1, 2)),
        (1, 1, 0, Fraction(0)),
    ]
    assert str(report).startswith("3 codes audited: 1 wrong, 1 ties broken otherwise; the first")


def test_audit_of_right_codes_is_clean():
    report = certvq.audit(LATENTS, CODEBOOK, np.array([0, 0, 1], dtype=np.uint8))
    assert report.ok
    assert str(report) == "3 codes audited: no violation"


def test_audit_of_the_expansion_in_float32(rng):
    """At an offset of 1000 most codes of the usual float32 formula are wrong, and all are found."""
    latents = (rng.standard_normal((400, 8)) + 1000).astype(np.float32)
    codebook = (rng.standard_normal((128, 8)) + 1000).astype(np.float32)
    squares = (latents**2).sum(1)[:, None] + (codebook**2).sum(1)
    naive = (squares - 2 * latents @ codebook.T).argmin(1)
    right = certvq.assign(latents, codebook).codes
    report = certvq.audit(latents, codebook, naive)
    assert len(report.violations) == (naive != right).sum() > 100
    assert all(v.excess > 0 for v in report.violations)


@pytest.mark.parametrize(
    ("size", "text"), [(1e160, "4e+320"), (1e-170, "4e-340"), (1e-162, "4e-324")]
)
def test_excess_of_any_magnitude_is_told(size, text):
    """Where float64 ends, too: neither an OverflowError nor the excess 0 of a tie."""
    given = np.array([[size]]), np.array([[size], [-size]]), np.array([1])
    report = certvq.audit(*given)
    assert (report.wrong, report.ties_broken_otherwise) == (1, 0)
    assert report.violations[0].excess == report.violations.largest() == 4 * Fraction(size) ** 2
    assert str(report).endswith(f"excess squared distance {text}")
    with pytest.raises(CertificateError, match=re.escape(text)):
        certvq.certify(*given)
    assignment = SimpleNamespace(codes=given[2], decided_by=given[2], sqdist=np.zeros(1))
    with pytest.raises(CertificateError, match=re.escape(text)):
        certvq.check.verify(assignment, *given[:2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_violations_take_few_bytes(rng, monkeypatch, dtype):
    """And no loop over rows: integers of Python's own are left to wide numbers."""
    latents, codebook = (rng.standard_normal((n, 8)).astype(dtype) for n in (3000, 64))
    right = certvq.assign(latents, codebook).codes
    monkeypatch.setattr(CHECK, "_decide", None)
    found = certvq.audit(latents, codebook, (right + 1) % 64).violations
    assert np.array_equal(found.nearest, right)
    assert found.largest() == max(each.excess for each in found)
    arrays = (found.rows, found.codes, found.nearest, found.digits, found.exponents)
    assert sum(array.nbytes for array in arrays) < 100 * len(found)
    assert found[5:7] == (found[5], found[6])


def test_the_first_violation_is_enough_to_refuse(rng, monkeypatch):
    latents, codebook = rng.standard_normal((500, 4)), rng.standard_normal((64, 4))
    codes = (certvq.assign(latents, codebook).codes + 1) % 64
    parts, decided = [], CHECK._decided
    monkeypatch.setattr(CHECK, "_BLOCK", 50)
    monkeypatch.setattr(CHECK, "_decided", lambda *a: parts.append(1) or decided(*a))
    with pytest.raises(CertificateError, match="row 0: code"):
        certvq.certify(latents, codebook, codes)
    assert len(parts) == 1
    assert len(certvq.audit(latents, codebook, codes).violations) == 500


def test_audit_refuses_what_is_not_finite():
    latents = np.array([[0.25], [np.inf]])
    with pytest.raises(NonFiniteError, match="latents must be finite, got inf at row 1, column 0"):
        certvq.audit(latents, CODEBOOK, [0, 0])


def test_audit_reads_other_libraries():
    latents, codebook = xp.asarray(LATENTS), xp.asarray(CODEBOOK)
    assert certvq.audit(latents, certvq.prepare(codebook), [0, 0, 1]).ok


def test_audit_reads_torch():
    assert certvq.audit(torch.tensor(LATENTS), torch.tensor(CODEBOOK), torch.tensor([0, 0, 1])).ok


@pytest.mark.parametrize(
    ("codes", "error", "match"),
    [
        ([0, 0], ShapeError, r"codes must have shape \(3,\)"),
        ([0.0, 0.0, 1.0], DTypeError, "codes must be integers"),
        (torch.zeros(3).bfloat16(), DTypeError, "codes must be integers, got bfloat16"),
        (torch.zeros(3, dtype=torch.complex64).conj().imag, DTypeError, "float32"),
        ([0, 0, 7], CodeRangeError, r"range\(2\), got 7 at row 2"),
    ],
)
@pytest.mark.parametrize("call", [certvq.audit, certvq.certify, certvq.stability_radius])
def test_bad_codes_are_refused(call, codes, error, match):
    with pytest.raises(error, match=match):
        call(LATENTS, CODEBOOK, codes)


def test_certify_raises_repairs_or_reports():
    first = "row 0: code 1, nearest 0, excess squared distance 0.5; .*'repair' repairs them"
    with pytest.raises(CertificateError, match=first):
        certvq.certify(LATENTS, CODEBOOK, [1, 1, 1])
    repaired = certvq.certify(LATENTS, CODEBOOK, [1, 1, 1], on_violation="repair")
    assert repaired.codes.tolist() == [0, 0, 1]
    report = certvq.certify(LATENTS, CODEBOOK, [1, 1, 1], on_violation="report")
    assert isinstance(report, certvq.AuditReport)
    assert certvq.certify(LATENTS, CODEBOOK, [0, 0, 1]).codes.tolist() == [0, 0, 1]


def test_certify_refuses_an_unknown_rule():
    with pytest.raises(OptionError, match="got 'shrug'"):
        certvq.certify(LATENTS, CODEBOOK, [0, 0, 1], on_violation="shrug")
