"""Compile the kernels for GPUs that are not there, in a process without the interpreter.

Out: JSON on stdout, for each kernel and compute capability what its PTX and machine code hold.
"""

import json
import sys
from typing import Final

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from certvq._triton import _kernels
from certvq._triton._plan import LISTED, plan

TYPES: Final = {
    "narrow": "*fp16",
    "codes": "*fp16",
    "offsets": "*fp32",
    "groups": "*i32",
    "counts": "*i32",
    "ways": "*u8",
    "chosen": "*i64",
    "lowest": "*i64",
    "vectors": "*fp32",
    "rows": "i32",
    "dim": "i32",
    "supers": "i32",
    "distinct": "i32",
    "row_stride": "i64",
    "column_stride": "i64",
}


def compiled(kernel, capability, latents, constants, **options):
    """Return what a kernel becomes, given its compile-time constants."""
    names = kernel.arg_names
    types = {"latents": latents, **TYPES}
    signature = {
        name: "constexpr" if name in constants else types.get(name, "*fp64") for name in names
    }
    pointers = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if signature[name].startswith("*")
    }
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=pointers)
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(source, target=target, options={**options, "enable_fp_fusion": True})
    ptx = made.asm["ptx"]
    return {
        "flushes": ptx.count(".ftz"),
        "tensor cores": ptx.count("mma.sync") + ptx.count("wgmma.mma_async"),
        "approximate": ptx.count("sqrt.approx") + ptx.count("rcp.approx") + ptx.count("div.full"),
        "tf32": ptx.count(".tf32"),
        "shared": made.metadata.shared,
        "machine code": len(made.asm["cubin"]),
    }


def main():
    shapes, found = plan(64, 8192), {}
    blocks = {"CODES": shapes.codes, "TILES": shapes.tiles, "LISTED": LISTED[0]}
    scan = {
        **blocks,
        "PADDED": shapes.padded,
        "BLOCK": shapes.rows,
        "CHUNK": shapes.chunk,
        "NAME_BITS": shapes.name_bits,
    }
    few = {"BLOCK": 32, "CHUNK": shapes.chunk}
    pipeline = {"num_warps": shapes.warps, "num_stages": shapes.stages}
    for capability in (80, 90):
        found[f"scan {capability}"] = compiled(
            _kernels.scan_codes, capability, "", scan, **pipeline
        )
    for latents in ("fp64", "fp32", "fp16", "bf16"):
        read = {**few, "PADDED": shapes.padded}
        found[f"read {latents}"] = compiled(_kernels.read_rows, 90, f"*{latents}", read)
    found["settle"] = compiled(_kernels.settle_rows, 90, "*bf16", {**few, **blocks})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
