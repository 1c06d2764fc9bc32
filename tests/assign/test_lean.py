"""`assign(..., backend="lean")`."""

from importlib import import_module

import numpy as np
import pytest

import certvq
from certvq.errors import BackendUnavailableError, LeanError

LATENTS, CODEBOOK = np.array([[0.2], [0.5], [0.9]]), np.array([[0.0], [1.0], [0.0]])


def test_it_is_a_backend():
    assert "lean" in certvq.backends()


def test_without_lean_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CERTVQ_CACHE", str(tmp_path))
    with pytest.raises(BackendUnavailableError, match=r"'lean' cannot run: Lean 4\.28 .*make lean"):
        certvq.assign(LATENTS, CODEBOOK, backend="lean")


def test_no_latents_need_no_lean(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CERTVQ_CACHE", str(tmp_path))
    assert certvq.assign(LATENTS[:0], CODEBOOK, backend="lean").codes.shape == (0,)


def test_what_lean_says_is_returned_and_a_failure_is_not_hidden(monkeypatch):
    module = import_module("certvq.assign._lean")  # `certvq.assign` is the function
    monkeypatch.setattr(module, "run_argmin", lambda problems: [[0, 1, 2]])
    found = certvq.assign(LATENTS, CODEBOOK, backend="lean")
    assert found.codes.tolist() == [0, 1, 2]
    assert found.decided_by.tolist() == [certvq.DecidedBy.EXACT] * 3

    def fail(problems):
        raise LeanError("Lean 4.28.0 took longer than 900 s")

    monkeypatch.setattr(module, "run_argmin", fail)
    with pytest.raises(LeanError, match="took longer than 900 s"):
        certvq.assign(LATENTS, CODEBOOK, backend="lean")
