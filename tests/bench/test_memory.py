"""Peak memory, in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from certvq.bench import _memory
from certvq.bench._cells import Cell
from certvq.bench._contenders import Contender
from certvq.bench._data import drawn
from certvq.bench._memory import growth, peak_bytes, write_numbers

MIB = 2**20


@pytest.fixture
def folder(tmp_path):
    write_numbers(tmp_path, drawn(Cell(64, 8, 4), "normal"))
    return tmp_path


def test_the_peak_is_that_of_the_search(folder, monkeypatch):
    """Memory that is freed before the search ends is counted, once."""

    def search(latents):
        for _ in range(3):
            np.ones(8 * MIB if len(latents) > 1 else 1)
        return np.zeros(len(latents), np.int64)

    large = Contender("large", (), lambda codebook: search)
    monkeypatch.setattr(_memory, "contenders", lambda backend: {"large": large})
    assert 63 * MIB < growth(folder, "large", backend="auto", threads=1) < 80 * MIB


def test_what_this_process_holds_is_not_counted(folder):
    held = np.ones(24 * MIB)
    peak = peak_bytes(folder, "certvq", backend="numpy", threads=1)
    assert peak is not None
    assert 0 <= peak < 64 * MIB < held.nbytes


def test_a_process_that_fails_gives_nothing(folder):
    assert peak_bytes(folder, "certvq", backend="nope", threads=1) is None


ONE_CALL = """
import sys
from pathlib import Path
import certvq
from certvq.bench import _memory
from certvq.bench._contenders import Contender

def prepare(codebook):
    return lambda latents: certvq.assign(latents, codebook).codes

_memory.contenders = lambda backend: {"one call": Contender("one call", (), prepare)}
print(_memory.growth(Path(sys.argv[1]), "one call", backend="native", threads=1))
"""


def test_a_call_packs_the_codebook_and_copies_it_not(tmp_path):
    """Within 1.5 times the packed codebook and 64 bytes a row, and far from one copy more.

    In a fresh process: this one may have freed as much as it asks for.
    """
    rows, codes, dim = 512, 65536, 64
    write_numbers(tmp_path, drawn(Cell(rows, codes, dim), "normal"))
    command = [sys.executable, "-c", ONE_CALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    packed = codes * (4 * dim + 2 * dim + 4)  # float32, 16-bit integers, offsets
    copy = 4 * codes * dim
    assert 0.8 * packed < int(done.stdout) < packed + copy / 2 < 1.5 * packed + 64 * rows
