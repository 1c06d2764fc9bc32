"""Compile the kernels for GPUs that are not there, in a process without the interpreter.

In: on stdin, a JSON list of [capability, D, K]. Out: JSON on stdout, for each of them and each
kernel in the blocks that would be launched first for many latents, what its code holds.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from certvq._triton import _kernels
from certvq._triton._plan import COLUMNS, MOST, Device, collect_blocks, plan, scan_blocks

DEVICES: Final = {
    80: Device(163 << 10, 108, warpgroups=False),
    86: Device(99 << 10, 84, warpgroups=False),
    89: Device(99 << 10, 128, warpgroups=False),
    90: Device(227 << 10, 132, warpgroups=True),
    100: Device(227 << 10, 148, warpgroups=False),
}
"""What GPUs of each compute capability have, by NVIDIA's documentation."""

LATENTS: Final = 1 << 16

TYPES: Final = {
    **dict.fromkeys(("narrow", "left", "right"), "*fp16"),
    "codes": "*fp16",
    "offsets": "*fp32",
    **dict.fromkeys(("thresholds", "start", "sums"), "*fp32"),
    "groups": "*i32",
    "found": "*i32",
    "candidates": "*i32",
    "pending": "*i32",
    "counters": "*i32",
    "ways": "*u8",
    "chosen": "*i64",
    "lowest": "*i64",
    "vectors": "*fp32",
    "row_stride": "i64",
    "column_stride": "i64",
    **dict.fromkeys(("rows", "dim", "supers", "distinct", "slices", "tiles", "blocks"), "i32"),
}

CUOBJDUMP: Final = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def resources(cubin):
    """Return registers a thread and bytes of its stack, which is where spilled registers go."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [CUOBJDUMP, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    return {"registers": int(found[1]), "stack": int(found[2])}


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
        "warp products": ptx.count("mma.sync"),
        "warpgroup products": ptx.count("wgmma.mma_async") + ptx.count("tcgen05.mma"),
        "copies": ptx.count("cp.async.cg") + ptx.count("cp.async.ca"),
        "approximate": ptx.count("sqrt.approx") + ptx.count("rcp.approx") + ptx.count("div.full"),
        "tf32": ptx.count(".tf32"),
        "shared": made.metadata.shared,
        "machine code": len(made.asm["cubin"]),
        **resources(made.asm["cubin"]),
    }


def tiled(capability, dim, codebook_size):
    """Compile the two kernels with products for a cell."""
    shapes, device = plan(dim, codebook_size), DEVICES[capability]
    sizes = {"PADDED": shapes.padded, "CHUNK": shapes.chunk}
    span = shapes.members * COLUMNS
    chosen = {
        "scan_codes": next(scan_blocks(shapes, device, LATENTS)),
        "collect_codes": next(collect_blocks(shapes, device)),
    }
    for name, blocks in chosen.items():
        constants = {**sizes, "BLOCK": blocks.rows, "CODES": blocks.codes}
        own = {
            "scan_codes": {
                "TILES": span // blocks.codes,
                "COLUMNS": COLUMNS,
                "NAME_BITS": shapes.name_bits,
            },
            "collect_codes": {"MOST": MOST},
        }
        options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
        made = compiled(
            getattr(_kernels, name), capability, "", {**constants, **own[name]}, **options
        )
        limit, tiles = device.shared, span // blocks.codes if name == "scan_codes" else 1
        most = blocks.shared(shapes, tiles)
        yield (
            f"{name} {capability} {dim} {codebook_size}",
            {
                **made,
                "limit": limit,
                "predicted": most,
                "blocks": asdict(blocks),
            },
        )


def main():
    found = {}
    for cell in json.load(sys.stdin):
        found.update(tiled(*cell))
    few = {"BLOCK": 32, "CHUNK": 64}
    for latents in ("fp64", "fp32", "fp16", "bf16"):
        read = {**few, "PADDED": 64}
        found[f"read_rows {latents}"] = compiled(_kernels.read_rows, 90, f"*{latents}", read)
        settle = {**few, "COLUMNS": COLUMNS, "MEMBERS": 16, "MOST": MOST}
        found[f"settle_rows {latents}"] = compiled(_kernels.settle_rows, 90, f"*{latents}", settle)
    trial = {"TERMS": 16, "CHUNK": 16, "SIZE": 64}
    for capability in (80, 90, 100):
        found[f"accumulate {capability}"] = compiled(_kernels.accumulate, capability, "", trial)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
