"""`bench/gpu.py` and `bench/gpu_suite.py` from end to end, on tiny sizes in the interpreter."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


GPU = load("gpu")


def test_every_contender_is_timed_and_its_wrong_codes_are_counted(tmp_path, capsys):
    out = tmp_path / "new" / "gpu.json"
    words = ["--cells", "40x30x8", "20x9x32", "--rounds", "2", "--matmul", "32", "--out", str(out)]
    assert GPU.main(words) == 0
    found = json.loads(out.read_text())
    assert found["interpreted"] == (os.environ["TRITON_INTERPRET"] == "1")
    assert found["matmul_rate"] > 0
    cells = [(row["cell"], row["contender"]) for row in found["results"]]
    names = ["certvq triton", "cdist float32", "addmm bfloat16"]
    assert cells == [(cell, name) for cell in ("40x30x8", "20x9x32") for name in names]
    for row in found["results"]:
        assert 0 < row["fastest_ms"] <= row["median_ms"]
        assert row["share_of_matmul"] == pytest.approx(row["rate"] / found["matmul_rate"])
        assert row["wrong_codes"] == 0 or row["contender"] == "addmm bfloat16"
    work = 2 * 40 * 30 * 8
    first = found["results"][0]
    assert first["rate"] == pytest.approx(work / first["median_ms"] * 1e3)
    assert capsys.readouterr().out.count("wrong codes") == 6


def test_a_cell_that_fails_is_recorded_and_the_others_are_measured(monkeypatch, tmp_path, capsys):
    out, whole, kept = tmp_path / "gpu.json", GPU.measure, []

    def measure(cell, *others):
        if cell == "9x8x7":
            raise RuntimeError("no kernel image")
        if out.exists():
            kept.append(json.loads(out.read_text()))
        return whole(cell, *others)

    monkeypatch.setattr(GPU, "measure", measure)
    words = ["--cells", "9x8x7", "7x5x2", "--rounds", "1", "--matmul", "32", "--out", str(out)]
    assert GPU.main(words) == 1
    assert kept[0]["failures"] == {"9x8x7": "RuntimeError: no kernel image"}
    assert {row["cell"] for row in json.loads(out.read_text())["results"]} == {"7x5x2"}
    assert "9x8x7 failed: RuntimeError: no kernel image" in capsys.readouterr().err


def test_wrong_codes_of_a_contender_are_counted(monkeypatch):
    whole = GPU.contenders

    def with_liar(latents, codebook):
        racing = whole(latents, codebook)
        return {**racing, "liar": lambda: racing["certvq triton"]() + 1}

    monkeypatch.setattr(GPU, "contenders", with_liar)
    found = GPU.measure("7x5x2", GPU.torch.float32, GPU.device_at_hand(), 1)
    assert [row.wrong_codes for row in found][-1] == 7


def test_a_contender_without_memory_has_no_times(monkeypatch):
    def refuse():
        raise GPU.torch.OutOfMemoryError

    whole = GPU.contenders
    monkeypatch.setattr(GPU, "contenders", lambda *given: {**whole(*given), "vast": refuse})
    found = GPU.measure("7x5x2", GPU.torch.float32, GPU.device_at_hand(), 1)
    assert (found[-1].contender, found[-1].median_ms, found[-1].rate) == ("vast", None, None)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("Tesla T4", None)],
)
def test_peaks_are_found_by_name(name, peak):
    assert GPU.peak_of(name) == peak


def test_without_a_device_the_user_is_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(GPU._triton, "INTERPRETED", False)
    monkeypatch.setattr(GPU.torch.cuda, "is_available", lambda: False)
    assert GPU.main([]) == 2
    assert "needs a CUDA device, and torch finds none" in capsys.readouterr().err


def test_suite_writes_outcomes_and_shares_of_the_bound(tmp_path):
    """In a process of its own, with nothing but a checkout on the path."""
    out = tmp_path / "suite.json"
    test = "test_one_instruction_errs_by_at_most_what_the_axiom_says"
    environment = {**os.environ, "PYTHONPATH": "src", "TRITON_INTERPRET": "1"}
    command = [sys.executable, "bench/gpu_suite.py", "--out", str(out)]
    command.append(f"tests/_triton/test_accumulate.py::{test}")
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(out.read_text())
    assert found["counts"] == {"passed": 20}
    lines = (tmp_path / "suite.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == found["tests"]
    assert 0 < found["greatest share of the axiom's bound"] < 1
    assert found["interpreted"]
