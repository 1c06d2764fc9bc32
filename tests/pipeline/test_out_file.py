"""A folder is no file to write to."""

from pathlib import Path

import pytest

from certvq.errors import OptionError
from certvq.pipeline._out_file import require_out_file


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OptionError, match=r"out: is a folder; name a file$"):
        require_out_file(tmp_path / "out")


def test_an_absent_and_an_older_file_may_be_written(tmp_path: Path) -> None:
    require_out_file(tmp_path / "new" / "codes.npy")
    (tmp_path / "codes.npy").touch()
    require_out_file(tmp_path / "codes.npy")
