"""Calls of every kind reach a GPU: Triton takes the arguments, specialises and compiles.

Integers that are 1 become constants of a kernel, and those that are multiples of 16 are said to be;
`test_compile.py` compiles for neither. Nothing runs here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

from certvq._triton import INTERPRETED

FEW = (
    (90, 1, 1, 1, "float32"),
    (90, 3, 64, 1, "float16"),
    (90, 16, 16, 16, "float64"),
)
MANY = (
    *((90, 65536, codes, dim, "float32") for codes in (1024, 8192, 65536) for dim in (8, 64, 256)),
    (90, 1, 2, 1, "bfloat16"),
    (90, 2, 1, 16, "float16"),
    (90, 1, 65, 17, "float64"),
    (80, 33, 5000, 300, "bfloat16"),
    (80, 1, 100, 768, "float32"),
    (86, 7, 8192, 64, "float32"),
    (89, 70000, 1_000_000, 4, "float16"),
    *((100, 1, 1000, 1025, "float32") for _ in range(triton.__version__ >= "3.3")),
)


@pytest.mark.skipif(not INTERPRETED, reason="the other tests launch what Triton compiles")
@pytest.mark.parametrize("calls", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_all_kernels_are_compiled_for_the_arguments_of_calls(calls, tmp_path):
    environment = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("_jit.py"))],
        env={**os.environ, **environment},
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for call in calls:
        name = " ".join(map(str, call))
        launched = [kernels for key, kernels in found.items() if key.startswith(f"{name} ")]
        assert launched, name
        for kernels in launched:
            names = [kernel for kernel, _, _ in kernels]
            assert names == ["read_rows", "scan_codes", "collect_codes", "settle_rows"], name
            assert all(flushes == 0 for _, _, flushes in kernels), name
