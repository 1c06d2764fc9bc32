"""Certifying codes in files; what the command shows of it is tested with the command."""

import os
from pathlib import Path

import numpy as np
import pytest

from certvq.errors import OptionError
from certvq.jobs import certify_file


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    np.save(tmp_path / "z.npy", np.array([[0.25], [0.75], [0.5]], dtype=np.float16))
    np.save(tmp_path / "c.npy", np.array([[0.0], [1.0]]))
    np.save(tmp_path / "i.npy", np.array([0, 0, 1], dtype=np.uint8))
    return tmp_path / "z.npy", tmp_path / "c.npy", tmp_path / "i.npy"


def test_repaired_codes_are_ok_and_the_given_ones_are_not(
    paths: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found = certify_file(*paths, on_violation="repair", out=tmp_path / "new.npy")
    assert (found.ok, found.repaired, found.lean, len(found.audit.violations)) == (
        True, True, None, 2,
    )  # fmt: skip
    codes = np.load(tmp_path / "new.npy")
    assert (codes.dtype, codes.tolist()) == (np.int64, [0, 1, 0])
    new = (*paths[:2], tmp_path / "new.npy")
    again = certify_file(*new, on_violation="repair", out=paths[2])
    assert (again.ok, again.repaired) == (True, False)


@pytest.mark.parametrize("on_violation", ["raise", "report"])
def test_wrong_codes_are_not_ok_and_nothing_is_written(
    paths: tuple[Path, Path, Path], tmp_path: Path, on_violation: str
) -> None:
    before = set(tmp_path.iterdir())
    found = certify_file(
        *paths, on_violation=on_violation, out=tmp_path / "new.npy", lean=tmp_path / "new.lean"
    )
    assert (found.ok, found.lean) == (False, None)
    assert set(tmp_path.iterdir()) == before


def test_an_unknown_option_is_named(paths: tuple[Path, Path, Path]) -> None:
    with pytest.raises(OptionError, match="must be raise, repair or report, got 'mend'"):
        certify_file(*paths, on_violation="mend")


@pytest.mark.parametrize("option", ["out", "lean"])
def test_a_folder_is_no_file_to_write(
    paths: tuple[Path, Path, Path], tmp_path: Path, option: str
) -> None:
    with pytest.raises(OptionError, match=r"is a folder; name a file"):
        certify_file(*paths, **{option: tmp_path})


def test_each_file_is_read_once_so_that_a_pipe_will_do(
    paths: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    pipes: list[Path] = []
    for path in paths:
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as file:
            file.write(path.read_bytes())
        pipes.append(Path(f"/dev/fd/{reader}"))
    out, lean = tmp_path / "new.npy", tmp_path / "new.lean"
    latents, codebook, codes = pipes
    assert certify_file(latents, codebook, codes, on_violation="repair", out=out, lean=lean).ok
    for pipe in pipes:
        os.close(int(pipe.name))
    assert np.load(out).tolist() == [0, 1, 0]
    assert lean.is_file()
