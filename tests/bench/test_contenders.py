"""Every contender that is installed finds the codes of an easy case."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import certvq
from certvq.bench import _contender
from certvq.bench._contender import Changing, ready
from certvq.bench._contenders import CERTVQ, NAMES, contenders

PEERS = [
    "faiss",
    "faiss-expert",
    "torch-addmm",
    "torch-cdist",
    "scikit-learn",
    "vector-quantize-pytorch",
    "vector-quantize-pytorch-train",
]


def require(contender):
    if contender.missing:
        reason = f"not installed: {contender.missing}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_certvq_is_the_first():
    assert list(NAMES) == [CERTVQ, *PEERS]


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_finds_the_codes(name, rng):
    contender = contenders()[name]
    require(contender)
    latents = rng.standard_normal((40, 6)).astype(np.float32)
    codebook = rng.standard_normal((9, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import of another library
        codes = contender.prepare(codebook)(latents)
    assert codes.tolist() == certvq.assign(latents, codebook).codes.tolist()


def test_a_layer_in_train_mode_begins_every_call_anew(rng):
    contender = contenders()["vector-quantize-pytorch-train"]
    require(contender)
    assert "against the codebook before it" in contender.note
    latents = rng.standard_normal((400, 6)).astype(np.float32)
    codebook = rng.standard_normal((9, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import of another library
        search = contender.prepare(codebook)
    right = certvq.assign(latents, codebook).codes.tolist()
    assert [search(latents).tolist() for _ in range(3)] == [right] * 3
    once = ready(search)
    assert once(latents).tolist() == right
    assert once(latents).tolist() != right  # its codebook has changed: it really was training


def test_what_changes_is_made_ready_for_each_call():
    made = []
    changing = Changing(lambda: made.append(1) or (lambda latents: latents))
    assert changing("z") == "z"
    assert ready(changing)("z") == "z"
    assert len(made) == 2
    assert ready(len) is len


def test_the_backend_is_certvqs():
    codebook = np.eye(2, dtype=np.float32)
    with pytest.raises(certvq.errors.BackendUnavailableError, match="got 'nope'"):
        contenders("nope")[CERTVQ].prepare(codebook)(codebook)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(_contender, "_is_installed", lambda module: module == "torch")
    missing = {name: one.missing for name, one in contenders().items() if one.missing}
    assert missing == {
        "faiss": ("faiss",),
        "faiss-expert": ("faiss",),
        "scikit-learn": ("sklearn",),
        "vector-quantize-pytorch": ("vector_quantize_pytorch",),
        "vector-quantize-pytorch-train": ("vector_quantize_pytorch",),
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
    assert done.stdout.count("not installed") == 7
