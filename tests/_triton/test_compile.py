"""The kernels compile for an A100 and an H100, though none is here, and their PTX is as assumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from certvq._triton import INTERPRETED


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    cache = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("_compile.py"))],
        env={**os.environ, **cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not INTERPRETED, reason="the other tests run what Triton compiles")
def test_kernels_compile_without_flushing_or_approximating(found):
    """IEEE 754 in all arithmetic of bounds and distances, tensor cores in the scan, no TF32."""
    assert len(found) == 7
    for name, code in found.items():
        assert code["machine code"] > 1000, name
        assert code["flushes"] == code["approximate"] == code["tf32"] == 0, name
        assert (code["tensor cores"] > 0) == name.startswith("scan"), name
        assert code["shared"] <= 163 * 1024, name
