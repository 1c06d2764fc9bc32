"""A codebook for files is that of `certvq.kmeans`, mapped, in several files, or in two runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import certvq
from certvq.errors import FileFormatError, NonFiniteError, OptionError
from certvq.jobs import assign_file, kmeans_files
from certvq.jobs._arrays import load_codebook, map_array

ROWS = np.random.default_rng(4).standard_normal((600, 5)).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "z.npy", ROWS)
    return tmp_path / "z.npy"


def test_the_codebook_is_that_of_kmeans_whatever_the_ending(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.arange(600) % 4)
    options = {"iterations": 6, "seed": 3, "metric": "cosine", "start": "random"}
    found = certvq.kmeans(ROWS, 9, weights=np.arange(600) % 4, **options)
    for name in ("c.npy", "c.safetensors"):
        figures = kmeans_files([data], tmp_path / name, 9, weights=tmp_path / "w.npy", **options)
        codebook = load_codebook(tmp_path / name)
        assert codebook.dtype == np.float32
        assert np.array_equal(codebook, found.codebook)
        assert figures["inertia"] == found.inertia
        assert (figures["inertia_of_start"], figures["iterations"]) == (found.history[0], 6)
        assert (figures["rows"], figures["dim"], figures["codebook_size"]) == (600, 5, 9)
        assert figures["largest_cell"] == found.counts.max()
        assert figures["smallest_cell"] == found.counts.min()
        assert (figures["stopped"], figures["empty_cells"]) == ("iterations", 0)
    assert list(load_file(tmp_path / "c.safetensors")) == ["codebook"]


def test_several_files_are_read_as_one(data: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{n}.npy" for n in range(3)]
    for path, rows in zip(parts, np.array_split(ROWS, 3), strict=True):
        np.save(path, rows)
    kmeans_files([data], tmp_path / "one.npy", 8)
    kmeans_files(parts, tmp_path / "three.npy", 8)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "three.npy").read_bytes()
    assert isinstance(map_array(data), np.memmap)


def test_codes_are_assigned_with_a_safetensors_codebook(data: Path, tmp_path: Path) -> None:
    kmeans_files([data], tmp_path / "c.safetensors", 8)
    assign_file(data, tmp_path / "c.safetensors", tmp_path / "i.npy")
    assert np.array_equal(np.load(tmp_path / "i.npy"), certvq.kmeans(ROWS, 8).codes)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(5).standard_normal((60000, 16))
    np.save(data, rows)
    kmeans_files([data], tmp_path / "whole.npy", 256, start="random", iterations=40)
    code = (
        "import sys; from pathlib import Path; from certvq.jobs import kmeans_files; "
        "data, out, state = map(Path, sys.argv[1:]); "
        "kmeans_files([data], out, 256, checkpoint=state, start='random', iterations=40)"
    )
    state, out = tmp_path / "state.npz", tmp_path / "killed.npy"
    with subprocess.Popen([sys.executable, "-c", code, data, out, state]) as process:
        while not state.exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    begun: list[tuple[str, int, int]] = []
    kmeans_files(
        [data],
        out,
        256,
        checkpoint=state,
        progress=lambda *what: begun.append(what),
        start="random",
        iterations=40,
    )
    assert begun[0][0] == "iterations"
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_bad_files_and_outputs_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"c\.bin: must end in \.safetensors or \.npy"):
        kmeans_files([data], tmp_path / "c.bin", 4)
    with pytest.raises(OptionError, match=r"z\.npy: is an input"):
        kmeans_files([data], tmp_path / "c.npy", 4, checkpoint=data)
    with pytest.raises(OptionError, match=r"c\.npy: is named twice; name another file"):
        kmeans_files([data], tmp_path / "c.npy", 4, page=tmp_path / "." / "c.npy")
    (tmp_path / "short.npy").write_bytes(data.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match=r"short\.npy: corrupt, truncated"):
        kmeans_files([tmp_path / "short.npy"], tmp_path / "c.npy", 4)
    (tmp_path / "text.npy").write_text("rows")
    with pytest.raises(FileFormatError, match=r"text\.npy: not an \.npy file"):
        kmeans_files([tmp_path / "text.npy"], tmp_path / "c.npy", 4)
    bad = ROWS.copy()
    bad[77, 2] = np.inf
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(NonFiniteError, match=r"z\.npy, .*bad\.npy: .*got inf at row 677, column 2"):
        kmeans_files([data, tmp_path / "bad.npy"], tmp_path / "c.npy", 4)
    assert not (tmp_path / "c.npy").exists()


def test_a_safetensors_file_must_hold_a_codebook(tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match=r"c\.safetensors: is no \.safetensors file"):
        load_codebook(tmp_path / "c.safetensors")
    save_file({"weight": ROWS}, tmp_path / "c.safetensors")
    with pytest.raises(FileFormatError, match="must hold an array named codebook, has weight"):
        load_codebook(tmp_path / "c.safetensors")
