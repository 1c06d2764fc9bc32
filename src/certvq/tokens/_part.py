"""Write one part of a data set: a Parquet file, whole or absent.

In: a job and rows. Out: the file, and what the manifest says of it. Bytes depend on the job and the
rows alone, not on how the rows were batched. Must not know of the manifest.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from certvq._files.atomic import atomic_path
from certvq._files.json import sealed
from certvq.data import require_key
from certvq.errors import CodeRangeError, DataError, OptionError, ShapeError, shortened
from certvq.tokens._job import Job, fields_of
from certvq.tokens._record import require_grid, require_side
from certvq.tokens._write import METADATA_KEY, code_type, list_field

SET_FORMAT: Final = 2
"""Number of the layout of data sets and their parts; the single file of `write_tokens` has 1."""

PARTS: Final = "parts"
"""The folder of the parts in that of the data set."""

GROUP_TOKENS: Final = 1 << 20
GROUP_ROWS: Final = 1 << 14
"""A row group ends with the row that reaches one of them."""


@dataclass(frozen=True)
class Failed:
    """An input that could not be tokenized, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Part:
    """What the manifest says of a part.

    Attributes:
        number: of the part; `job.inputs[number]` is what it was made of.
        rows: inputs that were tokenized.
        tokens: codes, those of all codebooks counted.
        bytes: of the file.
        sha256: of the file.
        decided_by: how many codes were decided by each of `Job.ways`: "filter", "refined" and
            "exact"; of canonical codes "float64", "wider" and "exact".
        failed: inputs that could not be tokenized.
    """

    number: int
    rows: int
    tokens: int
    bytes: int
    sha256: str
    decided_by: Mapping[str, int]
    failed: tuple[Failed, ...] = ()

    @property
    def name(self) -> str:
        """The file, below the folder of the data set."""
        return part_name(self.number)


def part_name(number: int) -> str:
    """Name the file of a part, below the folder of the data set.

    Example:
        >>> part_name(7)
        'parts/part-00007.parquet'
    """
    return f"{PARTS}/part-{number:05d}.parquet"


def part_schema(codebook_sizes: Iterable[int], *, side: bool = False) -> pa.Schema:
    """Name the columns of a part and their types; `side` where a job has such numbers.

    Codes of several codebooks share one list, the codebook as its fastest axis: one schema for any
    number of codebooks, and a window of tokens is one piece of memory. It is a large list always:
    the type is fixed before the first row is known, on disk it is the same, and in memory it costs
    four bytes a row.
    """
    codes = pa.field("element", code_type(max(codebook_sizes)), nullable=False)
    last = [list_field("side", pa.float64())] if side else []
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("modality", pa.string(), nullable=False),
            list_field("shape", pa.int32()),
            list_field("size", pa.int64()),
            pa.field("codes", pa.large_list(codes), nullable=False),
            *last,
        ]
    )


def write_part(
    directory: str | Path, job: Job, number: int, batches: Iterable[Mapping[str, Any]]
) -> Part:
    """Write one part; in any process, for it takes no lock.

    Args:
        directory: of the data set.
        job: what the data set is made by.
        number: of the part.
        batches: mappings of columns of equal lengths, a row for each input: `key` (text), `shape`
            and `size` (whole numbers, see `TokenRecord`), `codes` (whole numbers, one for each cell
            of the grid and each codebook, the codebook fastest), `decided_by` (three counts that
            add up to the codes); and `side` (finite numbers) if, and only if, the job has side
            numbers. Where a column `reason` holds a text, the input failed for this reason: `key`
            names it, and the rest of the row is not looked at.

    Returns:
        What `DatasetWriter.add` takes.

    Raises:
        OptionError: there is no such part, a column is missing, unknown to the job or of another
            length, or counts do not add up.
        DataError: a key is not usable, or there twice.
        NonFiniteError: a side number is NaN or infinite; the key is named.
        ShapeError, CodeRangeError: shape, size or codes do not fit; the key is named.
        OSError: the file cannot be written.

    Guarantee: the file is whole or absent, also if the process or the machine stops. The same job
    and rows give the same bytes, however they are batched.
    Cost: memory of one batch and one row group of about 2^20 codes.
    """
    if not 0 <= number < len(job.inputs):
        raise OptionError(f"the job has parts 0 to {len(job.inputs) - 1}, got {number}")
    path = Path(directory) / part_name(number)
    rows = _Rows(job)
    with atomic_path(path) as partial:
        with pq.ParquetWriter(
            partial,
            part_schema(job.codebook_sizes, side=job.side),
            compression="zstd",
            write_page_checksum=True,
        ) as writer:
            for batch in batches:
                for row in _rows(batch, side=job.side):
                    if rows.take(row):
                        writer.write_table(rows.table(), row_group_size=GROUP_ROWS)
            if rows.keys:
                writer.write_table(rows.table(), row_group_size=GROUP_ROWS)
            header = _header(job, number, rows)
            writer.add_key_value_metadata({METADATA_KEY: json.dumps(header)})
        size, checksum = partial.stat().st_size, file_sha256(partial)
    return Part(number, bytes=size, sha256=checksum, **rows.counts())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _header(job: Job, number: int, rows: "_Rows") -> dict[str, Any]:
    """Say in the file itself what it holds and what made it; of the job, all but other inputs."""
    made_by = fields_of(job) | {"inputs": [job.inputs[number]]}
    counts = rows.counts()
    counts["failed"] = [asdict(each) for each in counts["failed"]]
    digests = {"job_sha256": job.sha256, "preprocessing_sha256": job.preprocessing_sha256}
    fields = {"format": SET_FORMAT, "number": number, "tie_rule": "lowest", "job": made_by}
    return sealed(fields | digests | counts)


