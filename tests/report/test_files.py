"""Single files of a run directory: what is read, and how each kind of damage is named."""

import re
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from certvq.errors import FileFormatError
from certvq.runs._read_file import (
    read_arrays,
    read_codebook,
    read_json,
    read_json_lines,
    read_picture,
)


def _refused(reader, path, text):
    with pytest.raises(FileFormatError, match=re.escape(f"{path}: {text}")):
        reader(path)


def test_json_object_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"seed": 3}')
    assert read_json(path) == {"seed": 3}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"seed": ', "no JSON (Expecting value"),
        (b"\xff\xfe", "no JSON ('utf-8' codec"),
        (b"[1]", "required one JSON object, got list"),
    ],
)
def test_damaged_json_is_refused(tmp_path, content, text):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    _refused(read_json, path, text)


@pytest.mark.parametrize(
    ("content", "steps", "cut"),
    [
        ("", [], False),
        ('{"step": 1}\n{"step": 2}\n', [1, 2], False),
        ('{"step": 1}\n{"step": 2}', [1], True),
        ('{"step": 1}\n{"st', [1], True),
    ],
)
def test_json_lines_end_with_the_last_newline(tmp_path, content, steps, cut):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    records, unfinished = read_json_lines(path)
    assert [record["step"] for record in records] == steps
    assert unfinished is cut


@pytest.mark.parametrize(
    ("line", "text"),
    [("{", "line 2 is no JSON ("), ("7", "line 2 must be a JSON object, got int")],
)
def test_damaged_json_line_is_named(tmp_path, line, text):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    _refused(read_json_lines, path, text)


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (2, 3, 1)), ("1", (2, 3, 1)), ("RGB", (2, 3, 3)), ("P", (2, 3, 3))]
)
def test_picture_has_one_or_three_channels(tmp_path, mode, shape):
    path = tmp_path / "a.png"
    Image.new(mode, (3, 2)).save(path)
    assert read_picture(path).shape == shape


def test_picture_keeps_its_pixels(tmp_path, rng):
    pixels = rng.integers(0, 256, size=(5, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)


def test_damaged_picture_is_refused(tmp_path, rng):
    path = tmp_path / "a.png"
    pixels = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    for length in (60, len(whole) // 2):
        path.write_bytes(whole[:length])
        _refused(read_picture, path, "corrupt picture (")
    path.write_text("a letter")
    _refused(read_picture, path, "corrupt picture (not a readable image (")


def test_arrays_are_read(tmp_path):
    arrays: dict[str, Any] = {"cats/tom": np.arange(3.0)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert read_arrays(tmp_path / "a.npz")["cats/tom"].tolist() == [0.0, 1.0, 2.0]


def test_damaged_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(300.0), two=np.arange(300.0))
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:100], whole[: len(whole) // 2], b"text"):
        path.write_bytes(content)
        _refused(read_arrays, path, "corrupt .npz (")
    # one flipped bit inside the numbers breaks the checksum
    path.write_bytes(whole[:400] + bytes([whole[400] ^ 1]) + whole[401:])
    _refused(read_arrays, path, "corrupt .npz (")


def test_archive_of_an_unknown_kind_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(3.0))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 10] = 99  # the compression method
    path.write_bytes(content)
    _refused(read_arrays, path, "corrupt .npz (That compression method is not supported")


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, one=np.array([{}], dtype=object))
    _refused(read_arrays, path, "corrupt .npz (it is of Python objects)")


def test_single_array_is_no_archive(tmp_path):
    with (tmp_path / "a.npz").open("wb") as stream:
        np.save(stream, np.arange(3))
    _refused(read_arrays, tmp_path / "a.npz", "one array, no .npz archive")


def test_codebook_is_read(tmp_path):
    book = torch.arange(6.0).reshape(2, 3)
    save_file({"quantizer.codebook": book}, tmp_path / "m.safetensors")
    assert torch.equal(read_codebook(tmp_path / "m.safetensors"), book)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"other": torch.zeros(2, 2)}, "got no such tensor"),
        ({"quantizer.codebook": torch.zeros(2)}, "got shape (2,)"),
        ({"quantizer.codebook": torch.tensor([[0.0, torch.nan]])}, "holds NaN or infinity"),
    ],
)
def test_model_without_a_usable_codebook_is_refused(tmp_path, tensors, text):
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    with pytest.raises(FileFormatError, match=re.escape(text)) as error:
        read_codebook(path)
    assert str(error.value).startswith(f"{path}: ")


def test_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"quantizer.codebook": torch.zeros(20, 20)}, path)
    path.write_bytes(path.read_bytes()[:500])
    _refused(read_codebook, path, "corrupt model (")


@pytest.mark.parametrize("reader", [read_json, read_json_lines, read_picture, read_arrays])
def test_missing_file_is_an_os_error(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.x"):
        reader(tmp_path / "nowhere.x")


def test_missing_model_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.x"):
        read_codebook(tmp_path / "nowhere.x")


def test_an_archive_that_unpacks_to_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.npy", "b.npy"):
            with archive.open(name, "w") as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": (200 << 20,)}
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(200):
                    member.write(bytes(1 << 20))
    _refused(read_arrays, path, "unpacks to 401 MiB, from a file of ")


@pytest.mark.parametrize("text", ["[" * 2000, '{"psnr": ' + "9" * 400 + "}"])
def test_json_that_nobody_would_write_is_refused_in_a_line(tmp_path, text):
    for reader, ending in ((read_json, ""), (read_json_lines, "\n")):
        (tmp_path / "a").write_text(text + ending)
        with pytest.raises(FileFormatError, match=r"a: (line 1 is )?no JSON \(") as caught:
            reader(tmp_path / "a")
        assert len(str(caught.value)) < 300
