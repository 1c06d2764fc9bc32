"""A token file is read as it was written, or refused with its name, what was found and the fix.

Also of `certvq.tokens._sizes` and `certvq._files.limits`.
"""

import json
import re
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq.errors import DataError, FileFormatError
from certvq.tokens import TokenRecord, read_tokens
from certvq.tokens._write import token_schema, write_records

AGAIN = "encode the photographs again, or fetch the file again"


@pytest.fixture
def path(tmp_path, header, records):
    write_records(tmp_path / "tokens.parquet", records, header())
    return tmp_path / "tokens.parquet"


def rewrite(path, change):
    """Change columns and header fields of a file and write it as plain Parquet."""
    table = pq.read_table(path)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    content = json.loads(table.schema.metadata[b"certvq"])
    change(columns, content)
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    schema = pa.schema(fields).with_metadata({b"certvq": json.dumps(content)})
    pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=schema), path)


def refusal(path):
    """Return the text of the error without the name of the file, which must come first."""
    with pytest.raises(FileFormatError) as caught:
        read_tokens(path)
    name, _, text = str(caught.value).partition(": ")
    assert name == str(path)
    assert "\n" not in text
    return text


def same(one, other):
    return [(r.key, r.shape, r.size, r.codes.tolist()) for r in one] == [
        (r.key, r.shape, r.size, r.codes.tolist()) for r in other
    ]


def test_everything_comes_back(path, header, records):
    found = read_tokens(str(path))
    assert found.header == header()
    assert found.path == path
    assert same(found.records, records)
    assert {record.codes.dtype for record in found.records} == {np.dtype(np.int64)}


def test_no_record_at_all_comes_back(tmp_path, header):
    empty = header(decided_by={"filter": 0, "refined": 0, "exact": 0})
    write_records(tmp_path / "t", [], empty)
    assert read_tokens(tmp_path / "t").records == ()


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    grids=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=4),
    codebook_size=st.sampled_from([1, 256, 257, 70_000, 2**40]),
    data=st.data(),
)
def test_any_records_come_back(tmp_path, header, grids, codebook_size, data):
    written = [
        TokenRecord(
            f"k{number}",
            grid,
            (grid[0] * 4, grid[1] * 4 - 3),
            np.array(
                data.draw(
                    st.lists(
                        st.integers(0, codebook_size - 1),
                        min_size=grid[0] * grid[1],
                        max_size=grid[0] * grid[1],
                    )
                )
            ),
        )
        for number, grid in enumerate(grids)
    ]
    total = sum(record.codes.size for record in written)
    counts = {"filter": 0, "refined": total, "exact": 0}
    write_records(tmp_path / "t", written, header(codebook_size=codebook_size, decided_by=counts))
    assert same(read_tokens(tmp_path / "t").records, written)


def test_a_missing_file(tmp_path):
    expected = "cannot be opened (No such file or directory); name a token file of certvq"
    assert refusal(tmp_path / "none.parquet") == expected


def test_a_folder(tmp_path):
    expected = "cannot be opened (Is a directory); name a token file of certvq"
    assert refusal(tmp_path) == expected


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on, of some length", b"PAR"])
def test_no_parquet(path, content):
    path.write_bytes(content)
    assert refusal(path) == "is empty or no Parquet file; name a token file of certvq"


