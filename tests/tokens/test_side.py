"""Numbers beside the codes, which some decoders need, go wherever the codes go.

Through `certvq.tokens._part`, `_stored`, `_set`, `_verify`, `_stats`, `_flat` and `_export`.
"""

import json
import math
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq._files.json import sealed
from certvq.errors import DataError, FileFormatError, NonFiniteError, OptionError
from certvq.tokens import (
    DatasetWriter,
    TokenRecord,
    export_tokens,
    open_tokens,
    token_stats,
    verify_tokens,
    write_part,
)

NUMBERS = [(), (0.1,), (5e-324, -0.0, 1.7e308), (1 / 3, 2.0)]
"""Any number of them, the hardest to keep among them."""


def with_side(batches):
    """Give each row the numbers of its place among all rows, those that failed too."""
    row = 0
    for batch in batches:
        rows = range(row, row + len(batch["key"]))
        row = rows.stop
        yield {**batch, "side": [NUMBERS[each % 4] for each in rows]}


@pytest.fixture
def side_dir(tmp_path, make_job, columns_of):
    """Write a data set of three parts with side numbers."""

    def make(name="side", batch=6):
        with DatasetWriter(tmp_path / name, make_job(side=True)) as writer:
            for number in writer.missing:
                writer.write(number, with_side(columns_of(number, batch=batch)))
        return tmp_path / name

    return make


def bits(numbers):
    """Tell -0.0 from 0.0."""
    return np.array(numbers, np.float64).tobytes()


def wanted():
    """Give the numbers of the rows that did not fail: all but the fourth of each batch of six."""
    return [NUMBERS[row % 4] for _ in range(3) for row in range(20) if row != 3]


def test_numbers_come_back_as_they_were_written(side_dir, make_set):
    found = side_dir()
    assert [bits(each.side) for each in open_tokens(found).records()] == list(map(bits, wanted()))
    part = open_tokens(found / "parts/part-00001.parquet")
    assert (part.side, open_tokens(found).side) == (True, True)
    assert [bits(each.side) for each in part.records()] == list(map(bits, wanted()[:19]))
    schema = pq.read_schema(found / "parts/part-00001.parquet")
    assert schema.names == ["key", "modality", "shape", "size", "codes", "side"]
    assert str(schema.field("side").type) == "list<element: double not null>"
    plain = open_tokens(make_set())
    assert (plain.side, {each.side for each in plain.records()}) == (False, {()})


def test_bytes_do_not_depend_on_batches(side_dir, listing, monkeypatch):
    monkeypatch.setattr("certvq.tokens._part.GROUP_TOKENS", 20)
    one, two = side_dir("one", batch=6), side_dir("two", batch=12)
    assert listing(one) == listing(two)
    assert pq.ParquetFile(one / "parts/part-00000.parquet").num_row_groups > 2
    assert [bits(each.side) for each in open_tokens(one).records()] == list(map(bits, wanted()))


def test_a_job_with_side_numbers_is_another_job(side_dir, make_job):
    text = "arguments.side_numbers is True there, given is none"
    with pytest.raises(OptionError, match=text), DatasetWriter(side_dir(), make_job()):
        pass
    assert make_job(arguments={"side": True}).side is False


@pytest.mark.parametrize(
    ("side", "columns", "error", "text"),
    [
        (True, {}, OptionError, r"\['side'\] are missing"),
        (False, {"side": [()]}, OptionError, "has the column side, but its job has no side num"),
        (True, {"side": [(1.0, math.nan)]}, NonFiniteError, "'tom': side must be .*nan at positi"),
        (True, {"side": [(-math.inf,)]}, NonFiniteError, "got -inf at position 0"),
        (True, {"side": [(), ()]}, OptionError, "a batch has 1 keys and 2 entries of side"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, make_job, side, columns, error, text):
    batch = {
        "key": ["tom"],
        "shape": [(1, 2)],
        "size": [(640, 24000)],
        "codes": [[299, 6]],
        "decided_by": [(2, 0, 0)],
        **columns,
    }
    with pytest.raises(error, match=text):
        write_part(tmp_path, make_job(side=side), 0, [batch])
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_record_has_finite_numbers():
    with pytest.raises(NonFiniteError, match="'tom': side must be finite, got inf at position 1"):
        TokenRecord("tom", (1,), (), np.zeros(1, np.int64), "latent", (0.0, math.inf))


def rewritten(path, change):
    """Change the table of a part, and seal its header anew."""
    header = json.loads(pq.read_metadata(path).metadata[b"certvq"])
    table = change(pq.read_table(path))
    del header["sha256"]
    metadata = {"certvq": json.dumps(sealed(header))}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_numbers_that_are_not_finite_are_found(side_dir):
    path = side_dir() / "parts/part-00000.parquet"

    def change(table):
        rows = table.column("side").to_pylist()
        rows[1] = [math.nan]
        return table.set_column(5, table.schema.field("side"), pa.array(rows, table[5].type))

    rewritten(path, change)
    (problem,) = verify_tokens(path).problems
    assert problem.text == "'0/1': side must be finite, got nan at position 0"
    with pytest.raises((DataError, NonFiniteError)):
        list(open_tokens(path).records())


def test_a_part_without_its_column_is_damaged(side_dir):
    path = side_dir() / "parts/part-00000.parquet"
    rewritten(path, lambda table: table.drop_columns(["side"]))
    with pytest.raises(FileFormatError, match=r"needs \(.*side: list<element: double not null>"):
        open_tokens(path)


def test_stats_count_them(side_dir, make_set):
    found = token_stats(side_dir()).to_json()
    assert found.pop("side_numbers") == sum(map(len, wanted()))
    assert found == token_stats(make_set()).to_json()


def test_every_export_has_them(side_dir, tmp_path):
    datasets = pytest.importorskip("datasets")
    data = side_dir()
    for to in ("npy", "webdataset", "mds", "datasets"):
        export_tokens(data, tmp_path / to, to)
    rows = [json.loads(line) for line in (tmp_path / "npy/rows.jsonl").read_text().splitlines()]
    assert [bits(row["side"]) for row in rows] == list(map(bits, wanted()))
    found = []
    for path in sorted((tmp_path / "webdataset").glob("*.tar")):
        with tarfile.open(path) as tar:
            names = [name for name in tar.getnames() if name.endswith(".json")]
            found += [json.load(tar.extractfile(name)) for name in names]
    assert [bits(row["side"]) for row in found] == list(map(bits, wanted()))
    index = json.loads((tmp_path / "mds/index.json").read_text())["shards"][0]
    place = index["column_names"].index("side")
    assert index["column_encodings"][place] == "json"
    raw = (tmp_path / "mds" / index["raw_data"]["basename"]).read_bytes()
    begin = int.from_bytes(raw[8:12], "little")  # the second sample of its shard
    lengths = np.frombuffer(raw, "<u4", len(index["column_names"]), begin)
    first = begin + 4 * len(lengths) + int(lengths[:place].sum())
    assert json.loads(raw[first : first + lengths[place]]) == list(NUMBERS[1])
    loaded = datasets.load_from_disk(str(tmp_path / "datasets"))
    assert [bits(row) for row in loaded["side"]] == list(map(bits, wanted()))
