"""Every kind of image file is read as a second library reads it, or refused by name.

Also of `certvq.data._tiff`.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from certvq.data import read_image
from certvq.errors import DataError

ROOT = Path(__file__).parents[2]


def load_table_writer():
    spec = importlib.util.spec_from_file_location("make_images", ROOT / "docs" / "make_images.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = load_table_writer()


@pytest.mark.rows("kind", WRITER.KINDS)
def test_a_file_is_read_as_a_second_library_reads_it_or_refused(kind, tmp_path):
    path = tmp_path / "file"
    for content, wanted in kind.cases():
        path.write_bytes(content)
        if wanted is None:
            with pytest.raises(DataError):
                read_image(path)
            continue
        found = read_image(path)
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= kind.tolerance


def test_the_table_of_the_page_is_that_of_these_kinds():
    assert WRITER.PAGE.read_text(encoding="utf-8") == WRITER.written()
