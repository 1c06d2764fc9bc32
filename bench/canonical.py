"""Time of canonical codes beside those of a plain encode.

In: a model directory or nothing, an image size. Out: JSON. The competitors alternate within one
process; ratios are medians of pairs.

    python bench/canonical.py --model runs/demo/model --size 256
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalEncoder, canonical_codes


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a model directory; default: random weights")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, batch = _model(given.model), _batch(given.size)
    encode = CanonicalEncoder(model)
    found = encode(batch)
    plain = model.encode(batch)
    seconds = _alternate(
        {
            "plain": lambda: model.encode(batch),
            "reused": lambda: encode(batch),
            "captured": lambda: canonical_codes(model, batch),
        },
        given.rounds,
    )
    base = seconds["plain"]
    figures = {
        "tokens": found.codes.numel(),
        "decided_by": found.counts(),
        "other_codes_in_float32": int((plain != found.codes).sum()),
        "plain_seconds": statistics.median(base),
        "ratio": {
            name: statistics.median(a / b for a, b in zip(each, base, strict=True))
            for name, each in seconds.items()
        },
        "threads": given.threads,
    }
    print(json.dumps(figures, indent=2))


def _model(path: Path | None) -> VQVAE:
    if path is not None:
        return VQVAE.from_pretrained(path).eval()
    model = VQVAE(VQVAEConfig(), generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        model(_batch(256))  # the codebook starts from the latents
    return model.eval()


def _batch(size: int) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def _alternate(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
