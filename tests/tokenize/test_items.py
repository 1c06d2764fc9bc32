"""Shards to items."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq.errors import DataError, OptionError
from certvq.tokenize._items import ROWS_PER_ITEM, items
from certvq.tokenize._plan import plan


def listed(path, modality="image", column=None):
    (part,) = plan([path], modality)
    return [(item.key, item.data, item.problem) for item in items(part, column=column)]


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_files_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"anything")
    assert listed(tmp_path) == [("a", str(tmp_path / "a.png"), None)]


def test_parquet_as_hugging_face_holds_images(tmp_path):
    rows = [{"bytes": b"one", "path": "x"}, None, {"bytes": None, "path": "y"}]
    table = pa.table({"label": [1, 2, 3], "image": rows})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=2)
    assert listed(tmp_path / "train.parquet") == [
        ("train/000000000", b"one", None),
        ("train/000000001", b"", "column 'image' holds no bytes"),
        ("train/000000002", b"", "column 'image' holds no bytes"),
    ]


def test_a_column_of_bytes_is_named_or_found(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [b"1"], "b": [b"2"], "c": [3]}), path)
    assert listed(path, column="b") == [("x/000000000", b"2", None)]
    with pytest.raises(OptionError, match="several columns hold bytes .* name one with --column"):
        listed(path)
    with pytest.raises(OptionError, match="column 'd' is missing; the columns are a, b, c"):
        listed(path, column="d")
    with pytest.raises(OptionError, match="column 'c' holds no bytes"):
        listed(path, column="c")


@pytest.mark.parametrize(
    "kind", [pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())], ids=str
)
def test_every_type_of_bytes_is_read(tmp_path, kind):
    column = pa.array([b"one", None, b"one"]).cast(kind)
    pq.write_table(pa.table({"image": column}), tmp_path / "x.parquet")
    found = [(data, problem) for _, data, problem in listed(tmp_path / "x.parquet")]
    assert found == [(b"one", None), (b"", "column 'image' holds no bytes"), (b"one", None)]


def test_a_parquet_file_that_is_none_is_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="x.parquet: is no whole Parquet file"):
        listed(tmp_path / "x.parquet")


def test_a_web_dataset_has_a_key_for_each_sample(tmp_path):
    files = [("0/a.jpg", b"A"), ("0/a.cls", b"7"), ("0/b.seg.png", b"B"), ("0/a.png", b"again")]
    tar(tmp_path / "s.tar", files)
    assert listed(tmp_path / "s.tar") == [
        ("s/0/a", b"A", None),
        ("s/0/b", b"B", None),
        ("s/0/a.png", b"", "is a second file of 0/a"),
    ]
    assert listed(tmp_path / "s.tar", column="seg.png") == [("s/0/b", b"B", None)]


def test_a_tar_that_breaks_off_gives_what_came_before(tmp_path):
    tar(tmp_path / "s.tar", [("a.jpg", b"A" * 2000), ("b.jpg", b"B" * 20000)])
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[:6000])
    (part,) = plan([tmp_path / "s.tar"], "image")
    found = items(part)
    assert next(found).key == "s/a"
    with pytest.raises(DataError, match="s.tar: is damaged"):
        next(found)


def test_rows_of_an_array_are_mapped_and_cut_into_blocks(tmp_path, rng):
    array = rng.standard_normal((ROWS_PER_ITEM + 5, 3)).astype(np.float32)
    np.save(tmp_path / "z.npy", array)
    first, last = listed(tmp_path / "z.npy", "latent")
    assert (first[0], last[0]) == ("z/000000000", f"z/{ROWS_PER_ITEM:09d}")
    assert isinstance(first[1], np.memmap)
    assert np.array_equal(np.concatenate([first[1], last[1]]), array)


def test_an_array_of_more_axes_gives_one_item_for_each(tmp_path, rng):
    array = rng.standard_normal((3, 4, 2))
    np.save(tmp_path / "z.npy", array)
    found = listed(tmp_path / "z.npy", "latent")
    assert [key for key, _, _ in found] == ["z/000000000", "z/000000001", "z/000000002"]
    assert np.array_equal(found[1][1], array[1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_npz_file_are_found_by_name(tmp_path, rng, save):
    a, b = rng.standard_normal((2, 5, 3)), np.asfortranarray(rng.standard_normal((4, 3)))
    save(tmp_path / "z.npz", a=a, b=b)
    found = listed(tmp_path / "z.npz", "latent")
    assert [key for key, _, _ in found] == ["z/a/000000000", "z/a/000000001", "z/b/000000000"]
    assert np.array_equal(found[2][1], b)
    assert isinstance(found[2][1], np.memmap) == (save is np.savez)
    assert listed(tmp_path / "z.npz", "latent", column="b")[0][0] == "z/b/000000000"


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "z.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="z.npy: is damaged"):
        listed(tmp_path / "z.npy", "latent")
    np.savez(tmp_path / "z.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        listed(tmp_path / "z.npz", "latent")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\0\x0a\0{'descr': ("])
def test_an_array_with_a_damaged_header_is_named(tmp_path, content):
    (tmp_path / "z.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"z.npy: is damaged \(.*\); copy it again"):
        listed(tmp_path / "z.npy", "latent")


@pytest.mark.parametrize("kind", ["npz", "tar", "parquet"])
def test_a_small_shard_that_unpacks_to_much_is_refused_before(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("CERTVQ_MAX_MIB", "1")
    path, zeros = tmp_path / f"z.{kind}", bytes(3 << 20)
    if kind == "npz":
        np.savez_compressed(path, a=np.zeros((3, (1 << 17) - 9)))
    elif kind == "tar":
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("a.png")
            info.size = len(zeros)
            archive.addfile(info, io.BytesIO(zeros))
    else:
        pq.write_table(pa.table({"image": [zeros[1000:]]}), path, compression="zstd")
    with pytest.raises(DataError, match=r"z\..*: unpacks to 3 MiB, .*CERTVQ_MAX_MIB=3"):
        listed(path, "latent" if kind == "npz" else "image")
