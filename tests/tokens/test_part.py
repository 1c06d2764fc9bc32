"""A part is one Parquet file whose bytes depend on the job and its rows alone."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from certvq.errors import CodeRangeError, DataError, OptionError, ShapeError
from certvq.tokens import Failed, write_part
from certvq.tokens import _part as module


@pytest.fixture
def row():
    """One row of two tokens of two codebooks."""

    def make(**columns):
        fields = {
            "key": ["tom"],
            "shape": [(2, 2)],
            "size": [(640, 24000)],
            "codes": [[[299, 6], [0, 0]]],
            "decided_by": [(3, 1, 0)],
            **columns,
        }
        return [fields]

    return make


def test_columns_and_header(tmp_path, make_job, columns_of):
    job = make_job()
    part = write_part(tmp_path, job, 1, columns_of(1))
    path = tmp_path / "parts" / "part-00001.parquet"
    assert (part.number, part.name, part.rows) == (1, "parts/part-00001.parquet", 19)
    assert part.failed == (Failed("1/3", "no sound"),)
    assert part.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    table = pq.read_table(path)
    assert [str(field.type) for field in table.schema] == [
        "string",
        "string",
        "list<element: int32 not null>",
        "list<element: int64 not null>",
        "large_list<element: uint16 not null>",
    ]
    header = json.loads(pq.read_metadata(path).metadata[b"certvq"])
    assert header["job_sha256"] == job.sha256
    assert header["preprocessing_sha256"] == job.preprocessing_sha256
    assert header["job"]["model_sha256"] == job.model_sha256
    assert [each["sha256"] for each in header["job"]["codebooks"]] == [
        codebook.sha256 for codebook in job.codebooks
    ]
    assert header["job"]["inputs"] == ["b"]
    assert header["decided_by"] == {"filter": part.tokens - 19, "refined": 19, "exact": 0}
    assert header["tokens"] == part.tokens == sum(map(len, table["codes"].to_pylist()))


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [((256,), "uint8"), ((257, 2), "uint16"), ((70_000,), "uint32"), ((2**40,), "uint64")],
)
def test_codes_take_the_smallest_type(sizes, kind):
    assert module.part_schema(sizes).field("codes").type.value_type == kind


def test_bytes_do_not_depend_on_batches(tmp_path, make_job, columns_of, monkeypatch):
    monkeypatch.setattr(module, "GROUP_TOKENS", 50)
    for batch in (1, 6, 100):
        write_part(tmp_path / str(batch), make_job(), 0, columns_of(0, rows=100, batch=batch))
    files = [(tmp_path / str(n) / "parts/part-00000.parquet").read_bytes() for n in (1, 6, 100)]
    assert files[0] == files[1] == files[2]
    assert pq.ParquetFile(tmp_path / "1/parts/part-00000.parquet").num_row_groups > 5


def test_memory_is_that_of_a_row_group(tmp_path, make_job, columns_of, monkeypatch):
    """However many batches there are, rows are handed on as soon as the group is full."""
    monkeypatch.setattr(module, "GROUP_TOKENS", 64)
    held = []
    table = module._Rows.table

    def watched(rows):
        held.append(rows.pending)
        return table(rows)

    monkeypatch.setattr(module._Rows, "table", watched)
    write_part(tmp_path, make_job(), 0, columns_of(0, rows=500, batch=5))
    assert len(held) > 20
    assert max(held) < 64 + 9 * 2


def test_a_part_without_rows_is_a_file_too(tmp_path, make_job, row):
    failing = row(reason=["broken"], codes=[None], shape=[None], size=[None], decided_by=[None])
    part = write_part(tmp_path, make_job(), 0, failing)
    assert (part.rows, part.tokens, part.failed) == (0, 0, (Failed("tom", "broken"),))
    assert pq.read_table(tmp_path / part.name).num_rows == 0


@pytest.mark.parametrize(
    ("columns", "error", "text"),
    [
        ({"codes": [[[300, 6], [0, 0]]]}, CodeRangeError, r"'tom': codes of codebook 0 .*300.*0"),
        (
            {"codes": [[[0, 0], [0, 7]]]},
            CodeRangeError,
            r"codebook 1 must lie in range\(7\), got 7",
        ),
        ({"codes": [[[0, 0], [-1, 0]]]}, CodeRangeError, "got -1 at position 1"),
        ({"codes": [[1, 2, 3]]}, ShapeError, r"'tom': codes must be 2 x 2 whole numbers"),
        ({"codes": [np.zeros((2, 2))]}, ShapeError, "got float64"),
        ({"shape": [(2,)]}, ShapeError, "'tom' has 1 numbers as shape, needs 2"),
        ({"shape": [(1, 4)]}, ShapeError, "the last axis of shape must be the 2 codebooks"),
        ({"size": [(640,)]}, ShapeError, "'tom' has 1 numbers as size, needs 2"),
        ({"size": [(0, 24000)]}, ShapeError, "shape and size must be at least 1"),
        ({"decided_by": [(3, 0, 0)]}, OptionError, r"counts that add up to its 4 codes, got \[3"),
        ({"decided_by": [(5, -1, 0)]}, OptionError, "counts that add up"),
        ({"decided_by": [(4, 0)]}, OptionError, "must be 3 counts"),
        ({"key": ["../tom"]}, DataError, r"the key '\.\./tom' has the part '\.\.'"),
        ({"codes": [1, 2]}, OptionError, "a batch has 1 keys and 2 entries of codes"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(
    tmp_path, make_job, row, columns, error, text
):
    with pytest.raises(error, match=text):
        write_part(tmp_path, make_job(), 0, row(**columns))
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_missing_column_is_named(tmp_path, make_job, row):
    batch = row()
    del batch[0]["decided_by"]
    with pytest.raises(OptionError, match=r"\['decided_by'\] are missing"):
        write_part(tmp_path, make_job(), 0, batch)


def test_a_key_twice_in_a_part_is_refused(tmp_path, make_job, row):
    with pytest.raises(DataError, match="two rows have the key 'tom'"):
        write_part(tmp_path, make_job(), 0, row() + row())


def test_a_part_beyond_the_inputs_is_refused(tmp_path, make_job):
    with pytest.raises(OptionError, match="the job has parts 0 to 2, got 3"):
        write_part(tmp_path, make_job(), 3, [])
