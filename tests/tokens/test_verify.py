"""`verify_tokens` finds whatever is not as it was written, and `repair` marks it as missing."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq._files.json import sealed
from certvq.errors import FileFormatError, OptionError
from certvq.tokens import DatasetWriter, encode_photographs, verify_tokens, write_tokens
from certvq.tokens._manifest import read_manifest, write_manifest
from certvq.tokens._stored import open_part

NAME = "parts/part-00001.parquet"


def only_problem(folder):
    found = verify_tokens(folder)
    assert [problem.part for problem in found.problems] == [NAME]
    assert not found.ok
    return found.problems[0].text


def rewritten(folder, change):
    """Change columns of a part, and let the manifest and the header know."""
    path = folder / NAME
    header = json.loads(pq.read_metadata(path).metadata[b"certvq"])
    table = pq.read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    change(columns, header)
    arrays = [pa.array(columns[field.name], field.type) for field in table.schema]
    del header["sha256"]
    metadata = {"certvq": json.dumps(sealed(header))}
    schema = table.schema.with_metadata(metadata)
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
    manifest = read_manifest(folder)
    parts = dict(manifest.parts) | {1: open_part(path).measured()}
    write_manifest(folder, manifest.job, parts.values())


def test_a_set_as_it_was_written_passes(tokens_dir, expected):
    found = verify_tokens(tokens_dir)
    assert found.ok
    assert (found.parts, found.rows) == (3, len(expected()))
    assert found.tokens == sum(codes.size for *_, codes in expected())
    rewritten(tokens_dir, lambda columns, header: None)
    assert verify_tokens(tokens_dir).ok


def test_every_flipped_bit_is_found(tokens_dir):
    path = tokens_dir / NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert only_problem(tokens_dir).startswith("has the checksum ")


def test_a_page_is_checked_without_the_manifest(tokens_dir):
    """Each page carries a checksum of its own, which a part by itself is checked with."""
    path = tokens_dir / NAME
    place = pq.read_metadata(path).row_group(0).column(4).data_page_offset + 60
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    text = verify_tokens(path).problems[0].text
    assert text.startswith("is damaged Parquet (")
    assert "CRC" in text or "checksum" in text


def test_a_cut_part_and_a_missing_one_are_named(tokens_dir):
    path = tokens_dir / NAME
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    assert only_problem(tokens_dir) == f"has {size - 1} bytes, the manifest says {size}"
    path.unlink()
    assert only_problem(tokens_dir) == "cannot be opened (No such file or directory)"


def test_a_part_of_another_job_is_named(tokens_dir, make_set):
    other = make_set("other", seed=1)
    (other / NAME).replace(tokens_dir / NAME)
    manifest = read_manifest(tokens_dir)
    parts = dict(manifest.parts) | {1: open_part(tokens_dir / NAME).measured()}
    write_manifest(tokens_dir, manifest.job, parts.values())
    assert only_problem(tokens_dir) == "is part 1 of another job"


def set_code(columns, header):
    columns["codes"][2][1] = 7


def lie_about_rows(columns, header):
    header["rows"] += 1


def lie_about_ways(columns, header):
    header["decided_by"]["exact"] += 1


def repeat_key(columns, header):
    columns["key"][5] = "0/1"


def climb(columns, header):
    columns["key"][0] = "../x"


def change_modality(columns, header):
    columns["modality"][0] = "latent"
    columns["size"][0] = []


def break_grid(columns, header):
    columns["shape"][0] = [1, 2]
    columns["codes"][0] = [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_code, "'1/2': codes must lie in range(7), got 7 of codebook 1"),
        (lie_about_rows, " codes, said are 20 and "),
        (lie_about_ways, ", decided "),
        (repeat_key, "'0/1' is in parts/part-00000.parquet already; keys must be unique"),
        (climb, "the key '../x' has the part '..'"),
        (change_modality, "'1/0': is latent of "),
        (break_grid, "'1/0': is audio of (1, 2) tokens and 4 codes"),
    ],
)
def test_content_that_contradicts_itself_is_named(tokens_dir, change, text):
    rewritten(tokens_dir, change)
    assert text in only_problem(tokens_dir)


def test_files_that_the_manifest_does_not_know_are_named(tokens_dir):
    (tokens_dir / "parts/part-00007.parquet").write_bytes(b"")
    (problem,) = verify_tokens(tokens_dir).problems
    assert str(problem) == "parts/part-00007.parquet: is not in the manifest"


def test_parts_that_are_still_to_be_made_are_named(tmp_path, make_job, columns_of):
    with DatasetWriter(tmp_path, make_job()) as writer:
        writer.write(1, columns_of(1))
    assert [str(problem) for problem in verify_tokens(tmp_path).problems] == [
        "parts/part-00000.parquet: is missing",
        "parts/part-00002.parquet: is missing",
    ]


def test_repair_marks_bad_parts_as_missing_and_the_job_makes_them_anew(
    tokens_dir, make_job, columns_of, listing
):
    before = listing(tokens_dir)
    path = tokens_dir / NAME
    path.write_bytes(path.read_bytes()[::-1])
    found = verify_tokens(tokens_dir, repair=True)
    assert found.repaired == (NAME,)
    assert not path.exists()
    with DatasetWriter(tokens_dir, make_job()) as writer:
        assert writer.missing == (1,)
        writer.write(1, columns_of(1))
    assert listing(tokens_dir) == before
    assert verify_tokens(tokens_dir, repair=True).repaired == ()


def test_hashes_that_collide_are_no_equal_keys(tokens_dir, monkeypatch):
    monkeypatch.setattr("certvq.tokens._verify._hash", lambda key: 5)
    assert verify_tokens(tokens_dir).ok


def test_a_single_file_is_verified_but_not_repaired(tmp_path, model, photographs):
    path = tmp_path / "t.parquet"
    write_tokens(path, encode_photographs(model, photographs))
    assert verify_tokens(path).ok
    with pytest.raises(OptionError, match="is a single file, which cannot be repaired"):
        verify_tokens(path, repair=True)
    data = bytearray(path.read_bytes())
    data[np.argmax(np.array(data) > 0) + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"t\.parquet: "):
        verify_tokens(path)
