"""How the time per row grows with N, K and D.

In: `GrowthConfig`. Out: a record for JSON. Latents are made in blocks, as an
encoder gives them, and only the search is timed: N is limited by patience, not by memory. Must not
print.
"""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import certvq
from certvq._files.atomic import atomic_path
from certvq._files.json import dumps
from certvq._types import Progress, no_progress
from certvq.bench import _measure, _report
from certvq.bench._cells import Cell
from certvq.bench._contender import Contender, Search
from certvq.bench._contenders import CERTVQ, contenders
from certvq.bench._data import Float32Array
from certvq.bench._memory import high_water, reset_high_water
from certvq.bench._threads import thread_limit
from certvq.errors import OptionError

BLOCK: Final = 65536
"""Rows that are made and assigned at once."""

LONGEST: Final = 2.0
"""Seconds for which a peer is waited: where one pass would take longer, it is skipped."""

PROBE: Final = 1024
"""Rows from which that is reckoned."""

FILE: Final = "growth.json"

_PEER: Final = "faiss"


@dataclass(frozen=True, kw_only=True)
class GrowthConfig:
    """What is measured: one of N, K and D at a time, the others as in `panels`.

    Args:
        rows: values of N, at K = 1024 and D = 32.
        codebook_sizes: values of K, at N = 16384 and D = 32.
        dims: values of D, at N = 16384 and K = 4096.
        rounds: at least 1.
        threads: for every library, at least 1.
        backend: certvq's.

    Raises:
        OptionError: a number below 1.
    """

    rows: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7)
    codebook_sizes: tuple[int, ...] = (64, 256, 1024, 4096, 16384, 65536)
    dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512)
    rounds: int = 5
    threads: int = 2
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            bad = [number for number in numbers if isinstance(number, int) and number < 1]
            if bad:
                raise OptionError(f"{name.replace('_', ' ')} must be at least 1, got {bad[0]}")

    def panels(self) -> dict[str, list[Cell]]:
        """Return the cells in increasing order, by what grows."""
        return {
            "rows": [Cell(n, 1024, 32) for n in sorted(set(self.rows))],
            "codebook_size": [Cell(16384, k, 32) for k in sorted(set(self.codebook_sizes))],
            "dim": [Cell(16384, 4096, d) for d in sorted(set(self.dims))],
        }


def bench_growth(
    config: GrowthConfig, *, out: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Measure the time per row of certvq, and of FAISS where it is installed.

    Args:
        config: what is measured.
        out: a folder that receives ``growth.json``; None writes nothing.
        progress: called once per point.

    Returns:
        The record: where and with what, and `panels`, each with what grows and its points.

    Raises:
        OptionError: `out` is a file.
        BackendUnavailableError: certvq has no such backend.
        OSError: the folder cannot be written.

    Guarantee: none; `certvq.bench.bench_assign` counts wrong codes.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(f"{out}: must be a folder")
    probe = np.zeros((1, 1), np.float32)
    certvq.assign(probe, probe, backend=config.backend)  # an unknown backend is found out at once
    own, peer = (contenders(config.backend)[name] for name in (CERTVQ, _PEER))
    if not peer.missing:
        with suppress(Exception):  # imports its library, so that its threads can be limited
            peer.prepare(probe)(probe)
    panels = config.panels()
    total, done = sum(map(len, panels.values())), 0
    found: list[dict[str, Any]] = []
    with thread_limit(config.threads):
        progress("points", 0, total)
        for grows, cells in panels.items():
            points: list[dict[str, Any]] = []
            for cell in cells:
                points.append(
                    {**asdict(cell), "contenders": _point(cell, own, peer, config.rounds)}
                )
                done += 1
                progress("points", done, total)
            found.append({"grows": grows, "points": points})
    record = {
        **_report.machine(config.threads),
        "backend": config.backend,
        "rounds": config.rounds,
        "block_rows": BLOCK,
        "panels": found,
    }
    if out is not None:
        with atomic_path(out / FILE) as path:
            path.write_text(dumps(record, indent=2) + "\n")
    return record


def _point(cell: Cell, own: Contender, peer: Contender, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure one cell: the contenders take turns, a figure is the median of the rounds."""
    codebook = np.random.default_rng(1).standard_normal((cell.codebook_size, cell.dim), np.float32)
    runners = {CERTVQ: _Runner(own.prepare(codebook), cell)}
    entries: dict[str, dict[str, Any]] = {}
    if peer.missing:
        entries[_PEER] = {"status": f"not installed: {', '.join(peer.missing)}"}
    else:
        runner = _Runner(peer.prepare(codebook), cell)
        seconds = runner.expected()
        if seconds <= LONGEST:
            runners[_PEER] = runner
        else:
            entries[_PEER] = {"status": f"skipped: would take about {seconds:.2g} s"}
    for turn in range(rounds):
        order = list(runners.values())
        for runner in order if turn % 2 == 0 else order[::-1]:
            runner.round()
    return {name: runner.entry() for name, runner in runners.items()} | entries


class _Runner:
    """One search on one cell, and its times and memory so far."""

    def __init__(self, search: Search, cell: Cell) -> None:
        self._search, self._cell = search, cell
        self._seconds: list[float] = []
        self._growth: list[int] = []

    def expected(self) -> float:
        """Reckon the seconds of a pass from a few rows."""
        latents = next(_blocks(self._cell))[:PROBE]
        self._search(latents)
        return self._timed(latents) * self._cell.rows / len(latents)

    def round(self) -> None:
        """Measure one pass after an untimed search, the peak of memory with it."""
        time.sleep(_measure.PAUSE)
        before = reset_high_water()
        first = next(_blocks(self._cell))
        self._search(first)
        if self._cell.rows <= BLOCK:
            repeats = max(1, math.ceil(_measure.SHORTEST / max(self._timed(first), 1e-6)))
            self._seconds.append(statistics.median(self._timed(first) for _ in range(repeats)))
        else:
            del first
            self._seconds.append(math.fsum(map(self._timed, _blocks(self._cell))))
        after = high_water()
        if before is not None and after is not None:
            self._growth.append(max(0, after - before))

    def entry(self) -> dict[str, Any]:
        """Return what was found, as plain values."""
        per_row = 1e9 / self._cell.rows
        return {
            "status": "measured",
            "nanoseconds_per_row": _report.rounded(per_row * statistics.median(self._seconds)),
            "fastest_nanoseconds_per_row": _report.rounded(per_row * min(self._seconds)),
            "seconds": _report.rounded(statistics.median(self._seconds)),
            "peak_mib": round(max(self._growth) / 2**20, 1) if self._growth else None,
        }

    def _timed(self, latents: Float32Array) -> float:
        start = time.perf_counter()
        self._search(latents)
        return time.perf_counter() - start


def _blocks(cell: Cell) -> Iterator[Float32Array]:
    """Draw the latents, the same ones every time, one block after another."""
    rng = np.random.default_rng(0)
    for start in range(0, cell.rows, BLOCK):
        yield rng.standard_normal((min(BLOCK, cell.rows - start), cell.dim), np.float32)