def test_a_file_truncated_anywhere(path):
    whole = path.read_bytes()
    for length in [*range(4, len(whole), 11), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert refusal(path) == f"is truncated, {length} bytes are left; {AGAIN}"


def test_a_file_of_two_parts_of_which_the_middle_is_missing(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + whole[-100:])
    text = refusal(path)
    assert text.startswith("is damaged Parquet (")
    assert text.endswith(AGAIN)


def test_no_flipped_bit_changes_what_is_read(path, header, records):
    """Every third byte: refused, or, where the byte means nothing, read as it was written."""
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place // 3 % 8)
        path.write_bytes(damaged)
        try:
            found = read_tokens(path)
        except FileFormatError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (both outcomes are right)
            refused += 1
        else:
            assert found.header == header()
            assert same(found.records, records)
    assert refused > len(whole) / 6


def test_parquet_of_another_origin(path):
    pq.write_table(pa.table({"a": [1]}), path)
    expected = "is a Parquet file without the header 'certvq'; name a token file of certvq"
    assert refusal(path) == expected


@pytest.mark.parametrize("text", ["{", "\udcff", "nothing"])
def test_a_header_that_is_no_json(path, text):
    metadata = {b"certvq": text.encode(errors="surrogateescape")}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    found = refusal(path)
    assert found.startswith("its header is no JSON (")
    assert found.endswith(AGAIN)


def test_a_header_that_is_no_object(path):
    metadata = {b"certvq": "[1]"}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    assert refusal(path) == f"its header is no JSON object but list; {AGAIN}"


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format(path, version):
    rewrite(path, lambda columns, content: content.update(format=version))
    assert refusal(path) == (
        f"is of format {version!r}, and this version of certvq reads format 1; "
        "use the version that wrote it"
    )


def test_missing_and_unknown_fields(path):
    def change(columns, content):
        content["colour"] = content.pop("channels")

    rewrite(path, change)
    expected = f"its header lacks ['channels'] and has the unknown ['colour']; {AGAIN}"
    assert refusal(path) == expected


def test_a_field_out_of_its_range(path):
    rewrite(path, lambda columns, content: content.update(tie_rule="any"))
    assert refusal(path) == f"tie_rule must be 'lowest', got 'any'; {AGAIN}"


def test_columns_of_other_types(path):
    def change(columns, content):
        columns["codes"] = pa.chunked_array([columns["codes"].chunk(0).cast(pa.list_(pa.int16()))])

    rewrite(path, change)
    text = refusal(path)
    assert text.startswith("has the columns (key: string not null, shape: list<element: int32")
    assert "codes: list<element: int16> not null), needs (key: string not null, " in text
    assert text.endswith(f"codes: list<element: uint16 not null> not null); {AGAIN}")


def test_a_missing_column(path):
    rewrite(path, lambda columns, content: columns.pop("size"))
    assert refusal(path).startswith("has the columns (key: string not null, shape: ")


def replaced(columns, name, rows):
    columns[name] = pa.chunked_array([pa.array(rows, columns[name].type)])


@pytest.mark.parametrize(
    ("name", "rows", "text"),
    [
        ("shape", [[2, 8], [4, 1, 1]], "'Küche' has 3 numbers as shape, needs 2"),
        ("size", [[8], [14, 2]], "'cats/tom' has 1 numbers as size, needs 2"),
        ("shape", [[2, 7], [4, 1]], "'cats/tom': codes must have the shape (14,) for 2 x 7 tokens"),
        ("size", [[8, 31], [3, 2]], "'Küche': a grid of 4 x 1 tokens does not fit an image of 3"),
        ("key", ["cats/tom", "cats/tom"], "two records have the key 'cats/tom'"),
        ("key", ["../tom", "b"], "the key '../tom' has the part '..'"),
        ("key", ["cats/tim", "Küche"], "damaged: the content has the checksum "),
        ("size", [[8, 30], [14, 2]], "damaged: the content has the checksum "),
        ("codes", [[1] * 16, [300] * 4], "'Küche': codes must lie in range(300), got 300 at"),
        ("codes", [[1] * 16, [1] * 4], "damaged: the content has the checksum "),
    ],
)
def test_content_that_contradicts_itself(path, name, rows, text):
    rewrite(path, lambda columns, content: replaced(columns, name, rows))
    found = refusal(path)
    assert found.startswith(text)
    assert found.endswith(AGAIN)


@pytest.mark.rows("exact", [0, 2])
def test_counts_that_do_not_add_up(path, exact):
    rewrite(path, lambda columns, content: content["decided_by"].update(exact=exact))
    text = f"decided_by counts {19 + exact} codes, but the records hold 20; {AGAIN}"
    assert refusal(path) == text


def test_a_changed_digest_of_the_model(path):
    rewrite(path, lambda columns, content: content.update(model_sha256="ff" * 32))
    assert refusal(path).startswith("damaged: the content has the checksum ")


def test_both_checksums_are_named(path):
    rewrite(path, lambda columns, content: content.update(sha256="ab" * 32))
    assert "but abababababab was written" in refusal(path)


def test_a_missing_value(path):
    table = pq.read_table(path)
    field = pa.field("key", pa.string(), nullable=True)
    schema = table.schema.set(0, field)
    columns = [pa.array(["cats/tom", None]), *(column.chunk(0) for column in table.columns[1:])]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)
    assert refusal(path).startswith("has the columns (key: string, shape: ")


