"""Read a token file, trusting nothing in it.

In: a path. Out: header and records, checked against each other and against a checksum, or an error
that names the file. Must not import torch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from certvq._files.json import loads
from certvq._files.limits import require_room
from certvq.errors import CertVQError, FileFormatError
from certvq.tokens._digest import content_digest
from certvq.tokens._record import TokenFile, TokenHeader, TokenRecord, require_consistent
from certvq.tokens._sizes import parquet_sizes
from certvq.tokens._write import FORMAT, METADATA_KEY, token_schema

AGAIN: Final = "encode the photographs again, or fetch the file again"
"""What to do about a damaged file."""

NUMBER: Final = 16
"""Bytes of memory for each number: as it is stored, and in 64 bits."""

_RECORD: Final = 600
"""Likewise for each record, which takes 300 as measured: twice that."""

MAGIC = b"PAR1"
"""How a token file begins and ends."""

_DESCRIBED: Final = b"\x18%c%b\x18" % (len(METADATA_KEY), METADATA_KEY)
"""How a footer holds the header: Thrift's mark of a text, the key, and the mark of the value."""


def read_tokens(path: str | Path) -> TokenFile:
    """Read and check a token file.

    Args:
        path: a file that `write_tokens` has written.

    Returns:
        Header and records, as they were written.

    Raises:
        FileFormatError: the file cannot be opened, is no Parquet file, is truncated or damaged, is
            Parquet of another origin or of an unknown format, or its parts contradict each other or
            the checksum. The text names the file, what was found and what to do.

    Guarantee: what is returned has the checksum that was computed when the file was written; keys
    are unique and safe as file names, each code is in ``range(codebook_size)``, and each record has
    one code for each cell of its grid.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be opened ({error.strerror}); name a token file of certvq"
        ) from error
    try:
        header, records = _parse(data)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except CertVQError as error:
        raise FileFormatError(f"{path}: {error}; {AGAIN}") from error
    return TokenFile(header, records, path)


def _parse(data: bytes) -> tuple[TokenHeader, tuple[TokenRecord, ...]]:
    file = _opened(data)
    content = _metadata(file)
    checksum = content.pop("sha256")
    version = content.pop("format")
    header = TokenHeader(**content)
    require_columns(file.schema_arrow, token_schema(header.codebook_size))
    _require_sizes(data)
    records = _records(data)
    require_consistent(records, header)
    found = content_digest({"format": version, **content}, records)
    if found != checksum:
        raise FileFormatError(
            f"damaged: the content has the checksum {found[:12]}, but {str(checksum)[:12]} was "
            f"written; {AGAIN}"
        )
    return header, records


def is_token_file(path: Path) -> bool:
    """Say whether a file ends as the Parquet files of certvq do; no more is read of it."""
    try:
        with path.open("rb") as file:
            file.seek(-8, os.SEEK_END)
            length, magic = int.from_bytes(file.read(4), "little"), file.read()
            file.seek(-8 - length, os.SEEK_END)
            return magic == MAGIC and _DESCRIBED in file.read(length)
    except OSError:
        return False


def _opened(data: bytes) -> pq.ParquetFile:
    if not data.startswith(MAGIC):
        raise FileFormatError("is empty or no Parquet file; name a token file of certvq")
    if len(data) < 12 or not data.endswith(MAGIC):
        raise FileFormatError(f"is truncated, {len(data)} bytes are left; {AGAIN}")
    with damaged():
        return pq.ParquetFile(pa.BufferReader(data))


@contextmanager
def damaged() -> Iterator[None]:
    """Say that a file is damaged, whatever pyarrow makes of it in a block.

    Raises:
        FileFormatError: likewise.
    """
    try:
        yield
    except (MemoryError, FileFormatError):
        raise
    except Exception as error:  # whatever pyarrow makes of damaged bytes
        reason = str(error).partition("\n")[0]
        raise FileFormatError(f"is damaged Parquet ({reason}); {AGAIN}") from error


def header_json(file: pq.ParquetFile) -> dict[str, Any]:
    """Return the header of an open file of tokens.

    Raises:
        FileFormatError: there is none, or it is no JSON object.
    """
    text = (file.metadata.metadata or {}).get(METADATA_KEY)
    if text is None:
        raise FileFormatError(
            f"is a Parquet file without the header {METADATA_KEY.decode()!r}; "
            "name a token file of certvq"
        )
    try:
        content = loads(text)
    except ValueError as error:
        raise FileFormatError(f"its header is no JSON ({error}); {AGAIN}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"its header is no JSON object but {type(content).__name__}; {AGAIN}")
    return content


def _metadata(file: pq.ParquetFile) -> dict[str, Any]:
    content = header_json(file)
    if content.get("format") != FORMAT:
        raise FileFormatError(
            f"is of format {content.get('format')!r}, and this version of certvq reads format "
            f"{FORMAT}; use the version that wrote it"
        )
    known = {"format", "sha256", *(field.name for field in fields(TokenHeader))}
    if set(content) != known:
        raise FileFormatError(
            f"its header lacks {sorted(known - set(content))} and has the unknown "
            f"{sorted(set(content) - known)}; {AGAIN}"
        )
    return content


def require_columns(schema: pa.Schema, wanted: pa.Schema) -> None:
    """Require the names and types of columns.

    Raises:
        FileFormatError: they are others; both are told.
    """
    if not schema.equals(wanted):
        raise FileFormatError(
            f"has the columns ({_columns(schema)}), needs ({_columns(wanted)}); {AGAIN}"
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(
        f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema
    )


def _require_sizes(data: bytes) -> None:
    """Refuse a file that would take far more memory than it is large."""
    with damaged():
        sizes = parquet_sizes(data)
    needed = sizes.unpacked + NUMBER * sizes.numbers + _RECORD * sizes.rows
    require_room("its content", needed, len(data))


def _records(data: bytes) -> tuple[TokenRecord, ...]:
    with damaged():
        # keys as a dictionary: one long key, written once, may stand in every row
        table = pq.ParquetFile(pa.BufferReader(data), read_dictionary=["key"]).read()
        table.validate(full=True)
        keys = [key for chunk in table.column("key").chunks for key in _keys(chunk)]
    columns = (_rows(table, name) for name in ("shape", "size", "codes"))
    return tuple(
        TokenRecord(key, _pair(key, "shape", shape), _pair(key, "size", size), codes)
        for key, shape, size, codes in zip(keys, *columns, strict=True)
    )


def _rows(table: pa.Table, name: str) -> list[np.ndarray]:
    return [
        _owned(row.to_numpy(zero_copy_only=False))
        for chunk in table.column(name).chunks
        for row in (scalar.values for scalar in chunk)
    ]


def _keys(chunk: pa.DictionaryArray) -> list[str]:
    words = chunk.dictionary.to_pylist()
    return [words[index] for index in chunk.indices.to_pylist()]


def _owned(row: np.ndarray) -> np.ndarray:
    numbers = row.astype(np.int64)
    numbers.setflags(write=False)
    return numbers


def _pair(key: str, name: str, row: np.ndarray) -> tuple[int, int]:
    if len(row) != 2:
        raise FileFormatError(f"{key!r} has {len(row)} numbers as {name}, needs 2; {AGAIN}")
    return int(row[0]), int(row[1])
