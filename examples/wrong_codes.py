"""Count how often the usual formulas return a code that is not the nearest.

In: nothing. Out: a table with the share of wrong codes of three uncertified formulas and of certvq,
for latents of unit variance around several means. certvq's NumPy backend decides what is right.

    python examples/wrong_codes.py
"""

import numpy as np
import torch

import certvq

ROWS, CODES, DIM = 4096, 1024, 32


def expansion(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return the argmin of |z|^2 + |c|^2 - 2 z.c, as most layers compute it."""
    return ((z * z).sum(1, keepdim=True) + (c * c).sum(1) - 2 * z @ c.T).argmin(1)


def under_autocast(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return the same under bfloat16 autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return expansion(z, c)


def certified(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return certvq's codes, found again by the other backend."""
    return certvq.assign(z, c, backend="torch").codes


FORMULAS = {
    "torch.cdist(...).argmin": lambda z, c: torch.cdist(z, c).argmin(1),
    "expansion, float32": expansion,
    "expansion, bf16 autocast": under_autocast,
    "certvq.assign": certified,
}


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(f"{'mean of the latents':26}" + "".join(f"{mean:>10}" for mean in (0, 10, 100, 1000)))
    shares: dict[str, list[float]] = {name: [] for name in FORMULAS}
    for mean in (0, 10, 100, 1000):
        z = torch.from_numpy((rng.standard_normal((ROWS, DIM)) + mean).astype(np.float32))
        c = torch.from_numpy((rng.standard_normal((CODES, DIM)) + mean).astype(np.float32))
        right = certvq.assign(z, c).codes
        for name, formula in FORMULAS.items():
            shares[name].append(float((formula(z, c) != right).double().mean()))
    for name, row in shares.items():
        print(f"{name:26}" + "".join(f"{share:10.1%}" for share in row))


if __name__ == "__main__":
    main()
