"""Peak memory, in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from certvq.bench._cells import Cell
from certvq.bench._data import drawn
from certvq.bench._memory import peak_bytes, write_numbers

MIB = 2**20


@pytest.fixture
def folder(tmp_path):
    write_numbers(tmp_path, drawn(Cell(64, 8, 4), "normal"))
    return tmp_path


def test_what_this_process_holds_is_not_counted(folder):
    held = np.ones(24 * MIB)
    peak = peak_bytes(folder, "certvq", backend="numpy", threads=1)
    assert peak is not None
    assert 0 <= peak < 64 * MIB < held.nbytes


def test_a_process_that_fails_gives_nothing(folder):
    assert peak_bytes(folder, "certvq", backend="nope", threads=1) is None


IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path

import numpy as np

import certvq
from certvq.bench import _memory
from certvq.bench._contender import Contender

def one_call(codebook):
    return lambda latents: certvq.assign(latents, codebook).codes

def passing(codebook):
    def search(latents):
        for _ in range(3):
            np.ones(2**23 if len(latents) > 1 else 1)
        return np.zeros(len(latents), np.int64)
    return search

_memory.contenders = lambda backend: {
    each.__name__: Contender(each.__name__, (), each) for each in (one_call, passing)
}
print(_memory.growth(Path(sys.argv[1]), sys.argv[2], backend="native", threads=1))
"""
"""This process may have freed, and kept, as much as a search asks for."""


def grown(folder, name):
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_peak_is_that_of_the_search(folder):
    """Memory that is freed before the search ends is counted, once."""
    assert 63 * MIB < grown(folder, "passing") < 80 * MIB


def test_a_call_packs_the_codebook_and_copies_it_not(tmp_path):
    """Within 1.5 times the packed codebook and 64 bytes a row, and far from one copy more."""
    rows, codes, dim = 512, 65536, 64
    write_numbers(tmp_path, drawn(Cell(rows, codes, dim), "normal"))
    packed = codes * (4 * dim + 2 * dim + 4)  # float32, 16-bit integers, offsets
    copy = 4 * codes * dim
    assert 0.8 * packed < grown(tmp_path, "one_call") < packed + copy / 2
    assert packed + copy / 2 < 1.5 * packed + 64 * rows
