"""A token file is written whole or not at all, in the documented layout."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq.errors import CodeRangeError, DataError, OptionError
from certvq.tokens import TokenRecord, _write
from certvq.tokens._digest import content_digest
from certvq.tokens._write import write_records


def test_other_readers_of_parquet_find_the_documented_columns(tmp_path, header, records):
    path = tmp_path / "new" / "tokens.parquet"
    write_records(path, records, header())
    table = pq.read_table(path)
    assert table.column_names == ["key", "shape", "size", "codes"]
    assert [str(t) for t in table.schema.types] == [
        "string",
        "list<element: int32 not null>",
        "list<element: int32 not null>",
        "list<element: uint16 not null>",
    ]
    assert table.to_pylist() == [
        {"key": "cats/tom", "shape": [2, 8], "size": [8, 31], "codes": list(range(0, 240, 15))},
        {"key": "Küche", "shape": [4, 1], "size": [14, 2], "codes": [240, 255, 270, 285]},
    ]


def test_the_metadata_holds_header_format_and_checksum(tmp_path, header, records):
    write_records(tmp_path / "t", records, header())
    content = json.loads(pq.read_schema(tmp_path / "t").metadata[b"certvq"])
    checksum = content.pop("sha256")
    assert content == {
        "format": 1,
        "codebook_size": 300,
        "codebook_sha256": "c0" * 32,
        "model_sha256": "0d" * 32,
        "tie_rule": "lowest",
        "decided_by": {"filter": 17, "refined": 2, "exact": 1},
        "certvq_version": "0.1.0",
        "channels": 3,
    }
    assert checksum == content_digest(content, records)


@pytest.mark.parametrize(
    ("codebook_size", "kind"),
    [
        (1, "uint8"),
        (256, "uint8"),
        (257, "uint16"),
        (65536, "uint16"),
        (65537, "uint32"),
        (2**32, "uint32"),
        (2**32 + 1, "uint64"),
    ],
)
def test_codes_take_the_smallest_type_that_holds_them(tmp_path, header, codebook_size, kind):
    top = codebook_size - 1
    record = TokenRecord("a", (1, 2), (4, 8), np.array([0, top]))
    counts = {"filter": 2, "refined": 0, "exact": 0}
    write_records(tmp_path / "t", [record], header(codebook_size=codebook_size, decided_by=counts))
    column = pq.read_table(tmp_path / "t").column("codes")
    assert column.type.value_type == pa.type_for_alias(kind)
    assert column.to_pylist() == [[0, top]]


def test_the_same_tokens_give_the_same_bytes(tmp_path, header, records):
    for name in ("one", "two"):
        write_records(tmp_path / name, records, header())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_codes_take_little_more_than_their_bits(tmp_path, header, rng):
    """512 codes are 9 bits each; the file needs no more than a tenth above that."""
    codes = rng.integers(0, 512, 20_000)
    counts = {"filter": codes.size, "refined": 0, "exact": 0}
    record = TokenRecord("a", (100, 200), (400, 800), codes)
    path = tmp_path / "t"
    write_records(path, [record], header(codebook_size=512, decided_by=counts))
    assert path.stat().st_size < 1.1 * codes.size * 9 / 8 + 4096


def refused(tmp_path, records, header, error, text):
    old = tmp_path / "tokens.parquet"
    old.write_bytes(b"old")
    with pytest.raises(error, match=text):
        write_records(old, records, header)
    assert old.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.parquet"]


def test_what_does_not_belong_together_is_refused_and_nothing_written(tmp_path, header, records):
    small = header(codebook_size=100)
    refused(tmp_path, records, small, CodeRangeError, r"range\(100\), got 105 at position 7")
    twice = [records[0], records[0]]
    refused(tmp_path, twice, header(), DataError, "two records have the key 'cats/tom'")
    refused(
        tmp_path, records[:1], header(), OptionError, "counts 20 codes, but the records hold 16"
    )


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, header, records, monkeypatch):
    def break_off(table, where, **options):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_write.pq, "write_table", break_off)
    refused(tmp_path, records, header(), OSError, "No space left on device")
