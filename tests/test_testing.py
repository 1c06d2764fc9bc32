"""The contract suite: every backend passes it, and wrong ones do not."""

import numpy as np
import pytest

import certvq
from certvq import bounds, check, testing
from certvq.assign import _exact, _refine


@pytest.mark.parametrize("backend", ["auto", "numpy", "torch"])
@pytest.mark.parametrize("seed", [0, 1])
def test_backend_keeps_the_contract(backend, seed):
    assert testing.check_backend(backend, seed=seed) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_keeps_the_contract(seed):
    """It has one method for all sizes, and no time for the large ones."""
    for case in testing.contract_cases(seed):
        assignment = certvq.assign(case.latents, case.codebook, backend="reference")
        assert np.array_equal(assignment.codes, case.expected()), case.name


def float32_expansion(latents, codebook):
    z, c = latents.astype(np.float32), codebook.astype(np.float32)
    return ((z * z).sum(1)[:, None] - 2 * z @ c.T + (c * c).sum(1)).argmin(1)


def last_of_ties(latents, codebook):
    reversed_codes = certvq.assign(latents, codebook[::-1]).codes
    return len(codebook) - 1 - reversed_codes


def off_by_one_row(latents, codebook):
    return np.roll(certvq.assign(latents, codebook).codes, 1)


@pytest.mark.parametrize("wrong", [float32_expansion, last_of_ties, off_by_one_row])
def test_wrong_backend_fails_the_suite(wrong):
    assert len(testing.failing_cases(wrong)) >= 5


def test_float32_expansion_fails_where_the_field_fails():
    failing = testing.failing_cases(float32_expansion)
    assert {"offset 1e+08 float64", "scale 1e-44 float32", "near ties float64"} <= set(failing)


@pytest.mark.parametrize("wrong", [float32_expansion, last_of_ties, off_by_one_row])
def test_registered_wrong_backend_is_repaired(wrong):
    certvq.register_backend("wrong", wrong)
    try:
        with np.errstate(all="ignore"):
            assert testing.check_backend("wrong") == []
    finally:
        certvq.unregister_backend("wrong")


def test_a_raising_function_counts_as_failing():
    def refuse(latents, codebook):
        raise certvq.errors.BackendError("no")

    assert len(testing.failing_cases(refuse)) == len(list(testing.contract_cases(large=True)))


CHANGES = {
    "numbers": lambda z, c: z.size >= 128_000,  # as FAISS
    "rows": lambda z, c: len(z) >= 4096,
    "one row": lambda z, c: len(z) == 1,
    "codes": lambda z, c: len(c) >= 1024,
    "codes beyond 16 bits": lambda z, c: len(c) > 65535,
    "dims": lambda z, c: z.shape[1] > 128,
    "scores": lambda z, c: len(z) * len(c) >= 1e6,
    "whole registers": lambda z, c: z.shape[1] % 16 == 0,
    "layout": lambda z, c: not z.flags.c_contiguous,
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_method_from_some_size_on_is_found(change):
    def changes(latents, codebook):
        if CHANGES[change](latents, codebook):
            return float32_expansion(latents, codebook)
        return certvq.assign(latents, codebook).codes

    assert testing.failing_cases(changes) != []


def no_radius(norms, code_norm, dim):
    return np.zeros_like(norms)


MUTANTS = {
    "no radius": (bounds, "score_radius", no_radius),
    "threshold above the best": (
        bounds,
        "candidate_threshold",
        lambda best, radius: best + 2.0 * radius,
    ),
    "no margin on distances": (bounds, "sqdist_lower", bounds.sqdist_upper),
    "exact ties to the highest": (
        _refine,
        "decide_exactly",
        lambda latents, codebook, pairs: pairs.codes[
            np.append(pairs.starts()[1:], len(pairs.codes)) - 1
        ],
    ),
    "distances without exact integers": (
        _refine,
        "decide_exactly",
        lambda latents, codebook, pairs: pairs.codes[pairs.starts()],
    ),
    "too narrow integers": (_exact, "_common_grid", lambda *arrays: (-20, 20)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_suite_finds_a_broken_engine(monkeypatch, mutant):
    """Each step of the argument is needed: without it some case comes out wrong."""
    monkeypatch.setattr(*MUTANTS[mutant])
    assert testing.check_backend("numpy") != []


def test_every_case_is_checked_independently():
    """The independent checker agrees with exact integers on every case."""
    for case in testing.contract_cases(seed=3):
        assignment = certvq.assign(case.latents, case.codebook)
        check.verify(assignment, case.latents, case.codebook)
        assert certvq.audit(case.latents, case.codebook, case.expected()).ok
