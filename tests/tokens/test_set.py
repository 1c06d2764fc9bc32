"""A data set is a folder, a part of it, or the file of `certvq encode`; readable without certvq."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq.errors import DataError, FileFormatError
from certvq.tokens import (
    DatasetWriter,
    Failed,
    encode_photographs,
    is_data_set,
    open_tokens,
    write_tokens,
)
from certvq.tokens import _part as parts


def same(records, rows):
    found = [(r.key, r.shape, r.size, r.codes.tolist()) for r in records]
    return found == [(k, tuple(sh), tuple(si), np.ravel(c).tolist()) for k, sh, si, c in rows]


def test_rows_come_back_in_order(tokens_dir, expected):
    data = open_tokens(tokens_dir)
    assert same(data.records(), expected())
    assert (data.modality, data.codebook_sizes) == ("audio", (300, 7))
    assert data.rows == len(expected())
    assert data.tokens == sum(codes.size for *_, codes in expected())
    assert data.failed == tuple(Failed(f"{part}/3", "no sound") for part in range(3))
    assert sum(data.decided_by.values()) == data.tokens
    assert data.complete


def test_rows_of_many_row_groups_come_back(make_set, expected, monkeypatch):
    monkeypatch.setattr(parts, "GROUP_TOKENS", 30)
    assert same(open_tokens(make_set(rows=50)).records(), expected(count=50))


def test_chosen_keys_are_read_and_a_missing_one_is_named(tokens_dir, expected):
    rows = {row[0]: row for row in expected()}
    found = open_tokens(tokens_dir).records(["2/1", "0/5"])
    assert same(found, [rows["0/5"], rows["2/1"]])
    with pytest.raises(DataError, match=r"holds no key '0/3', nor 1 more that were asked for"):
        list(open_tokens(tokens_dir).records(["0/5", "0/3", "9/9"]))


@pytest.mark.parametrize(
    ("modality", "shape", "size"),
    [("image", (2, 3), (8, 9)), ("video", (2, 3, 4), (8, 9, 10)), ("latent", (5, 1, 2, 3), ())],
)
def test_every_modality_has_the_same_columns(make_job, tmp_path, modality, shape, size):
    job = make_job((300,), modality=modality)
    codes = np.arange(np.prod(shape)).reshape(shape)
    with DatasetWriter(tmp_path / "set", job) as writer:
        row = {"key": ["a"], "shape": [shape], "size": [size], "codes": [codes]}
        writer.write(0, [row | {"decided_by": [(0, 0, codes.size)]}])
    assert same(open_tokens(tmp_path / "set").records(), [("a", shape, size, codes)])
    schema = pq.read_schema(tmp_path / "set/parts/part-00000.parquet")
    assert schema.names == ["key", "modality", "shape", "size", "codes"]


def test_one_part_is_a_set(tokens_dir, expected):
    data = open_tokens(tokens_dir / "parts/part-00001.parquet")
    assert same(data.records(), [row for row in expected() if row[0].startswith("1/")])
    assert (data.job, data.codebook_sizes, data.complete) == (None, (300, 7), True)
    whole = open_tokens(tokens_dir)
    assert whole.made_by == whole.job
    assert data.made_by.codebooks == whole.job.codebooks
    assert data.made_by.inputs == whole.job.inputs[1:2]


def test_a_data_set_is_told_from_other_files(tokens_dir, tmp_path, model, photographs):
    part = tokens_dir / "parts/part-00001.parquet"
    assert is_data_set(tokens_dir)
    assert is_data_set(part)
    write_tokens(tmp_path / "t.parquet", encode_photographs(model, photographs))
    (tmp_path / "cut.parquet").write_bytes(part.read_bytes()[:-20])
    for name in ("t.parquet", "cut.parquet", "nothing"):
        assert not is_data_set(tmp_path / name)
    assert open_tokens(tmp_path / "t.parquet").made_by is None


def test_the_file_of_encode_is_a_set_of_one_part(tmp_path, model, photographs):
    encoded = encode_photographs(model, photographs)
    write_tokens(tmp_path / "t.parquet", encoded)
    data = open_tokens(tmp_path / "t.parquet")
    assert same(data.records(), [(r.key, r.shape, r.size, r.codes) for r in encoded.records])
    assert (data.modality, data.codebook_sizes, len(data.parts)) == ("image", (16,), 1)
    assert data.decided_by == encoded.header.decided_by


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"manifest\.json: cannot be opened \(No such file"):
        open_tokens(tmp_path)
    with pytest.raises(FileFormatError, match="none: cannot be opened"):
        open_tokens(tmp_path / "none")
    (tmp_path / "text").write_text("hello, this is no Parquet")
    with pytest.raises(FileFormatError, match="text: is empty or no Parquet file"):
        open_tokens(tmp_path / "text")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m.update(format=3), "is of format 3, and this version of certvq reads data set"),
        (lambda m: m["parts"][0].update(rows=5), r"is damaged \(it was changed after it was"),
        (lambda m: m["job"].update(model_sha256="0" * 64), "is damaged"),
        (lambda m: m.pop("sha256"), "is damaged"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(tokens_dir, change, text):
    path = tokens_dir / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=rf"manifest\.json: {text}"):
        open_tokens(tokens_dir)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 5000, '"x"'])
def test_a_manifest_that_is_none_is_refused(tokens_dir, content):
    (tokens_dir / "manifest.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"manifest\.json: is damaged \("):
        open_tokens(tokens_dir)


def test_a_header_made_by_hand_is_refused(tokens_dir):
    path = tokens_dir / "parts/part-00000.parquet"
    table = pq.read_table(path)
    header = json.loads(pq.read_metadata(path).metadata[b"certvq"])
    header["job"]["model_sha256"] = "f" * 64
    pq.write_table(table.replace_schema_metadata({"certvq": json.dumps(header)}), path)
    with pytest.raises(FileFormatError, match=r"part-00000\.parquet: its header is damaged"):
        list(open_tokens(tokens_dir).records())


def test_a_row_group_that_unpacks_to_gigabytes_is_refused(tokens_dir):
    path = tokens_dir / "parts/part-00000.parquet"
    header = pq.read_metadata(path).metadata[b"certvq"]
    schema = parts.part_schema((300, 7)).with_metadata({"certvq": header})
    codes = pa.LargeListArray.from_arrays(
        pa.array([0, 40_000_000], pa.int64()),
        pa.array(np.zeros(40_000_000, np.uint16)),
        type=schema.field("codes").type,
    )
    few = [["a"], ["audio"], [[20_000_000, 2]], [[1, 1]]]
    columns = [pa.array(v, field.type) for v, field in zip(few, schema, strict=False)]
    pq.write_table(pa.Table.from_arrays([*columns, codes], schema=schema), path, compression="zstd")
    assert path.stat().st_size < 2**20
    with pytest.raises(FileFormatError, match=r"a row group: unpacks to \d+ MiB, .* 256 MiB"):
        list(open_tokens(tokens_dir).records())


@pytest.mark.slow
def test_offsets_beyond_31_bits(tmp_path, make_job):
    """2^31 + 2^26 codes in one part: offsets of the whole column need 64 bits, and have them."""
    job = make_job((2,), modality="latent")
    row = np.zeros(1 << 26, np.uint8)
    row[-1] = 1
    batches = (
        {
            "key": [f"k{n}"],
            "shape": [(row.size,)],
            "size": [()],
            "codes": [row],
            "decided_by": [(row.size, 0, 0)],
        }
        for n in range(33)
    )
    part = parts.write_part(tmp_path, job, 0, batches)
    assert part.tokens == 33 << 26 > 1 << 31
    codes = pq.read_table(tmp_path / part.name, columns=["codes"]).column("codes")
    assert pa.types.is_large_list(codes.type)
    ends = codes.combine_chunks().offsets.to_numpy()
    assert ends[-1] == part.tokens
    assert codes.combine_chunks().flatten().to_numpy()[ends[1:] - 1].tolist() == [1] * 33


class TestWithoutCertvq:
    """Other libraries read the parts as they are."""

    @pytest.fixture
    def files(self, tokens_dir):
        return str(tokens_dir / "parts" / "*.parquet")

    def check(self, keys, codes, expected):
        rows = {row[0]: row[3] for row in expected()}
        assert list(keys) == list(rows)
        for key, found in zip(keys, codes, strict=True):
            assert list(found) == rows[key].ravel().tolist()

    def test_pandas(self, tokens_dir, expected):
        pandas = pytest.importorskip("pandas")
        table = pandas.read_parquet(tokens_dir / "parts")
        self.check(table["key"], table["codes"], expected)

    def test_polars(self, files, expected):
        polars = pytest.importorskip("polars")
        table = polars.read_parquet(files)
        self.check(table["key"].to_list(), table["codes"].to_list(), expected)

    def test_duckdb(self, files, expected):
        duckdb = pytest.importorskip("duckdb")
        rows = duckdb.sql(f"select key, codes from '{files}'").fetchall()  # noqa: S608 (a test)
        self.check([row[0] for row in rows], [row[1] for row in rows], expected)

    def test_datasets(self, files, expected, tmp_path):
        datasets = pytest.importorskip("datasets")
        table = datasets.load_dataset(
            "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
        )
        self.check(table["key"], table["codes"], expected)
