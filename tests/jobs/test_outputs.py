"""Pictures and arrays come back from their files exactly."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certvq.jobs._outputs import write_arrays, write_pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_to_the_bit(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    assert write_pictures(tmp_path, {"below/p.png": pixels}) == {}
    with Image.open(tmp_path / "below" / "p.png") as image:
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("order", [1, -1])
def test_names_that_the_file_system_does_not_take_are_returned(tmp_path: Path, order: int) -> None:
    names = ["x.png", "x.png/y.png", f"{'n' * 252}.png", f"{'n' * 251}.png", "z.png"][::order]
    refused = write_pictures(tmp_path, dict.fromkeys(names, np.zeros((2, 2, 3), np.uint8)))
    above, same = "a folder above it has the name of another file", "a folder has its name"
    clash = {"x.png/y.png": above} if order == 1 else {"x.png": same}
    assert refused == {**clash, f"{'n' * 252}.png": "its name is too long for a file here"}
    assert all((tmp_path / name).is_file() for name in names if name not in refused)


def test_arrays_of_any_key_come_back_to_the_bit(tmp_path: Path) -> None:
    """`numpy.savez` cannot hold a key "file", which an image may well be named."""
    arrays = {"file": np.arange(3.0), "cats/tom": np.array([[np.inf]]), "x.npy": np.zeros((0, 2))}
    write_arrays(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert {key: found[key].tolist() for key in found.files} == {
            key: array.tolist() for key, array in arrays.items()
        }
