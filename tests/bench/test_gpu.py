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
    own, cdist, addmm = (row["median_ms"] for row in found["results"][:3])
    compared = found["summaries"][0]
    assert (compared["cell"], compared["share_of_peak"]) == ("40x30x8", None)
    assert compared["times_as_fast_as"] == pytest.approx(
        {"cdist float32": cdist / own, "addmm bfloat16": addmm / own}
    )
    assert compared["reached"] == {
        "cdist float32": cdist >= 5 * own,
        "addmm bfloat16": addmm >= own,
    }
    assert found["failures"] == {}


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


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GPU.torch.OutOfMemoryError("no room"), "out of memory"),
        (GPU.DeviceMemoryError("no room"), "out of memory"),
        (RuntimeError("invalid configuration"), "RuntimeError: invalid configuration"),
    ],
)
def test_a_contender_that_fails_has_no_times(monkeypatch, tmp_path, capsys, error, text):
    def refuse():
        raise error

    whole, out = GPU.contenders, tmp_path / "gpu.json"
    monkeypatch.setattr(GPU, "contenders", lambda *given: {**whole(*given), "vast": refuse})
    words = ["--cells", "7x5x2", "--rounds", "1", "--matmul", "32", "--out", str(out)]
    assert GPU.main(words) == 1
    found = json.loads(out.read_text())
    assert found["failures"] == {"7x5x2 vast": text}
    last = found["results"][-1]
    assert (last["contender"], last["median_ms"], last["rate"], last["error"]) == (
        "vast",
        None,
        None,
        text,
    )
    assert f"vast             {text}" in capsys.readouterr().out


def test_a_device_that_multiplies_no_matrices_does_not_stop_the_cells(monkeypatch, tmp_path):
    def refuse(*_):
        raise RuntimeError("no cuBLAS")

    out = tmp_path / "gpu.json"
    monkeypatch.setattr(GPU, "matmul_rate", refuse)
    assert GPU.main(["--cells", "7x5x2", "--rounds", "1", "--out", str(out)]) == 1
    found = json.loads(out.read_text())
    assert found["failures"] == {"matmul": "RuntimeError: no cuBLAS"}
    assert [row["share_of_matmul"] for row in found["results"]] == [None] * 3


def test_certified_codes_are_audited(monkeypatch, tmp_path):
    whole = GPU.contenders

    def wrong(latents, codebook):
        racing = whole(latents, codebook)
        own = racing[GPU.CERTIFIED]
        return {**racing, GPU.CERTIFIED: lambda: (own() + 1) % len(codebook)}

    out = tmp_path / "gpu.json"
    monkeypatch.setattr(GPU, "contenders", wrong)
    words = ["--cells", "900x5x2", "--rounds", "1", "--matmul", "32", "--out", str(out)]
    assert GPU.main(words) == 1
    assert json.loads(out.read_text())["failures"] == {"900x5x2": "256 certified codes are wrong"}


@pytest.mark.parametrize(
    ("most", "tried"),
    [
        (5000, [5000]),
        (2000, [5000, 2500, 1250, 1250, 1250, 1250]),
        (1023, [5000, 2500, 1250, 1024]),
    ],
)
def test_peers_take_as_many_rows_at_a_time_as_fit(most, tried):
    rows, fitting, sizes = GPU.torch.arange(5000), {}, []

    def nearest(part):
        sizes.append(len(part))
        if len(part) > most:
            raise GPU.torch.OutOfMemoryError
        return part * 2

    def run():
        return GPU.in_parts(nearest, rows, fitting, "peer")

    if most < GPU.FEWEST:
        with pytest.raises(GPU.torch.OutOfMemoryError):
            run()
        assert sizes == tried
    else:
        assert GPU.torch.equal(run(), rows * 2)
        assert sizes == tried
        run()
        assert sizes[len(tried) :] == [size for size in tried if size <= most]


def test_devices_are_described_by_what_torch_knows_of_them(monkeypatch):
    class Properties:
        total_memory, multi_processor_count = 85 << 30, 132

    cuda = GPU.torch.cuda
    monkeypatch.setattr(cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setattr(cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(cuda, "get_device_capability", lambda _: (9, 0))
    found = GPU.machine(GPU.torch.device("cuda"))
    assert (found["capability"], found["multi_processor_count"]) == ([9, 0], 132)
    assert "clock_rate" not in found


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


def test_suite_without_a_device_tells_the_user_what_to_do(tmp_path):
    """And runs no test, all of which would fail."""
    out = tmp_path / "suite.json"
    environment = {**os.environ, "PYTHONPATH": "src", "TRITON_INTERPRET": "0"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "bench/gpu_suite.py", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a CUDA device, and torch finds none" in done.stderr
    assert not out.exists()
