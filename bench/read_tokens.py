"""Tokens a second that `certvq.tokens.TokenDataset` reads from the page cache, at random windows.

Writes a data set of random codes, lays it out, and reads windows by random permutation: by
`TokenDataset.batch`, and through a `DataLoader`. In the same run the bound: rows of the mapped
array, widened by NumPy's own fancy indexing, and the same windows read one by one. Of one process
the processor's time counts, of the `DataLoader` the clock's.

    python bench/read_tokens.py --tokens 100000000 --out bench/results/read-tokens.json
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from certvq.tokens import DatasetWriter, Job, TokenDataset

_PLACES = 4096  # tokens of a row


def write_set(folder: Path, tokens: int, codebooks: int, parts: int) -> None:
    """Write a set of random codes of 1024."""
    vectors = [torch.zeros(1024, 1)] * codebooks
    job = Job.of(
        torch.nn.Identity(), vectors, modality="audio", inputs=[str(n) for n in range(parts)]
    )
    rows = tokens // (_PLACES * codebooks * parts)

    def batches(part: int) -> Iterator[dict[str, list]]:
        generator = np.random.default_rng(part)
        shape = (_PLACES, codebooks) if codebooks > 1 else (_PLACES,)
        for row in range(rows):
            yield {
                "key": [f"{part}/{row}"],
                "shape": [shape],
                "size": [(_PLACES * 320, 24000)],
                "codes": [generator.integers(0, 1024, shape, dtype=np.uint16)],
                "decided_by": [(_PLACES * codebooks, 0, 0)],
            }

    with DatasetWriter(folder, job) as writer:
        for number in writer.missing:
            writer.write(number, batches(number))


def rate(function, tokens: int, clock=time.process_time) -> float:
    """Tokens a second of the best of three calls, after one that warms the page cache."""
    function()
    times = []
    for _ in range(3):
        begin = clock()
        function()
        times.append(clock() - begin)
    return tokens / min(times)


def measure(folder: Path, length: int, pattern: str, batch: int) -> dict[str, float]:
    data = TokenDataset(folder, length=length, pattern=pattern, pack=True)
    windows = len(data) - 1
    order = np.random.default_rng(0).permutation(windows)
    per_window = length * (data.pattern.width or 1)
    chunks = [order[i : i + batch] for i in range(0, windows, batch)]

    def batched() -> None:
        for chunk in chunks:
            data.batch(chunk)

    def fancy() -> None:
        stream = data._flat.codes.reshape(-1)  # noqa: SLF001
        rows = stream[: len(stream) // per_window * per_window].reshape(-1, per_window)
        for chunk in chunks:
            rows[chunk % len(rows)].astype(np.int64)

    def one_by_one() -> None:
        for index in order[: len(order) // 10].tolist():
            data[index]

    batches = BatchSampler(RandomSampler(data), batch, drop_last=False)
    loader = DataLoader(data, sampler=batches, batch_size=None, num_workers=2)

    def loaded() -> None:
        for _ in loader:
            pass

    tokens = windows * per_window
    return {
        "batch": rate(batched, tokens),
        "fancy indexing": rate(fancy, tokens),
        "one by one": rate(one_by_one, tokens // 10),
        "DataLoader, 2 workers": rate(loaded, tokens, time.perf_counter),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for codebooks, patterns in ((1, ("flat",)), (8, ("flat", "parallel", "delayed"))):
            folder = Path(scratch) / str(codebooks)
            write_set(folder, given.tokens, codebooks, parts=4)
            begin = time.perf_counter()
            TokenDataset(folder, length=1)
            print(f"{codebooks} codebooks: laid out in {time.perf_counter() - begin:.1f} s")
            for pattern in patterns:
                name = f"{codebooks} codebooks, {pattern}"
                found[name] = measure(folder, given.length, pattern, given.batch)
                for way, value in found[name].items():
                    print(f"{name:24} {way:24} {value:.3g} tokens/s", flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"tokens": given.tokens, "rates": found}, indent=1))


if __name__ == "__main__":
    main()
