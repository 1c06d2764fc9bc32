"""What does not fit into the free memory is not run."""

import pytest

from certvq.bench import _free_memory
from certvq.bench._cells import Cell
from certvq.bench._contender import Contender
from certvq.bench._contenders import contenders
from certvq.bench._free_memory import free_bytes, lacking

GIB = 2**30
CELL = Cell(16384, 16384, 8)  # 1 GiB for each matrix of float32


def contender(matrices):
    return Contender("x", (), lambda codebook: lambda z: z, matrices)


@pytest.mark.parametrize(
    ("matrices", "free", "text"),
    [
        (3, 6, ""),
        (3, 5.9, "skipped: needs about 3 GiB"),
        (6, 11, "skipped: needs about 6 GiB"),
        (0, 0, ""),
    ],
)
def test_half_of_the_free_memory_may_be_taken(matrices, free, text, monkeypatch):
    monkeypatch.setattr(_free_memory, "free_bytes", lambda: free * GIB)
    assert lacking(contender(matrices), CELL) == text


def test_those_that_build_all_scores_are_known():
    building = {name for name, one in contenders().items() if one.matrices}
    assert building == {
        "torch-addmm",
        "torch-cdist",
        "vector-quantize-pytorch",
        "vector-quantize-pytorch-train",
    }


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Put stand-ins in the place of the system's files."""
    for name in ("_MEMINFO", "_LIMIT", "_USED"):
        monkeypatch.setattr(_free_memory, name, tmp_path / name)
    return tmp_path


def test_free_is_what_the_machine_and_the_container_leave(files):
    (files / "_MEMINFO").write_text("MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    assert free_bytes() == 500 * 1024
    (files / "_LIMIT").write_text("4096\n")
    (files / "_USED").write_text("1096\n")
    assert free_bytes() == 3000
    (files / "_LIMIT").write_text("max\n")
    assert free_bytes() == 500 * 1024


def test_a_system_that_does_not_tell_has_what_is_built_in(files, monkeypatch):
    assert 2**20 < free_bytes() < float("inf")

    def refuse(name):
        raise ValueError(name)

    monkeypatch.setattr(_free_memory.os, "sysconf", refuse)
    assert free_bytes() == float("inf")
