"""Codes for a file of latents are those of `certvq.assign`, however the file is cut into blocks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import certvq
from certvq.errors import BackendUnavailableError, NonFiniteError, ShapeError
from certvq.jobs import _arrays as blocks_module
from certvq.jobs import assign_file

Snapshot = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[Path, Path]:
    draw = np.random.default_rng(2)
    np.save(tmp_path / "z.npy", draw.normal(size=(50, 3)).astype(np.float32))
    np.save(tmp_path / "c.npy", draw.normal(size=(7, 3)))
    return tmp_path / "z.npy", tmp_path / "c.npy"


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_blocks_do_not_change_a_code(
    arrays: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(blocks_module, "_BLOCK", block)
    figures = assign_file(*arrays, tmp_path / "codes.npy")
    found = certvq.assign(np.load(arrays[0]), np.load(arrays[1]))
    codes = np.load(tmp_path / "codes.npy")
    assert codes.dtype == np.int64
    assert np.array_equal(codes, found.codes)
    assert figures["decided_by"] == found.counts()
    assert (figures["rows"], figures["dim"], figures["codebook_size"]) == (50, 3, 7)
    assert figures["codes_used"] == len(set(found.codes.tolist()))
    assert figures["mean_sqdist"] == pytest.approx(found.sqdist.mean(), rel=1e-12)
    assert figures["seconds"] > 0


def test_no_latents_give_no_codes(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((0, 2)))
    np.save(tmp_path / "c.npy", np.zeros((1, 2)))
    figures = assign_file(tmp_path / "z.npy", tmp_path / "c.npy", tmp_path / "codes.npy")
    assert (figures["rows"], figures["mean_sqdist"]) == (0, 0.0)
    assert np.load(tmp_path / "codes.npy").shape == (0,)


def test_progress_is_told_of_blocks(
    arrays: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "_BLOCK", 20)
    told: list[tuple[str, int, int]] = []
    assign_file(*arrays, tmp_path / "codes.npy", progress=lambda *call: told.append(call))
    assert told == [("assigning", done, 50) for done in (20, 40, 50)]


def test_the_codebook_of_a_model_may_be_used(model_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((3, 4)))
    figures = assign_file(tmp_path / "z.npy", model_dir, tmp_path / "codes.npy")
    assert (figures["codebook_size"], figures["dim"]) == (8, 4)


def test_arrays_that_do_not_fit_are_named(tmp_path: Path, snapshot: Snapshot) -> None:
    np.save(tmp_path / "z.npy", np.zeros((3, 4)))
    np.save(tmp_path / "c.npy", np.zeros((2, 5)))
    before = snapshot(tmp_path)
    with pytest.raises(
        ShapeError, match=r"z\.npy, .*c\.npy: .*got latents \(3, 4\) and a codebook"
    ):
        assign_file(tmp_path / "z.npy", tmp_path / "c.npy", tmp_path / "codes.npy")
    assert snapshot(tmp_path) == before


def test_a_bad_number_is_named_by_its_row_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = np.zeros((9, 2))
    latents[7, 1] = np.nan
    np.save(tmp_path / "z.npy", latents)
    np.save(tmp_path / "c.npy", np.zeros((2, 2)))
    monkeypatch.setattr(blocks_module, "_BLOCK", 4)
    with pytest.raises(NonFiniteError, match=r"z\.npy.*got nan at row 7, column 1"):
        assign_file(tmp_path / "z.npy", tmp_path / "c.npy", tmp_path / "codes.npy")
    assert not (tmp_path / "codes.npy").exists()


def test_an_unknown_backend_is_refused(arrays: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="abacus"):
        assign_file(*arrays, tmp_path / "codes.npy", backend="abacus")
    assert not (tmp_path / "codes.npy").exists()
