"""The proved argmin keeps the contract, and nothing but codes is taken from a run."""

import numpy as np
import pytest

from certvq._lean import pack, run_argmin
from certvq.errors import LeanError
from certvq.testing import contract_cases


def packed(latents, codebook):
    exact = (np.asarray(a).astype(np.float64).tolist() for a in (latents, codebook))
    return pack(*exact)


SMALL = packed([[0.2], [0.9]], [[0.0], [1.0]])


@pytest.mark.slow
@pytest.mark.lean
def test_it_passes_the_contract_suite(lean):
    """All cases in one run of Lean, which checks the theorems besides."""
    cases = [case for case in contract_cases() if len(case.latents)]
    found = run_argmin([packed(case.latents, case.codebook) for case in cases], lean=lean)
    failing = [
        case.name
        for case, codes in zip(cases, found, strict=True)
        if codes != case.expected().tolist()
    ]
    assert failing == []


def test_codes_are_read_in_the_order_of_the_problems(lean_that_answers):
    many = packed(np.arange(300.0)[:, None], [[0.0], [1.0]])
    lean = lean_that_answers("[0, 1]", *map(str, ([0] * 128, [1] * 128, [0] * 44)))
    assert run_argmin([SMALL, many], lean=lean) == [[0, 1], [0] * 128 + [1] * 128 + [0] * 44]


@pytest.mark.parametrize(
    "answer", ["[0]", "[0, 1, 0]", "[0, 2]", "[0, -1]", "[0, true]", "[0, 1.0]", "codes", "{}"]
)
def test_anything_but_one_code_a_latent_is_refused(lean_that_answers, answer):
    with pytest.raises(LeanError, match=r"must print 2 codes in range\(2\), came '.*'"):
        run_argmin([SMALL], lean=lean_that_answers(answer))


def test_silence_is_refused(lean_that_answers):
    with pytest.raises(LeanError, match=r"must print 2 codes in range\(2\), came ''"):
        run_argmin([SMALL], lean=lean_that_answers())


def test_codes_are_not_taken_where_a_proof_fails(lean_that_answers):
    with pytest.raises(LeanError, match=r"does not accept the argmin \(line 2\): .*no proof"):
        run_argmin([SMALL], lean=lean_that_answers("[0, 1]", complaint="no proof"))
