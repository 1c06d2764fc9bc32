"""Rows in `.npz` and Parquet files: the same codebook as from an array; what is wrong is named."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq.errors import DataError, FileFormatError, OptionError
from certvq.jobs import _rows, kmeans_files
from certvq.jobs._rows import rows_of_files

ROWS = np.random.default_rng(4).standard_normal((500, 3)).astype(np.float32)


def lists(rows: np.ndarray, kind: str) -> pa.Array:
    if kind == "tensor":
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(rows))
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    number = pa.from_numpy_dtype(rows.dtype)
    return pa.array(rows.tolist(), pa.list_(number) if kind == "list" else pa.large_list(number))


def write(path: Path, rows: np.ndarray, kind: str = "fixed", name: str = "latent") -> Path:
    table = pa.table({"key": pa.array([str(n) for n in range(len(rows))]), name: lists(rows, kind)})
    pq.write_table(table, path, row_group_size=170)
    return path


def test_every_kind_of_file_gives_the_codebook_of_the_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rows, "_BATCH", 64)
    np.save(tmp_path / "z.npy", ROWS)
    kmeans_files([tmp_path / "z.npy"], tmp_path / "c.npy", 7)
    wanted = (tmp_path / "c.npy").read_bytes()
    np.savez(tmp_path / "one.npz", ROWS)
    np.savez_compressed(tmp_path / "two.npz", latent=ROWS, other=ROWS[:9])
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "b.parquet", ROWS[300:])
    write(tmp_path / "folder" / "a.parquet", ROWS[:300])
    np.save(tmp_path / "first.npy", ROWS[:300])
    files = [write(tmp_path / f"{kind}.parquet", ROWS, kind) for kind in ("list", "large", "fixed")]
    files += [write(tmp_path / "tensor.parquet", ROWS, "tensor")]
    for data, column in (
        *(([file], None) for file in files),
        ([tmp_path / "one.npz"], None),
        ([tmp_path / "two.npz"], "latent"),
        ([tmp_path / "folder"], "latent"),
        ([tmp_path / "first.npy", tmp_path / "folder" / "b.parquet"], None),
    ):
        kmeans_files(data, tmp_path / "c.npy", 7, column=column)
        assert (tmp_path / "c.npy").read_bytes() == wanted


def test_half_floats_of_parquet_stay_half_floats(tmp_path: Path) -> None:
    half = ROWS.astype(np.float16)
    (batch,) = rows_of_files([write(tmp_path / "z.parquet", half)])
    assert batch.dtype == np.float16
    assert np.array_equal(batch, half)


def test_columns_that_are_missing_or_not_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", a=ROWS, b=ROWS)
    with pytest.raises(OptionError, match=r"z\.npz: column must be one of .*, 'a', 'b', got None"):
        rows_of_files([tmp_path / "z.npz"])
    write(tmp_path / "z.parquet", ROWS)
    with pytest.raises(OptionError, match=r"z\.parquet: column .* 'latent', got 'key'"):
        rows_of_files([tmp_path / "z.parquet"], "key")


def test_files_that_hold_no_matrix(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=r"empty: must hold \.parquet files, has none"):
        rows_of_files([tmp_path / "empty"])
    for name in ("z.npz", "z.parquet"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 or PAR1")
        with pytest.raises(FileFormatError, match=rf"{name}: no .* or damaged"):
            rows_of_files([tmp_path / name])
    for rows in ([[1.0, 2.0], [3.0]], [[1.0], None], [[1.0], [None]]):
        pq.write_table(
            pa.table({"z": pa.array(rows, pa.list_(pa.float64()))}), tmp_path / "z.parquet"
        )
        with pytest.raises(FileFormatError, match="column 'z' must have full lists of one length"):
            list(rows_of_files([tmp_path / "z.parquet"]))
    np.savez(tmp_path / "objects.npz", np.array([ROWS, None], dtype=object))
    with pytest.raises(FileFormatError, match=r"objects\.npz: no \.npz file of numbers"):
        rows_of_files([tmp_path / "objects.npz"])


FILES = ("z.parquet", "z.npz", "z.npy")


def errors_of_flips(path: Path) -> Iterator[str]:
    """Flip bits one by one, and give what reading the rows raises."""
    data = path.read_bytes()
    for place in range(0, len(data), 1 + len(data) // 150):
        changed = bytearray(data)
        changed[place] ^= 4
        path.write_bytes(changed)
        try:
            for _ in rows_of_files([path]):
                pass
        except FileFormatError as error:
            yield str(error)


def test_a_flipped_bit_is_named_whatever_its_reader_raises(tmp_path: Path) -> None:
    write(tmp_path / "z.parquet", ROWS)
    np.savez_compressed(tmp_path / "z.npz", ROWS)
    np.save(tmp_path / "z.npy", ROWS)
    said = {name: list(errors_of_flips(tmp_path / name)) for name in FILES}
    assert all(said.values())
    assert all(name in text for name, texts in said.items() for text in texts)


def test_a_small_file_that_unpacks_to_much_is_refused_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTVQ_MAX_MIB", "1")
    path = write(tmp_path / "z.parquet", np.zeros((170, 1 << 10), np.float32))
    with pytest.raises(FileFormatError, match=r"z\.parquet: unpacks to 3 MiB"):
        rows_of_files([path])


def test_a_file_that_changes_between_passes_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "z.parquet", ROWS)

    def change(*_: object) -> None:
        write(path, ROWS[::-1])

    with pytest.raises(DataError, match="data must give the same rows in every pass"):
        kmeans_files([path], tmp_path / "c.npy", 7, progress=change)
