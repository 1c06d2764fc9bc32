"""Input parts to items: one after another, none of them decoded.

In: an `InputPart`. Out: an iterator of `Item`, whose data are a path, bytes, or a view of a mapped
array; memory holds a few of them. Must not import torch.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from certvq._files.damage import naming_damage
from certvq._files.limits import require_room
from certvq._files.npy import map_npy, read_npz_member
from certvq.errors import DataError, FileFormatError, OptionError
from certvq.tokenize._plan import IMAGES, SOUNDS, InputPart
from certvq.tokens._sizes import sizes_of_file

Data: TypeAlias = "bytes | str | NDArray[Any] | SoundWindow"

ROWS_PER_ITEM: Final = 4096
"""How many rows of an array (N, D) make one item."""

_CHUNK: Final = 64
_CHUNK_BYTES: Final = 64 << 20
_NAMES: Final = ("image", "audio", "img", "jpg", "png", "wav", "flac", "bytes")
_LOCAL_HEADER: Final = 30


@dataclass(frozen=True, eq=False)
class SoundWindow:
    """A piece of a sound.

    Attributes:
        sound: the bytes of a file, or its path.
        first: sample that it begins with.
        count: of its samples.
        share: of all samples of the sound.
    """

    sound: bytes | str
    first: int
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class Item:
    """One input.

    Attributes:
        key: unique in the set.
        origin: where it lies, for people.
        data: the bytes of a file, its path, a window of a sound, or latents.
        problem: why it cannot be used, if that is known without decoding it.
    """

    key: str
    origin: str
    data: Data = b""
    problem: str | None = None


def items(part: InputPart, *, column: str | None = None) -> Iterator[Item]:
    """Go through the items of a part.

    Args:
        part: from `plan`.
        column: of a Parquet file; None finds the one that holds images or sounds.

    Raises:
        DataError: the file is damaged, or would take far more memory than it is large; it is named.
        OptionError: it lacks the column.
    """
    if part.kind == "files":
        for name, key in zip(part.names, part.keys, strict=True):
            path = str(part.path / name)
            yield Item(key, path, path)
        return
    read = {"parquet": _parquet, "tar": _tar, "array": _array}[part.kind]
    try:
        with naming_damage(part.path, kind=DataError):
            yield from read(part.path, part.keys[0], column)
    except FileFormatError as error:
        raise DataError(str(error)) from error


def _parquet(path: Path, head: str, column: str | None) -> Iterator[Item]:
    import pyarrow.parquet as pq

    with naming_damage(path, "is no whole Parquet file", kind=DataError):
        largest = sizes_of_file(path).largest(0)
        require_room(path, largest, path.stat().st_size)
        file = pq.ParquetFile(path)
    # a value that is written once, in a dictionary, may stand in every row
    rows = max(1, min(_CHUNK, _CHUNK_BYTES // max(1, largest)))
    with file:
        name = _column_of(path, file.schema_arrow, column)
        row = 0
        for batch in file.iter_batches(batch_size=rows, columns=[name]):
            for value in batch.column(0).to_pylist():
                origin, key = f"{path} row {row}", f"{head}/{row:09d}"
                content = value.get("bytes") if isinstance(value, dict) else value
                if isinstance(content, bytes):
                    yield Item(key, origin, content)
                else:
                    yield Item(key, origin, problem=f"column {name!r} holds no bytes")
                row += 1


def _column_of(path: Path, schema: Any, column: str | None) -> str:
    import pyarrow.types as kinds

    def holds_bytes(kind: Any) -> bool:
        if kinds.is_struct(kind):
            at = kind.get_field_index("bytes")
            return at >= 0 and holds_bytes(kind.field(at).type)
        if kinds.is_dictionary(kind):
            return holds_bytes(kind.value_type)
        return any(
            holds(kind) for holds in (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view)
        )

    usable = [field.name for field in schema if holds_bytes(field.type)]
    if column is not None:
        if column in usable:
            return column
        state = "holds no bytes" if column in schema.names else "is missing"
        text = (
            f"{path}: column {column!r} {state}; the columns are {', '.join(schema.names)}"
            f"{f', of which {usable} hold bytes' if usable else ''}"
        )
        raise OptionError(text)
    known = [name for name in _NAMES if name in usable]
    if len(usable) == 1 or known:
        return usable[0] if len(usable) == 1 else known[0]
    wanted = "several columns hold" if usable else "no column holds"
    text = (
        f"{path}: {wanted} bytes of images or sounds, the columns are {', '.join(schema.names)}; "
        "name one with --column"
    )
    raise OptionError(text)


def _tar(path: Path, head: str, column: str | None) -> Iterator[Item]:
    """Read a WebDataset: the sample's key is the path up to the first dot of the file's name."""
    seen: set[str] = set()
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            stem, _, extension = place.name.partition(".")
            suffix = f".{extension.rpartition('.')[2].lower()}"
            wanted = suffix in IMAGES | SOUNDS if column is None else extension == column
            if not member.isfile() or not wanted or not stem:
                continue
            sample = (place.parent / stem).as_posix()
            origin, key = f"{path}: {member.name}", f"{head}/{sample}"
            content = archive.extractfile(member)
            if key in seen:
                yield Item(f"{head}/{member.name}", origin, problem=f"is a second file of {sample}")
            elif content is not None:
                require_room(origin, member.size, path.stat().st_size)
                seen.add(key)
                yield Item(key, origin, content.read())


def _array(path: Path, head: str, column: str | None) -> Iterator[Item]:
    if path.suffix.lower() == ".npy":
        yield from _rows(path, head, map_npy(path))
        return
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if column is None or name == column:
                yield from _rows(path, f"{head}/{name}", _member(path, archive, info))


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Map an array of an `.npz` file; one that is compressed is read whole."""
    if info.compress_type != zipfile.ZIP_STORED:
        require_room(path, info.file_size, path.stat().st_size)
        return read_npz_member(archive, info)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return map_npy(path, info.header_offset + _LOCAL_HEADER + lengths, info.file_size)


def _rows(path: Path, head: str, array: NDArray[Any]) -> Iterator[Item]:
    """Cut (N, D) into blocks of rows, and (N, ..., D) into N items."""
    if array.ndim < 2:
        raise DataError(f"{path}: latents must be (N, D) or (N, ..., D), got {array.shape}")
    step = ROWS_PER_ITEM if array.ndim == 2 else 1
    for row in range(0, len(array), step):
        block = array[row : row + step] if array.ndim == 2 else array[row]
        yield Item(f"{head}/{row:09d}", f"{path} row {row}", block)
