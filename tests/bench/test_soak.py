"""`bench/soak.py`: its own exact answer is right, and what is wrong is found and saved."""

import importlib.util
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import certvq

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "bench" / "soak.py"


def load_soak():
    spec = importlib.util.spec_from_file_location("soak", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


SOAK = load_soak()


def slow_codes(z, c):
    """The definition, in fractions."""
    vectors = [[Fraction(x) for x in row] for row in c.tolist()]
    codes = []
    for row in z.tolist():
        latent = [Fraction(x) for x in row]
        distances = [sum((a - b) ** 2 for a, b in zip(latent, v, strict=True)) for v in vectors]
        codes.append(distances.index(min(distances)))
    return codes


@pytest.mark.parametrize("generator", sorted({*SOAK.EASY, *SOAK.HARD}, key=lambda g: g.__name__))
@pytest.mark.rows("size", [(12, 7, 3), (6, 9, 1), (5, 1, 4)])
def test_the_exact_answer_is_the_definition(generator, size, rng):
    for _ in range(4):
        z, c = (SOAK.rounded(part, "float64") for part in generator(rng, *size))
        assert SOAK.exact_codes(z, c).tolist() == slow_codes(z, c)


def test_cases_are_the_same_for_the_same_seed():
    one, other = SOAK.make_case(3, 11), SOAK.make_case(3, 11)
    assert one.label == other.label
    assert np.array_equal(one.z, other.z)
    assert np.array_equal(one.c, other.c)


@pytest.mark.slow
def test_three_seconds_without_a_wrong_code(capsys, tmp_path):
    status = SOAK.main(["--seconds", "3", "--seed", "20261122", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert status == 0, told
    assert "; 0 wrong codes" in told
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_code_is_told_and_saved(capsys, tmp_path, monkeypatch):
    assign = certvq.assign

    def off_by_one(latents, codebook, *, backend):
        found = assign(latents, codebook, backend=backend)
        codes = np.asarray(found.codes).copy()
        codes[0] = (codes[0] + 1) % max(2, len(codebook))
        return replace(found, codes=codes)

    monkeypatch.setattr(certvq, "assign", off_by_one)
    status = SOAK.main(["--case", "5", "--seed", "1", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert status == 1
    assert "WRONG: seed 1 case 5, auto " in told
    assert "; 1 wrong codes" in told
    saved = np.load(tmp_path / "soak-1-5-auto.npz")
    assert len(saved["codes"]) == len(saved["latents"])
    assert str(saved["label"]) in told


def test_a_call_that_raises_is_wrong(capsys, tmp_path):
    status = SOAK.main(["--case", "5", "--backend", "nope", "--out", str(tmp_path)])
    assert status == 1
    assert "BackendUnavailableError" in capsys.readouterr().out


def test_all_means_every_fast_backend_that_runs_here():
    found = SOAK.fast_backends()
    assert "numpy" in found
    assert not {"reference", "lean"} & set(found)
