"""What a reader raises on a damaged file becomes one line; other errors stay what they are."""

import errno
import zlib
from pathlib import Path

import pytest

from certvq._files.damage import naming_damage
from certvq.errors import DataError, FileFormatError, OptionError

PATH = Path("a.npz")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (zlib.error("Error -3"), "Error -3"),
        (OSError("Couldn't deserialize thrift:\n"), "Couldn't deserialize thrift:"),
        (OSError(errno.EINVAL, "Invalid argument"), "[Errno 22] Invalid argument"),
        (NotImplementedError(), "NotImplementedError"),
        (ValueError("x" * 999), "x" * 200),
    ],
)
def test_damage_is_one_line(error: Exception, reason: str) -> None:
    with pytest.raises(FileFormatError) as found, naming_damage(PATH):
        raise error
    assert str(found.value) == f"a.npz: is damaged ({reason}); copy it again"


@pytest.mark.parametrize(
    "error",
    [OptionError("a column"), FileNotFoundError(errno.ENOENT, "No such file"), MemoryError()],
)
def test_other_errors_stay(error: Exception) -> None:
    with pytest.raises(type(error)) as found, naming_damage(PATH, kind=DataError):
        raise error
    assert found.value is error
