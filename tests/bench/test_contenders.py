"""Every contender that is installed finds the codes of an easy case."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import certvq
from certvq.bench import _contenders
from certvq.bench._contenders import CERTVQ, NAMES, contenders

PEERS = ["faiss", "torch-addmm", "torch-cdist", "scikit-learn", "vector-quantize-pytorch"]


def test_certvq_is_the_first():
    assert list(NAMES) == [CERTVQ, *PEERS]


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_finds_the_codes(name, rng):
    contender = contenders()[name]
    if contender.missing:
        pytest.skip(f"not installed: {contender.missing}")
    latents = rng.standard_normal((40, 6)).astype(np.float32)
    codebook = rng.standard_normal((9, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import of another library
        codes = contender.prepare(codebook)(latents)
    assert codes.tolist() == certvq.assign(latents, codebook).codes.tolist()


def test_the_backend_is_certvqs():
    codebook = np.eye(2, dtype=np.float32)
    with pytest.raises(certvq.errors.BackendUnavailableError, match="got 'nope'"):
        contenders("nope")[CERTVQ].prepare(codebook)(codebook)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(_contenders, "_is_installed", lambda module: module == "torch")
    missing = {name: one.missing for name, one in contenders().items() if one.missing}
    assert missing == {
        "faiss": ("faiss",),
        "scikit-learn": ("sklearn",),
        "vector-quantize-pytorch": ("vector_quantize_pytorch",),
    }


def test_the_package_is_imported_without_the_peers():
    code = (
        "import sys\n"
        "for name in ('torch', 'faiss', 'sklearn', 'vector_quantize_pytorch', 'threadpoolctl'):\n"
        "    sys.modules[name] = None\n"
        "from certvq.bench import BenchConfig, bench_assign, parse_cell\n"
        "cells = (parse_cell('16x4x2'),)\n"
        "config = BenchConfig(cells=cells, kinds=('normal',), rounds=1, memory=False)\n"
        "found = bench_assign(config)\n"
        "entries = found['results'][0]['contenders']\n"
        "print({name: entry['status'] for name, entry in entries.items()})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'certvq': 'measured', 'faiss': 'not installed: faiss'" in done.stdout
    assert done.stdout.count("not installed") == 5
