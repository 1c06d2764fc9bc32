"""How many files of certvq a call enters, and how often it goes from one to another.

In: nothing. Out: a table, or the files of one walk.

    python bench/walk.py
    python bench/walk.py --files "VectorQuantize, training forward"

A file counts as entered when one of its functions runs, also from within torch; what runs at import
does not count. Each walk is made twice, and the second one counts: a codebook has then started.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import certvq

ROOT = Path(certvq.__file__).parent


class Walk:
    """The files that a call has entered so far, in order, and the hops between them."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.hops = 0
        self._known: set[str] = set()
        self._last = ""

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        """Take note of a function that begins; for `sys.setprofile`."""
        if event != "call":
            return
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(ROOT):
            return
        name = str(path.relative_to(ROOT))
        self.hops += name != self._last
        self._last = name
        if name not in self._known:
            self._known.add(name)
            self.files.append(name)


@contextmanager
def watched() -> Iterator[Walk]:
    """Watch what the body calls, in this thread."""
    walk = Walk()
    sys.setprofile(walk.see)
    try:
        yield walk
    finally:
        sys.setprofile(None)


def vector_quantize() -> Callable[[], None]:
    """Make a step of `VectorQuantize`."""
    from certvq.nn import VectorQuantize

    layer = VectorQuantize(16, 64).train()
    x = torch.randn(1, 256, 16, requires_grad=True)

    def step() -> None:
        layer(x).loss.backward()

    return step


def compat_residual() -> Callable[[], None]:
    """Make a step of `ResidualVQ` of compat with two levels."""
    from certvq.compat.vector_quantize_pytorch import ResidualVQ

    layer = ResidualVQ(dim=16, codebook_size=64, num_quantizers=2).train()
    x = torch.randn(1, 256, 16, requires_grad=True)

    def step() -> None:
        layer(x)[2].sum().backward()

    return step


def photograph() -> Callable[[], None]:
    """Make what encodes one photograph, audits its codes and reconstructs it."""
    from certvq.data import Photograph
    from certvq.models import VQVAE, VQVAEConfig
    from certvq.tokens import encode_photographs

    model = VQVAE(VQVAEConfig()).eval()
    pixels = torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy()
    one = [Photograph("a", pixels)]

    def step() -> None:
        encode_photographs(model, one)

    return step


WALKS: dict[str, Callable[[], Callable[[], None]]] = {
    "VectorQuantize, training forward": vector_quantize,
    "compat.ResidualVQ, two levels": compat_residual,
    "a photograph to tokens": photograph,
}


def walked(name: str) -> Walk:
    """Make a walk twice, and return the second."""
    step = WALKS[name]()
    step()
    with watched() as walk:
        step()
    return walk


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", choices=WALKS)
    options = parser.parse_args(arguments)
    if options.files:
        print("\n".join(walked(options.files).files))
        return 0
    print("| walk | files | hops |\n|---|--:|--:|")
    for name in WALKS:
        walk = walked(name)
        print(f"| {name} | {len(walk.files)} | {walk.hops} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
