"""Arrays are read from files without ever unpickling, and refused by name.

Also of `certvq._files.npy`.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from certvq.errors import FileFormatError, OptionError
from certvq.jobs._arrays import load_array, load_codebook
from certvq.models import VQVAE, VQVAEConfig


def test_an_array_comes_back(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    assert load_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04zip"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.npy: not an \.npy file; write one with numpy"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize("keep", [6, 8, 60, -1])
def test_a_truncated_array_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"a\.npy: corrupt, truncated or of Python objects"):
        load_array(path)


def test_python_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="of Python objects"):
        load_array(tmp_path / "a.npy")


def test_a_missing_file_is_an_os_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_array(tmp_path / "nothing")


def test_the_codebook_of_a_model_is_read_from_its_folder(model_dir: Path) -> None:
    wanted = VQVAE.from_pretrained(model_dir).quantizer.codebook.numpy()
    assert np.array_equal(load_codebook(model_dir), wanted)


def test_a_model_without_one_codebook_is_named(tmp_path: Path) -> None:
    VQVAE(VQVAEConfig(hidden=8, quantizer="fsq")).save_pretrained(tmp_path / "m")
    with pytest.raises(OptionError, match="m: --codebook takes models with the quantizer 'vq'"):
        load_codebook(tmp_path / "m")


def test_a_codebook_may_be_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.eye(2))
    assert load_codebook(tmp_path / "c.npy").tolist() == [[1, 0], [0, 1]]


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }"


def _with_header(path: Path, header: str) -> None:
    text = header.encode()
    path.write_bytes(b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + bytes(48))


def test_a_header_that_others_write_is_read(tmp_path: Path) -> None:
    _with_header(tmp_path / "a.npy", "{ 'shape':(2, 3),'fortran_order':True, 'descr':\"<f8\" }")
    assert load_array(tmp_path / "a.npy").shape == (2, 3)
    np.save(tmp_path / "b.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert load_array(tmp_path / "b.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.rows(
    ("old", "new"),
    [
        ("(6,)", "(6,"),  # an unclosed parenthesis
        ("(6,)", f"({2**62},)"),
        ("(6,)", f"({10**400},)"),
        ("(6,)", f"(0, {2**61}, {2**61})"),
        ("(6,)", "(-6, -1)"),
        ("(6,)", "(5,)"),
        ("(6,)", "6"),
        ("(6,)", "(True,)"),
        ("(6,)", "(" * 5000),
        ("<f8", "<q9"),
        ("<f8", "|V0"),
        ("'<f8'", "[('a', '<f8', 7)]"),
        ("False", "None"),
        ("'shape'", "'shap'"),
        (HEADER, "7"),
        (HEADER, HEADER + " " * 12_000),
        (HEADER, "9" * 5000),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, old: str, new: str) -> None:
    _with_header(tmp_path / "a.npy", HEADER.replace(old, new))
    with pytest.raises(FileFormatError, match=r"a\.npy: corrupt, truncated or of Python ob") as it:
        load_array(tmp_path / "a.npy")
    assert "\n" not in str(it.value)


def test_an_array_comes_out_of_a_pipe(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    reader, writer = os.pipe()
    os.write(writer, (tmp_path / "a.npy").read_bytes())
    os.close(writer)
    assert load_array(Path(f"/dev/fd/{reader}")).tolist() == [[1, 0], [0, 1]]
    os.close(reader)
