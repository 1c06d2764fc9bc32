"""Arrays become photographs, by key or by number."""

import numpy as np
import pytest

from certvq.data import from_arrays
from certvq.errors import DTypeError, ShapeError


def test_a_mapping_keeps_its_keys_and_order():
    arrays = {"b": np.full((2, 3, 3), 1, np.uint8), "a": np.full((4, 5), 2, np.uint8)}
    made = from_arrays(arrays)
    assert [p.key for p in made] == ["b", "a"]
    assert [p.pixels.shape for p in made] == [(2, 3, 3), (4, 5, 1)]
    assert [int(p.pixels.max()) for p in made] == [1, 2]


def test_a_batch_is_numbered_with_equal_lengths():
    batch = np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 1), np.uint8)
    made = from_arrays(batch)
    assert [p.key for p in made] == [str(i) for i in range(10)]
    assert [int(p.pixels[0, 0, 0]) for p in made] == list(range(10))
    assert from_arrays([batch[0]] * 11)[3].key == "03"


def test_a_generator_is_taken_and_nothing_gives_nothing():
    assert len(from_arrays(np.zeros((2, 2), np.uint8) for _ in range(3))) == 3
    assert from_arrays([]) == []


def test_errors_name_the_key():
    with pytest.raises(DTypeError, match="photograph '1': pixels must be a uint8 array, got bool"):
        from_arrays([np.zeros((2, 2), np.uint8), np.zeros((2, 2), bool)])
    with pytest.raises(ShapeError, match=r"photograph 'x': .* got \(2, 2, 5\)"):
        from_arrays({"x": np.zeros((2, 2, 5), np.uint8)})
