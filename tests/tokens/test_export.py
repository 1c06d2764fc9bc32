"""Exports are read back by the libraries that they are for, where these are installed.

Also of `certvq.tokens._flat`.
"""

import gc
import hashlib
import json
import struct
import tarfile

import numpy as np
import pytest

from certvq.errors import OptionError
from certvq.tokens import _export as exports
from certvq.tokens import encode_photographs, export_tokens, write_tokens


def same(found, expected):
    wanted = [
        (key, list(shape), list(size), np.ravel(codes).tolist())
        for key, shape, size, codes in expected()
    ]
    assert [(k, list(sh), list(si), np.ravel(c).tolist()) for k, sh, si, c in found] == wanted


def test_npy(tokens_dir, tmp_path, expected):
    export_tokens(tokens_dir, tmp_path / "out", "npy")
    codes = np.load(tmp_path / "out/codes.npy", mmap_mode="r")
    offsets = np.load(tmp_path / "out/offsets.npy")
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert codes.dtype == np.uint16
    assert codes.shape[1] == 2
    same(
        [
            (row["key"], row["shape"], row["size"], codes[begin:end])
            for row, begin, end in zip(rows, offsets, offsets[1:], strict=False)
        ],
        expected,
    )
    about = json.loads((tmp_path / "out/set.json").read_text())
    assert about["codebook_sizes"] == [300, 7]
    assert len(about["model_sha256"]) == 64


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # that library closes no shard
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset(tokens_dir, tmp_path, expected):
    webdataset = pytest.importorskip("webdataset")
    export_tokens(tokens_dir, tmp_path / "out", "webdataset")
    shards = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    assert len(shards) == 3
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    rows = [
        (f["json"]["key"], f["json"]["shape"], f["json"]["size"], f["codes.npy"]) for f in found
    ]
    same(rows, expected)
    gc.collect()
    assert [row["__key__"] for row in found] == [row[0] for row in expected()]


def test_keys_with_dots_stay_whole_in_tars(tmp_path, model, photographs):
    from certvq.data import Photograph

    named = [Photograph("v1.0/a.b%.x", photographs[0].pixels)]
    write_tokens(tmp_path / "t", encode_photographs(model, named))
    export_tokens(tmp_path / "t", tmp_path / "out", "webdataset")
    with tarfile.open(tmp_path / "out/part-00000.tar") as tar:
        names = tar.getnames()
        assert names == ["v1%2E0/a%2Eb%25%2Ex.codes.npy", "v1%2E0/a%2Eb%25%2Ex.json"]
        assert json.load(tar.extractfile(names[1]))["key"] == "v1.0/a.b%.x"


def read_mds(folder):
    """Read shards as mosaicml-streaming 0.13 does (MDSReader and its encodings), sample by sample.

    The library itself wants NumPy below 2.2 and transformers below 5, and cannot be installed here.
    """
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    for shard in index["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        assert shard["raw_data"]["hashes"] == {"sha1": digest}
        (count,) = struct.unpack_from("<I", data)
        assert count == shard["samples"]
        for number in range(count):
            begin, end = struct.unpack_from("<2I", data, 4 * (1 + number))
            yield read_sample(data[begin:end], shard)


def read_sample(sample, shard):
    names, encodings = shard["column_names"], shard["column_encodings"]
    place = 4 * len(names)
    row = {}
    for number, (name, encoding) in enumerate(zip(names, encodings, strict=True)):
        (size,) = struct.unpack_from("<I", sample, 4 * number)
        value = sample[place : place + size]
        place += size
        if encoding == "str":
            row[name] = value.decode()
        elif encoding == "json":
            row[name] = json.loads(value)
        else:
            kind = encoding.removeprefix("ndarray:")
            rank, width = value[0] >> 2, 1 << value[0] % 4
            shape = np.frombuffer(value, f"<u{width}", rank, 1)
            row[name] = np.frombuffer(value[1 + rank * width :], kind).reshape(shape)
    assert place == len(sample)
    return row


@pytest.mark.parametrize("limit", [1 << 26, 300])
def test_mds(tokens_dir, tmp_path, expected, monkeypatch, limit):
    monkeypatch.setattr(exports, "_MDS_LIMIT", limit)
    export_tokens(tokens_dir, tmp_path / "out", "mds")
    rows = list(read_mds(tmp_path / "out"))
    assert {row["codes"].dtype for row in rows} == {np.dtype(np.uint16)}
    assert {row["codes"].ndim for row in rows} == {2}
    same([(row["key"], row["shape"], row["size"], row["codes"]) for row in rows], expected)
    assert (len(list((tmp_path / "out").glob("*.mds"))) > 1) == (limit == 300)


def test_datasets(tokens_dir, tmp_path, expected):
    datasets = pytest.importorskip("datasets")
    export_tokens(tokens_dir, tmp_path / "out", "datasets")
    found = datasets.load_from_disk(str(tmp_path / "out"))
    same(zip(found["key"], found["shape"], found["size"], found["codes"], strict=True), expected)
    assert found.features["codes"].feature.dtype == "uint16"
    found.save_to_disk(str(tmp_path / "again"))


@pytest.mark.parametrize("to", ["npy", "webdataset", "mds", "datasets"])
def test_single_files_are_exported_and_the_same_bytes_come_twice(
    tmp_path, model, photographs, listing, to
):
    write_tokens(tmp_path / "t", encode_photographs(model, photographs))
    for name in ("one", "two"):
        export_tokens(tmp_path / "t", tmp_path / name, to)
    assert listing(tmp_path / "one") == listing(tmp_path / "two") != {}


def test_what_cannot_be_exported_is_refused(tokens_dir, tmp_path):
    with pytest.raises(OptionError, match="one of npy, webdataset, mds, datasets, got 'zip'"):
        export_tokens(tokens_dir, tmp_path / "out", "zip")
    with pytest.raises(OptionError, match="must be a folder that does not exist yet"):
        export_tokens(tokens_dir, tokens_dir, "npy")
    assert not (tmp_path / "out").exists()