def test_a_key_that_is_no_text(path):
    table = pq.read_table(path)
    offsets, text = np.array([0, 8, 9], np.int32), b"cats/tom\xff"
    key = pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(text))
    columns = [key, *(column.chunk(0) for column in table.columns[1:])]
    pq.write_table(pa.Table.from_arrays(columns, schema=table.schema), path)
    found = refusal(path)
    assert found.startswith("is damaged Parquet (")
    assert "Invalid UTF8 sequence" in found


def test_reading_does_not_change_the_file(path):
    before = path.read_bytes()
    read_tokens(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"format": ' + b"[" * 2000, "nested too deep|Expecting value"),
        (b'{"format": 1' + b"0" * 400 + b"}", "a whole number of 401 digits, 20 are allowed"),
        (b'"' + b"x" * 10**5 + b'"', "no JSON object but str"),
    ],
)
def test_a_header_that_nobody_would_write(path, text, found):
    table = pq.read_table(path).replace_schema_metadata({b"certvq": text})
    pq.write_table(table, path)
    assert re.search(found, refusal(path))


def test_a_codebook_size_beyond_64_bits_and_a_key_of_1500_folders(path, header, records):
    rewrite(path, lambda _, content: content.update(codebook_size=2**70))
    assert "a whole number of 22 digits, 20 are allowed" in refusal(path)
    with pytest.raises(DataError, match="has 1500 parts, and 100 are allowed"):
        TokenRecord("a/" * 1499 + "a", (1, 1), (4, 4), np.zeros(1, np.int64))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["codes", "key"])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused_in_little_memory(
    tmp_path, header, what, monkeypatch
):
    rows, codes, word = (1, 30_000_000, "a") if what == "codes" else (3000, 1, "a" * 10**6)
    content = {"format": 1, **asdict(header(codebook_size=8)), "sha256": "0" * 64}
    schema = token_schema(8)
    grid = pa.array([[1, codes]] * rows, schema.field("shape").type)
    zeros = pa.ListArray.from_arrays(
        pa.array(np.arange(rows + 1) * codes, pa.int32()),
        pa.array(np.zeros(rows * codes, np.uint8)),
        type=schema.field("codes").type,
    )
    keys = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([word]))
    columns = {"key": keys, "shape": grid, "size": grid, "codes": zeros}
    fields = [pa.field("key", keys.type, nullable=False), *list(schema)[1:]]
    table = pa.table(columns, schema=pa.schema(fields))
    with pq.ParquetWriter(
        tmp_path / "t", table.schema, compression="zstd", store_schema=False
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"certvq": json.dumps(content)})
    assert (tmp_path / "t").stat().st_size < 2**20
    text = refusal(tmp_path / "t")
    if what == "key":
        assert "has 1000000 characters, and 4096 are allowed" in text
        return
    assert re.search(r"unpacks to \d+ MiB, .* 256 MiB .* set CERTVQ_MAX_MIB=\d+", text)
    monkeypatch.setenv("CERTVQ_MAX_MIB", "4000")
    assert "unpacks" not in refusal(tmp_path / "t")
