"""Read one part, trusting nothing in it, a row group at a time.

In: the path of a part, or of a token file of one part. Out: its header, and blocks of rows, or an
error that names the file. Must not know of the manifest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from certvq._files.limits import require_room
from certvq.errors import FileFormatError
from certvq.tokens._job import job_of
from certvq.tokens._manifest import part_of, require_format, require_seal
from certvq.tokens._part import SET_FORMAT, Part, file_sha256, part_schema
from certvq.tokens._read import (
    AGAIN,
    MAGIC,
    NUMBER,
    damaged,
    header_json,
    read_tokens,
    require_columns,
)
from certvq.tokens._record import TokenRecord
from certvq.tokens._sizes import sizes_of_file
from certvq.tokens._write import FORMAT


@dataclass(frozen=True)
class Block:
    """The rows of one row group.

    Attributes:
        table: its columns.
        modality: of all rows, where there is no such column.
    """

    table: pa.Table
    modality: str

    @cached_property
    def keys(self) -> list[str]:
        """By row."""
        column = self.table.column("key").combine_chunks()
        words = column.dictionary.to_pylist()
        return [words[index] for index in column.indices.to_pylist()]

    @cached_property
    def modalities(self) -> list[str]:
        """By row."""
        if "modality" not in self.table.column_names:
            return [self.modality] * self.table.num_rows
        return self.table.column("modality").to_pylist()

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """By row."""
        return [tuple(row) for row in self.table.column("shape").to_pylist()]

    @cached_property
    def sizes(self) -> list[tuple[int, ...]]:
        """By row."""
        return [tuple(row) for row in self.table.column("size").to_pylist()]

    @cached_property
    def sides(self) -> list[tuple[float, ...]]:
        """By row; empty where there is no such column."""
        if "side" not in self.table.column_names:
            return [()] * self.table.num_rows
        return [tuple(row) for row in self.table.column("side").to_pylist()]

    @cached_property
    def codes(self) -> np.ndarray:
        """Of all rows, one after another, of the type that is stored."""
        return self._lists.flatten().to_numpy()

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (rows + 1,): where in `codes` each row begins, and where the last one ends."""
        offsets = self._lists.offsets.to_numpy().astype(np.int64)
        return offsets - offsets[0]

    @cached_property
    def _lists(self) -> Any:
        return self.table.column("codes").combine_chunks()

    def record(self, row: int) -> TokenRecord:
        """Make a record of a row.

        Raises:
            DataError, ShapeError, NonFiniteError: the row contradicts itself.
        """
        codes = self.codes[self.offsets[row] : self.offsets[row + 1]].astype(np.int64)
        codes.setflags(write=False)
        place = self.shapes[row], self.sizes[row]
        return TokenRecord(self.keys[row], *place, codes, self.modalities[row], self.sides[row])

    def about(self) -> Iterator[dict[str, Any]]:
        """Give all but the codes of each row, as JSON."""
        columns = {
            "key": self.keys,
            "modality": self.modalities,
            "shape": self.shapes,
            "size": self.sizes,
        }
        if "side" in self.table.column_names:
            columns["side"] = self.sides
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))


@dataclass(frozen=True)
class StoredPart:
    """A part on disk whose header is whole.

    Attributes:
        path: the file.
        part: what its header says; `bytes` and `sha256` are not known there, and are zeros.
        modality: of its rows.
        codebook_sizes: K of each codebook.
        job_sha256: of the job; None for a token file of one part.
        fields: the header as it is written.
    """

    path: Path
    part: Part
    modality: str
    codebook_sizes: tuple[int, ...]
    job_sha256: str | None
    fields: dict[str, Any]

    def measured(self) -> Part:
        """Return what the manifest says of it.

        Raises:
            OSError: the file cannot be read.
        """
        size, checksum = self.path.stat().st_size, file_sha256(self.path)
        return replace(self.part, bytes=size, sha256=checksum)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """Read its rows, a row group at a time.

        Args:
            columns: names; None for all.

        Raises:
            FileFormatError: the file is damaged.
        """
        names = None if columns is None else list(columns)
        try:
            # keys as a dictionary: one long key, written once, may stand in every row
            with damaged(), _opened(self.path, read_dictionary=["key"]) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=names)
                    table.validate(full=True)
                    if table.num_rows:
                        yield Block(table, self.modality)
        except FileFormatError as error:
            raise _named(self.path, error) from error


def is_part(path: Path) -> bool:
    """Say whether a file is a part of a data set; not so of damaged ones, nor of other files."""
    try:
        with damaged(), _opened(path) as file:
            return header_json(file).get("format") == SET_FORMAT
    except (FileFormatError, OSError):
        return False


def open_part(path: Path) -> StoredPart:
    """Open a part, or a file that `write_tokens` has written.

    Raises:
        FileFormatError: it cannot be opened, is truncated or damaged, of another origin or of
            another format; the text names the file.
    """
    try:
        _require_ends(path)
        with damaged(), _opened(path) as file:
            schema, fields = file.schema_arrow, header_json(file)
        if fields.get("format") == FORMAT:
            return _single(path, fields)
        require_format(fields)
        require_seal(fields)
        job = job_of(fields["job"])
        part = part_of(fields | {"bytes": 0, "sha256": "0" * 64}, job.ways)
        require_columns(schema, part_schema(job.codebook_sizes, side=job.side))
        _require_room(path)
    except FileFormatError as error:
        raise _named(path, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"{path}: its header is damaged ({error}); {AGAIN}") from error
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be opened ({error.strerror}); name a data set or a token file"
        ) from error
    return StoredPart(path, part, job.modality, job.codebook_sizes, fields["job_sha256"], fields)


def _single(path: Path, fields: dict[str, Any]) -> StoredPart:
    """Check a token file as `read_tokens` does, which reads it whole."""
    found = read_tokens(path)
    tokens = sum(record.codes.size for record in found.records)
    ways = found.header.decided_by
    part = Part(0, len(found.records), tokens, 0, "0" * 64, ways)
    return StoredPart(path, part, "image", (found.header.codebook_size,), None, fields)


def _require_ends(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(size - 4, 0))
        if begin != MAGIC:
            raise FileFormatError("is empty or no Parquet file; name a token file of certvq")
        if size < 12 or file.read() != MAGIC:
            raise FileFormatError(f"is truncated, {size} bytes are left; {AGAIN}")


def _opened(path: Path, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True, **options)


def _require_room(path: Path) -> None:
    """Refuse a file of which a row group would take far more memory than the file is large."""
    with damaged():
        sizes = sizes_of_file(path)
    require_room("a row group", sizes.largest(NUMBER), path.stat().st_size)


def _named(path: Path, error: FileFormatError) -> FileFormatError:
    text = str(error)
    return error if text.startswith(f"{path}: ") else FileFormatError(f"{path}: {text}")
