"""The kernels compile for GPUs of five generations, though none is here, and as was assumed.

The cells are those that `bench/gpu.py` times and others at the borders of what is chosen; in a run
without slow tests only a few are compiled.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

from certvq._triton import INTERPRETED

FEW = ((90, 64, 65536), (80, 64, 8192))
MANY = (
    *((90, dim, codes) for dim in (8, 32, 64, 128, 256) for codes in (1024, 8192, 65536)),
    *((90, dim, 8192) for dim in (40, 100, 192, 512)),
    *((capability, dim, 65536) for capability in (80, 86, 89, 100) for dim in (8, 64, 100, 256)),
    *((capability, 768, 8192) for capability in (80, 89, 90)),
    *((capability, 64, 1_000_000) for capability in (80, 90)),
)
STACK = 16
"""Bytes of a thread's stack that are let pass: some numbers outside of the loop over codes."""

LARGER_STACK = 128
"""The same with consumer GPUs, and with groups of 32 codes, of codebooks beyond 2**17."""

ANYWHERE = 48 << 10
"""Bytes of shared memory that every GPU has, so that no prediction is needed below."""


def compiled(cells, folder):
    cache = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("_compile.py"))],
        env={**os.environ, **cache},
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not INTERPRETED, reason="the other tests run what Triton compiles")
@pytest.mark.skipif(triton.__version__ < "3.3", reason="sources are described otherwise")
@pytest.mark.parametrize("cells", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_kernels_compile_as_the_bounds_and_the_choice_of_blocks_assume(cells, tmp_path):
    """IEEE 754 in bounds and distances, no TF32; tensor cores, no spills, memory as predicted."""
    found = compiled(cells, tmp_path)
    assert len(found) == 2 * len(cells) + 11
    for name, code in found.items():
        kernel, *cell = name.split()
        assert code["machine code"] > 1000, name
        assert code["flushes"] == code["approximate"] == code["tf32"] == 0, name
        products = code["warp products"] + code["warpgroup products"]
        assert (products > 0) == (kernel in ("scan_codes", "collect_codes", "accumulate")), name
        if "predicted" in code:
            larger = cell[0] in ("86", "89") or cell[-1] == "1000000"
            assert code["stack"] <= (LARGER_STACK if larger else STACK), name
            assert max(code["shared"], code["predicted"]) <= code["limit"], name
            if cell[0] != "100":  # Blackwell's own memory of products needs some more to be read
                assert code["shared"] <= max(code["predicted"], ANYWHERE), name
            assert code["copies"] > 0, name
        if kernel in ("scan_codes", "accumulate") and cell[0] in ("90", "100"):
            assert code["warpgroup products"] > 0, name
            assert code["warp products"] == 0, name
