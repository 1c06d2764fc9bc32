"""Time and memory of canonical codes beside those of a plain encode.

In: a model directory or nothing; an image size, or the demo's held-out photographs. Out: JSON. The
competitors alternate within one process; ratios are medians of pairs. Memory is what a process of
its own takes at most, less what it has before it encodes.

    python bench/canonical.py --model runs/demo/model --photographs
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from certvq.data import BUNDLED_HELDOUT, bundled_photographs, split_by_photograph
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalEncoder, canonical_codes


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a model directory; default: random weights")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels")
    parser.add_argument(
        "--photographs", action="store_true", help="the demo's held-out photographs, one by one"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = _model(given.model)
    batches = _photographs() if given.photographs else [_batch(given.size)]
    encode = CanonicalEncoder(model)
    found = [encode(batch) for batch in batches]
    plain = [model.encode(_scaled(batch)) for batch in batches]
    seconds = _alternate(
        {
            "plain": lambda: [model.encode(_scaled(batch)) for batch in batches],
            "reused": lambda: [encode(batch) for batch in batches],
            "captured": lambda: [canonical_codes(model, batch) for batch in batches],
        },
        given.rounds,
    )
    base = seconds["plain"]
    counts = [each.counts() for each in found]
    pairs = zip(plain, found, strict=True)
    figures = {
        "tokens": sum(each.codes.numel() for each in found),
        "decided_by": {rung: sum(each[rung] for each in counts) for rung in counts[0]},
        "other_codes_in_float32": sum(int((codes != each.codes).sum()) for codes, each in pairs),
        "plain_seconds": statistics.median(base),
        "ratio": {
            name: statistics.median(a / b for a, b in zip(each, base, strict=True))
            for name, each in seconds.items()
        },
        "mib": {
            way: _in_a_process(_peak, way, given.model, batches) for way in ("plain", "reused")
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


def _photographs() -> list[torch.Tensor]:
    held = split_by_photograph(bundled_photographs(), heldout=BUNDLED_HELDOUT, seed=0).validation
    return [torch.tensor(each.pixels).permute(2, 0, 1)[None] for each in held]


def _scaled(batch: torch.Tensor) -> torch.Tensor:
    return batch / 255 if batch.dtype == torch.uint8 else batch


def _in_a_process(function: Callable[..., float], *arguments: object) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _peak(way: str, path: Path | None, batches: list[torch.Tensor]) -> float:
    """Return the MiB that a way takes beyond what the process has once it is ready to encode."""
    model = _model(path)
    encode = CanonicalEncoder(model)
    for batch in batches:
        encode._reused.ready(batch)  # noqa: SLF001 (captures, and encodes nothing)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    with torch.no_grad():
        for batch in batches:
            encode(batch) if way == "reused" else model.encode(_scaled(batch))
    return round(_status("VmHWM") - before, 1)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


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
