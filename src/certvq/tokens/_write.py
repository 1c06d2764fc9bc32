"""Write a token file.

In: what was encoded. Out: one Parquet file, whole or not at all. Must not import torch.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from certvq._files.atomic import atomic_path
from certvq.tokens._digest import content_digest
from certvq.tokens._record import TokenHeader, TokenRecord, require_consistent

if TYPE_CHECKING:
    from certvq.tokens._encode import Encoded

METADATA_KEY = b"certvq"
"""Where in the metadata of the Parquet schema the header lies, as JSON."""

FORMAT = 1
"""Number of the layout; a reader refuses any other."""


def write_tokens(path: str | Path, encoded: "Encoded") -> None:
    """Write what was encoded to one Parquet file.

    Columns: `key` (string), `shape` (list of int32: rows, columns), `size` (list of int32: height,
    width), `codes` (list of the smallest unsigned type that holds ``codebook_size - 1``). The
    header, the number of the format and a checksum over all of it lie in the schema's metadata.

    Args:
        path: the file; one that is there already is replaced.
        encoded: from `encode_photographs`, which computed the digests and counted how the codes
            were decided. A header by itself is not taken: evidence cannot be typed in.

    Raises:
        OSError: the file cannot be written.

    Guarantee: `path` is the old file or the new one, whole. The same arguments give the same bytes
    (of one version of pyarrow).
    """
    write_records(path, encoded.records, encoded.header)


def write_records(path: str | Path, records: Sequence[TokenRecord], header: TokenHeader) -> None:
    """Write records under a header.

    Args:
        path: the file; one that is there already is replaced.
        records: with unique keys, codes below `header.codebook_size`.
        header: whose `decided_by` adds up to the number of codes.

    Raises:
        DataError: a key occurs twice.
        CodeRangeError: a code is not below `codebook_size`.
        OptionError: `decided_by` does not add up.
        OSError: the file cannot be written.
    """
    require_consistent(records, header)
    fields = {"format": FORMAT, **asdict(header)}
    fields["sha256"] = content_digest(fields, records)
    schema = token_schema(header.codebook_size).with_metadata({METADATA_KEY: json.dumps(fields)})
    table = pa.Table.from_arrays(
        [
            pa.array([record.key for record in records], pa.string()),
            _lists([np.array(record.shape) for record in records], schema.field("shape").type),
            _lists([np.array(record.size) for record in records], schema.field("size").type),
            _lists([record.codes for record in records], schema.field("codes").type),
        ],
        schema=schema,
    )
    with atomic_path(Path(path)) as partial:
        pq.write_table(table, partial, compression="zstd")


def token_schema(codebook_size: int) -> pa.Schema:
    """Name the columns of a token file and their types, none of which may be null."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            list_field("shape", pa.int32()),
            list_field("size", pa.int32()),
            list_field("codes", code_type(codebook_size)),
        ]
    )


def code_type(codebook_size: int) -> pa.DataType:
    """Return the smallest unsigned type that holds every code."""
    kinds = ("uint8", "uint16", "uint32", "uint64")
    return pa.type_for_alias(
        next(kind for kind in kinds if codebook_size - 1 <= int(np.iinfo(kind).max))
    )


def list_field(name: str, kind: pa.DataType) -> pa.Field:
    """Name a column of lists, none of which and nothing in which may be null."""
    return pa.field(name, pa.list_(pa.field("element", kind, nullable=False)), nullable=False)


def _lists(rows: Sequence[np.ndarray], kind: pa.ListType) -> pa.ListArray:
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    values = np.concatenate([*rows, np.zeros(0, np.int64)])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(values).cast(kind.value_type), type=kind
    )
