"""Arrays in NumPy's format, whose header is checked before anything is made of it.

In: a stream of bytes of unknown origin. Out: an array as large as the stream, or a `ValueError`
that says what is wrong. Nothing is unpickled. Must not import anything of certvq.
"""

import ast
import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"\x93NUMPY"
NO_NPY: Final = "it is no .npy file"

_LONGEST_HEADER = 10_000  # NumPy's own limit
_MOST_BRACKETS = 64
_KEYS = {"descr", "fortran_order", "shape"}


def read_npy(stream: BinaryIO, size: int) -> NDArray[Any]:
    """Read one array.

    Args:
        stream: at its beginning; nothing may follow the array.
        size: how many bytes it has.

    Raises:
        ValueError: another kind of file, a damaged header, Python objects, or more or less data
            than the header says.

    Cost: memory of `size` bytes.
    """
    dtype, shape, fortran, begin = _header(stream)
    count = math.prod(shape)
    _require_bytes(count * dtype.itemsize, size - begin)
    array = np.empty(count, dtype)
    _fill(stream, array)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def read_npy_of_pipe(stream: BinaryIO) -> NDArray[Any]:
    """Read one array of a stream whose size is not known.

    Raises:
        ValueError: as `read_npy`.
    """
    data = stream.read()
    return read_npy(io.BytesIO(data), len(data))


def map_npy(path: Path, begin: int = 0, size: int | None = None) -> NDArray[Any]:
    """Map one array of a file into memory; no more than its header is read.

    Args:
        path: the file.
        begin: where in it the array begins.
        size: how many bytes it has; None for all that follow.

    Raises:
        ValueError: as `read_npy`.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        file.seek(begin)
        dtype, shape, fortran, head = _header(file)
        left = (os.fstat(file.fileno()).st_size - begin if size is None else size) - head
        _require_bytes(math.prod(shape) * dtype.itemsize, left)
        if not math.prod(shape):
            return np.empty(shape, dtype)
        order = "F" if fortran else "C"
        return np.memmap(file, dtype, "r", offset=begin + head, shape=shape, order=order)


def read_npz_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array of an `.npz` file.

    Raises:
        ValueError: as `read_npy`; further ones of `zipfile`.

    Cost: memory of the size that the archive says; see `certvq._files.limits`.
    """
    with archive.open(member) as stream:
        return read_npy(stream, member.file_size)  # pyright: ignore[reportArgumentType]


def _require_bytes(promised: int, found: int) -> None:
    if promised != found:
        raise ValueError(f"its header promises {promised} bytes, {found} follow")


def _header(stream: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    start = stream.read(8)
    if start[:6] != MAGIC or len(start) < 8:
        raise ValueError(NO_NPY if start[:6] != MAGIC else "it is cut")
    if start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        text = f"its format is {start[6]}.{start[7]}, known are 1.0, 2.0 and 3.0"
        raise ValueError(text)
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        text = f"its header has {length} bytes, {_LONGEST_HEADER} are allowed"
        raise ValueError(text)
    text = stream.read(length)
    if len(text) < length:
        raise ValueError("its header is cut")
    return (*_parsed(text.decode("utf-8" if start[6] == 3 else "latin-1")), 8 + width + length)


def _parsed(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    if sum(map(text.count, "([{")) > _MOST_BRACKETS:
        raise ValueError("its header is nested too deep")
    try:
        fields: Any = ast.literal_eval(text.strip(" \n\t"))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    if not isinstance(fields, dict) or fields.keys() != _KEYS:
        raise ValueError("its header lacks the type, the order or the shape")
    shape, fortran = fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise ValueError("its shape is damaged")
    if not isinstance(fortran, bool) or len(shape) > 32:
        raise ValueError("its header is damaged")
    try:
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
    except Exception as error:  # whatever NumPy makes of a text that names no type
        raise ValueError("its type of number is damaged") from error
    if dtype.hasobject:
        raise ValueError("it is of Python objects")
    if dtype.itemsize == 0:
        raise ValueError("its type has no bytes")
    return dtype, shape, fortran


def _fill(stream: BinaryIO, array: NDArray[Any]) -> None:
    view = array.view(np.uint8).data if array.size else memoryview(b"")
    while view:
        read = stream.readinto(view)  # pyright: ignore[reportAttributeAccessIssue]
        if not read:
            raise ValueError("it is cut")
        view = view[read:]