@dataclass
class _Rows:
    """The rows of the row group that is being filled, and counts of all rows."""

    job: Job
    keys: list[str] = field(default_factory=list)
    shapes: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)
    sides: list[np.ndarray] = field(default_factory=list)
    pending: int = 0
    rows: int = 0
    tokens: int = 0
    decided_by: dict[str, int] = field(init=False)
    failed: list[Failed] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.decided_by = dict.fromkeys(self.job.ways, 0)

    def take(self, row: Mapping[str, Any]) -> bool:
        """Take a row; True where the row group is full with it."""
        key, reason = row["key"], row["reason"]
        if reason:
            self.failed.append(Failed(shortened(str(key)), shortened(str(reason))))
            return False
        require_key(key)
        if key in self.seen:
            raise DataError(f"two rows have the key {key!r}; keys must be unique")
        shape, size = [int(n) for n in row["shape"]], [int(n) for n in row["size"]]
        sizes = self.job.codebook_sizes
        require_grid(key, self.job.modality, shape, size, codebooks=len(sizes))
        narrow = _narrow(key, row["codes"], shape, sizes)
        side = np.array([float(number) for number in row.get("side", ())])
        require_side(key, side)
        self._count(key, narrow.size, row["decided_by"])
        self.seen.add(key)
        self.keys.append(key)
        self.shapes.append(np.array(shape, dtype=np.int32))
        self.sizes.append(np.array(size, dtype=np.int64))
        self.codes.append(narrow)
        self.sides.append(side)
        self.pending += narrow.size
        return self.pending >= GROUP_TOKENS or len(self.keys) >= GROUP_ROWS

    def _count(self, key: str, codes: int, ways: Any) -> None:
        counts = [int(count) for count in ways]
        if len(counts) != len(self.decided_by) or min(counts) < 0 or sum(counts) != codes:
            raise OptionError(
                f"{key!r}: decided_by must be {len(self.decided_by)} counts that add up to its "
                f"{codes} codes, got {counts}"
            )
        self.rows += 1
        self.tokens += codes
        for way, count in zip(self.job.ways, counts, strict=True):
            self.decided_by[way] += count

    def counts(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "decided_by": dict(self.decided_by),
            "failed": tuple(self.failed),
        }

    def table(self) -> pa.Table:
        """Return the row group, and begin another."""
        schema = part_schema(self.job.codebook_sizes, side=self.job.side)
        lists = {"shape": self.shapes, "size": self.sizes, "codes": self.codes, "side": self.sides}
        columns = [
            pa.array(self.keys, pa.string()),
            pa.array([self.job.modality] * len(self.keys), pa.string()),
            *(_lists(lists[field.name], field.type) for field in list(schema)[2:]),
        ]
        self.keys, self.shapes, self.sizes, self.codes, self.pending = [], [], [], [], 0
        self.sides = []
        return pa.Table.from_arrays(columns, schema=schema)


def _rows(batch: Mapping[str, Any], *, side: bool) -> Iterator[dict[str, Any]]:
    names = ("key", "shape", "size", "codes", "decided_by", *(("side",) if side else ()))
    if not side and "side" in batch:
        raise OptionError(
            "a batch has the column side, but its job has no side numbers; make the job with "
            "side=True, or leave the column out"
        )
    missing = [name for name in names if name not in batch]
    if missing:
        raise OptionError(f"a batch needs the columns {', '.join(names)}; {missing} are missing")
    count = len(batch["key"])
    reasons = batch.get("reason")
    columns = {name: batch[name] for name in names}
    columns["reason"] = [""] * count if reasons is None else reasons
    for name, column in columns.items():
        if len(column) != count:
            raise OptionError(f"a batch has {count} keys and {len(column)} entries of {name}")
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _narrow(key: str, codes: Any, shape: list[int], sizes: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(codes)
    flat = array.reshape(-1)
    if flat.dtype.kind not in "iu" or flat.size != np.prod(shape, dtype=np.int64):
        raise ShapeError(
            f"{key!r}: codes must be {' x '.join(map(str, shape))} whole numbers, got "
            f"{array.dtype} of the shape {array.shape}"
        )
    levels = flat.reshape(-1, len(sizes))
    for number, size in enumerate(sizes):
        level = levels[:, number]
        if level.min() < 0 or int(level.max()) >= size:
            bad = int(np.argmax((level < 0) | (level > size - 1)))
            of = f" of codebook {number}" if len(sizes) > 1 else ""
            raise CodeRangeError(
                f"{key!r}: codes{of} must lie in range({size}), got {level[bad]} at position {bad}"
            )
    return flat.astype(code_type(max(sizes)).to_pandas_dtype())


def _lists(rows: list[np.ndarray], kind: Any) -> pa.Array:
    large = pa.types.is_large_list(kind)
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    array = pa.LargeListArray if large else pa.ListArray
    values = pa.array(np.concatenate(rows), kind.value_type)
    places = pa.array(offsets, pa.int64() if large else pa.int32())
    return array.from_arrays(places, values, type=kind)
