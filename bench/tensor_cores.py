"""Hold the assumed bound for tensor cores against bit-accurate models of them, on a CPU.

    pip install --no-deps mmasim==2.1.1      # its wheel states no licence: no part of this project
    python bench/tensor_cores.py

In: nothing. Out: for each architecture that the Triton backend can meet and each type, the worst
error of 16 products and an accumulator as a share of what `ax_tensor_core_accumulate` allows, and
whether half of that would be too little. Status 1 if the bound is exceeded, or if half of it is
exceeded nowhere: then the bound would be too wide, or the operands too tame to tell.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

STEPS = {
    "Ampere mma": ("MMA", "Ampere", "m16n8k16.f32.{0}.{0}.f32"),
    "Ada mma": ("MMA", "Ada Lovelace", "m16n8k16.f32.{0}.{0}.f32"),
    "Hopper mma": ("MMA", "Hopper", "m16n8k16.f32.{0}.{0}.f32"),
    "Hopper wgmma": ("WGMMA", "Hopper", "m64n64k16.f32.{0}.{0}"),
    "Blackwell mma": ("MMA", "Blackwell", "m16n8k16.f32.{0}.{0}.f32"),
    "RTX Blackwell mma": ("MMA", "RTX Blackwell", "m16n8k16.f32.{0}.{0}.f32"),
}
"""What mmasim calls the instructions; all add 16 products to a float32."""

PRODUCTS = 16
UNIT = 2.0**-23


def operands(kind: torch.dtype, rows: int, seed: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield operands (N, 16) twice, and accumulators (N,): random ones, and a few awkward ones."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, spread: float = 0.0) -> torch.Tensor:
        normal = torch.randn(*shape, generator=generator)
        return normal * torch.exp2(spread * (torch.rand(*shape, generator=generator) * 2 - 1))

    for spread in (0.0, 3.0, 6.0):
        a, b = (draw(rows, PRODUCTS, spread=spread).to(kind) for _ in range(2))
        exact = (a.double() * b.double()).sum(1)
        yield a, b, draw(rows, spread=2 * spread)
        yield a, b, -exact.float()  # all cancels
        yield a, b, torch.zeros(rows)
    # One large addend, and many that lie just below what is kept of them, all of one sign.
    below = 1 - float(torch.finfo(kind).eps) / 2
    for shift in range(20, 28):
        a = torch.full((1, PRODUCTS), below * 2.0 ** -(shift // 2)).to(kind)
        b = torch.full((1, PRODUCTS), 2.0 ** -(shift - shift // 2)).to(kind)
        yield a, b, torch.ones(1)
        # With a product in each step that reaches the last places kept, its sum is cut off as well.
        for width, multiple in ((8, 2), (16, 4)):
            reaching = b.clone()
            reaching[:, ::width] *= multiple
            yield a, reaching, torch.ones(1)


def worst_share(step: Any, kind: torch.dtype, rows: int, seed: int) -> float:
    """Return the greatest error over the bound."""
    worst = 0.0
    for a, b, start in operands(kind, rows, seed):
        made = step.dpa(a, b, start).double()
        products = a.double() * b.double()  # exact
        exact = _exact_sums(products, start)
        magnitude = products.abs().sum(1) + start.double().abs()
        bound = (PRODUCTS + 1) * (UNIT * magnitude + 2.0**-126)
        worst = max(worst, float(((made - exact).abs() / bound).max()))
    return worst


def _exact_sums(products: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    rows = torch.cat([products, start.double()[:, None]], 1).tolist()
    return torch.from_numpy(np.array([math.fsum(row) for row in rows]))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261130)
    options = parser.parse_args()
    from mmasim import nv_ptx

    shares = []
    for name, (kind_of, arch, shape) in STEPS.items():
        for short, kind in (("f16", torch.float16), ("bf16", torch.bfloat16)):
            step = getattr(nv_ptx, kind_of)(arch, shape.format(short))
            share = worst_share(step, kind, options.rows, options.seed)
            shares.append(share)
            print(f"| {name} | {short} | {share:.4f} |")
    print(f"worst {max(shares):.4f}; half of the bound is exceeded: {max(shares) > 0.5}")
    sys.exit(not 0.5 < max(shares) <= 1)


if __name__ == "__main__":
    main()
