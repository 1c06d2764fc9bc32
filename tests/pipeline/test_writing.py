"""Pictures and arrays come back from their files exactly."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certvq.pipeline._writing import write_arrays, write_picture


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_to_the_bit(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    write_picture(tmp_path / "below" / "p.png", pixels)
    with Image.open(tmp_path / "below" / "p.png") as image:
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_arrays_of_any_key_come_back_to_the_bit(tmp_path: Path) -> None:
    """`numpy.savez` cannot hold a key "file", which an image may well be named."""
    arrays = {"file": np.arange(3.0), "cats/tom": np.array([[np.inf]]), "x.npy": np.zeros((0, 2))}
    write_arrays(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert {key: found[key].tolist() for key in found.files} == {
            key: array.tolist() for key, array in arrays.items()
        }
