"""Damaged files are read as they were or refused in a line; the soak finds what is not."""

import importlib.util
from pathlib import Path

import pytest

from certvq.errors import FileFormatError

pytestmark = pytest.mark.slow

_SPEC = importlib.util.spec_from_file_location(
    "soak_files", Path(__file__).parents[2] / "bench" / "soak_files.py"
)
soak_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(soak_files)


def faults(kind, count):
    found = list(soak_files.tries(kind, [1], range(count), begin=lambda case: None))
    assert [case for case, _, _ in found] == list(range(count))
    return {outcome for _, outcome, _ in found}, [fault for *_, fault in found if fault]


@pytest.mark.parametrize("name", list(soak_files.KINDS))
def test_sixty_mutations_of_each_kind(name):
    outcomes, found = faults(soak_files.KINDS[name], 60)
    assert found == []
    assert "refused" in outcomes


def refuse(error):
    def read(path):
        if path.read_bytes() != b"whole":
            raise error
        return ""

    return read


def hoard(path):
    if path.read_bytes() != b"whole":
        len(bytes(bytearray(600 << 20)))
    return ""


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda path: path.read_bytes().hex(), "other content was taken for good"),
        (refuse(IndexError("oh")), "IndexError: 'oh'"),
        (refuse(SystemExit(3)), "SystemExit: '3'"),
        (refuse(FileFormatError("damaged")), "no line that names the file"),
        (hoard, "MiB more memory"),
    ],
)
def test_the_soak_finds_what_is_planted(read, fault):
    def make(folder):
        (folder / "file").write_bytes(b"whole")
        return [folder / "file"]

    _, found = faults(soak_files.Kind(make, read), 1)
    assert found
    assert all(fault in text for text in found)
