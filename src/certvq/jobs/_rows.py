"""Rows of vectors in files, for k-means.

In: paths of `.npy`, `.npz` and Parquet files. Out: arrays, or batches that can be read again and
again. Memory holds a batch of a Parquet file, and nothing of an `.npy` file. Must not import torch.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from certvq._files.damage import naming_damage
from certvq._files.limits import require_room
from certvq._files.npy import read_npz_member
from certvq._types import Array
from certvq.errors import FileFormatError, OptionError
from certvq.jobs._arrays import map_array

_NO_NPZ: Final = "no .npz file of numbers, or damaged"
_NO_PARQUET: Final = "no Parquet file, or damaged"

_BATCH: Final = 1 << 14
"""Rows of a Parquet file at a time."""


def rows_of_files(paths: Sequence[Path], column: str | None = None) -> Any:
    """Open files as one matrix.

    Args:
        paths: `.npy` files of (N, D), which are mapped; `.npz` files; Parquet files with a column
            of lists of one length, or folders of such files, which are read in the order of names.
        column: of the Parquet files, or the array of the `.npz` files; None where there is but one.

    Returns:
        Data for `certvq.kmeans`: an array, or batches.

    Raises:
        FileFormatError: a file is damaged or of another kind, or a folder holds no Parquet file.
        OptionError: there is no such column, or several and none is named.
        OSError: a file cannot be opened.
    """
    parts = [_part(path, column) for given in paths for path in _files(given)]
    return parts[0] if len(parts) == 1 else _Chain(parts)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.parquet"))
    if not found:
        raise FileFormatError(f"{path}: must hold .parquet files, has none")
    return found


def _part(path: Path, column: str | None) -> Any:
    if path.suffix == ".parquet":
        return _ParquetRows(path, column)
    return _load_npz(path, column) if path.suffix == ".npz" else map_array(path)


def _load_npz(path: Path, column: str | None) -> Array:
    with naming_damage(path, _NO_NPZ), zipfile.ZipFile(path) as archive:
        members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
        member = members[_chosen(path, list(members), column)]
        require_room(path, member.file_size, path.stat().st_size)
        return read_npz_member(archive, member)


def _chosen(path: Path, names: Sequence[str], column: str | None) -> str:
    if column is None and len(names) == 1:
        return names[0]
    if column is None or column not in names:
        among = ", ".join(map(repr, names)) or "none"
        text = f"{path}: column must be one of its arrays or lists, {among}, got {column!r}"
        raise OptionError(text)
    return column


class _Chain:
    """Batches of several parts, one after the other."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[Array]:
        for part in self._parts:
            yield from part if isinstance(part, _ParquetRows) else [part]


class _ParquetRows:
    """Batches of a column of lists.

    Args:
        path: the file.
        column: which; None where there is but one.
    """

    def __init__(self, path: Path, column: str | None) -> None:
        self._path = path
        from certvq.tokens._read import NUMBER
        from certvq.tokens._sizes import sizes_of_file

        with naming_damage(path, _NO_PARQUET):
            require_room(path, sizes_of_file(path).largest(NUMBER), path.stat().st_size)
        schema = self._opened().schema_arrow
        lists = [field.name for field in schema if _is_list(field.type)]
        self._column = _chosen(path, lists, column)

    def __iter__(self) -> Iterator[Array]:
        start = 0
        with naming_damage(self._path, _NO_PARQUET):
            for batch in self._opened().iter_batches(_BATCH, columns=[self._column]):
                yield self._matrix(batch.column(0), start)
                start += batch.num_rows

    def _opened(self) -> Any:
        import pyarrow.parquet as pq

        with naming_damage(self._path, _NO_PARQUET):
            return pq.ParquetFile(self._path, memory_map=True)

    def _matrix(self, lists: Any, start: int) -> Array:
        import pyarrow.compute as pc

        lists = getattr(lists, "storage", lists)
        lengths = pc.call_function("list_value_length", [lists]).to_numpy(zero_copy_only=False)
        other = np.flatnonzero(~(lengths == lengths[:1]))  # of a list that is missing it is NaN
        numbers = lists.flatten()
        if other.size or numbers.null_count:
            row = start + (int(other[0]) if other.size else 0)
            text = (
                f"{self._path}: column {self._column!r} must have full lists of one length, "
                f"row {row} or one after it differs from row {start}; remove such rows"
            )
            raise FileFormatError(text)
        width = int(lengths[0]) if len(lengths) else 1
        return numbers.to_numpy(zero_copy_only=False).reshape(-1, width)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    types = pa.types
    return any(
        test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list)
    )
