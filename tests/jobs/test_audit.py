"""An audit of arrays finds each wrong code, with its row in the file.

Also of `certvq.jobs._arrays`.
"""

from pathlib import Path

import numpy as np
import pytest

from certvq.errors import CodeRangeError, ShapeError
from certvq.jobs import _arrays as blocks_module
from certvq.jobs import audit_arrays


def _save(folder: Path, codes: list[int]) -> tuple[Path, Path, Path]:
    np.save(folder / "z.npy", np.array([[0.25], [0.75], [0.5], [3.0]]))
    np.save(folder / "c.npy", np.array([[0.0], [1.0], [2.0]]))
    np.save(folder / "i.npy", np.array(codes))
    return folder / "z.npy", folder / "c.npy", folder / "i.npy"


def test_right_codes_pass(tmp_path: Path) -> None:
    found = audit_arrays(*_save(tmp_path, [0, 1, 0, 2]))
    assert found.ok
    assert found.to_json() == {"rows": 4, "audit_violations": 0, "violations": []}


@pytest.mark.parametrize("block", [1, 3, 100])
def test_each_wrong_code_is_found_with_its_row_and_excess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(blocks_module, "_BLOCK", block)
    found = audit_arrays(*_save(tmp_path, [0, 0, 1, 0]))
    assert not found.ok
    assert found.to_json() == {
        "rows": 4,
        "audit_violations": 3,
        "violations": [
            {"row": 1, "code": 0, "nearest": 1, "excess": 0.5},
            {"row": 2, "code": 1, "nearest": 0, "excess": 0.0},
            {"row": 3, "code": 0, "nearest": 2, "excess": 8.0},
        ],
    }


def test_codes_out_of_range_are_named_by_their_row_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "_BLOCK", 2)
    with pytest.raises(
        CodeRangeError, match=r"i\.npy: codes must lie in range\(3\), got 3 at row 3"
    ):
        audit_arrays(*_save(tmp_path, [0, 1, 0, 3]))


def test_one_code_too_few_is_named(tmp_path: Path) -> None:
    text = r"i\.npy: codes must have shape \(4,\), one for each latent, got \(3,\)"
    with pytest.raises(ShapeError, match=text):
        audit_arrays(*_save(tmp_path, [0, 1, 0]))
