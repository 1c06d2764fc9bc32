"""The benchmark as a whole: cells times kinds times contenders.

In: `BenchConfig`. Out: a record for JSON, written whole where it is asked for. Must not print.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import certvq
from certvq import _native
from certvq._files.atomic import atomic_path
from certvq._files.json import dumps
from certvq._types import Int64Array, Progress, no_progress
from certvq.bench import _report
from certvq.bench._cells import CELLS, Cell
from certvq.bench._contender import Contender
from certvq.bench._contenders import CERTVQ, EXPERT, contenders
from certvq.bench._data import DRAWN, KINDS, OF_A_MODEL, Numbers, drawn, of_model, offset
from certvq.bench._free_memory import lacking
from certvq.bench._measure import Measured, measure
from certvq.bench._memory import peak_bytes, write_numbers
from certvq.bench._threads import thread_limit
from certvq.errors import OptionError

SAMPLE = 256
"""Rows of certvq's answer that the independent checker confirms, drawn at random."""

CONTESTED = 64
"""Rows at most that it confirms besides, of those where a contender has another code."""

FILE = "assign.json"


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What is measured.

    Args:
        cells: sizes; of the latents of a model only the numbers of rows are taken.
        kinds: of `certvq.bench.KINDS`; empty means all that need no model, and all if there is one.
        model_dir: a trained model, for ``latents`` and ``offset-latents``.
        names: of `certvq.bench.NAMES`; empty means all. certvq is measured always.
        rounds: at least 1.
        threads: for every library, at least 1.
        backend: certvq's.
        memory: measure the peak memory too, in a process for each contender and cell.
        isas: instruction sets that certvq, and FAISS as an expert runs it, are held to as well.

    Raises:
        OptionError: an unknown kind, name or instruction set, a kind that needs a model without
            one, or a number below 1.
    """

    cells: tuple[Cell, ...] = CELLS
    kinds: tuple[str, ...] = ()
    model_dir: Path | None = None
    names: tuple[str, ...] = ()
    rounds: int = 5
    threads: int = 2
    backend: str = "auto"
    memory: bool = True
    isas: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_known("kind", self.kinds, KINDS)
        _require_known("contender", self.names, tuple(contenders()))
        _require_known("instruction set", self.isas, _native.isas())
        for name, value in (("rounds", self.rounds), ("threads", self.threads)):
            if value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}")
        if self.model_dir is None and set(self.kinds) & set(OF_A_MODEL):
            text = f"the kinds {' and '.join(OF_A_MODEL)} need a trained model; give --model DIR"
            raise OptionError(text)
        if not self.kinds:
            kinds = DRAWN if self.model_dir is None else KINDS
            object.__setattr__(self, "kinds", kinds)

    def jobs(self) -> list[tuple[str, Cell]]:
        """Return kinds and cells in the order in which they are measured."""
        found: list[tuple[str, Cell]] = []
        for kind in dict.fromkeys(self.kinds):
            rows = dict.fromkeys(cell.rows for cell in self.cells)
            ours = [Cell(n, 0, 0) for n in rows] if kind in OF_A_MODEL else self.cells
            found += [(kind, cell) for cell in dict.fromkeys(ours)]
        return found


def bench_assign(
    config: BenchConfig, *, out: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Measure certvq and its peers.

    Args:
        config: what is measured.
        out: a folder that receives ``assign.json``; None writes nothing.
        progress: called once per cell and kind.

    Returns:
        The record: where and with what, `results` (one entry for each kind and cell) and `summary`.

    Raises:
        OptionError: `out` is a file.
        BackendUnavailableError: certvq has no such backend.
        FileFormatError: the model cannot be read.
        OSError: the folder cannot be written.

    Guarantee: wrong codes are counted against certvq's answer, of which the independent checker
    confirmed a random sample and the rows that were contested (`confirmed`).
    """
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(f"{out}: must be a folder")
    jobs = config.jobs()
    installed, missing = _present(config)
    probe = np.zeros((1, 1), np.float32)
    certvq.assign(probe, probe, backend=config.backend)  # an unknown backend is found out at once
    for contender in installed:
        with suppress(Exception):  # imports its library; what fails is reported when it is measured
            contender.prepare(probe)(probe)
    results: list[dict[str, Any]] = []
    with thread_limit(config.threads):
        progress("cells", 0, len(jobs))
        for kind, numbers in _numbers(jobs, config.model_dir):
            results.append(_measure_cell(kind, numbers, installed, missing, config))
            progress("cells", len(results), len(jobs))
    record = {
        **_report.machine(config.threads),
        "backend": config.backend,
        "rounds": config.rounds,
        "notes": {one.name: one.note for one in installed if one.note},
        "results": results,
        "summary": _report.summary(results, config.isas),
        "levels": _report.levels(results, config.isas),
    }
    if out is not None:
        with atomic_path(out / FILE) as path:
            path.write_text(dumps(record, indent=2) + "\n")
    return record


def _present(config: BenchConfig) -> tuple[list[Contender], dict[str, str]]:
    """Return the contenders that are installed, and of the others what each lacks."""
    every = contenders(config.backend, config.isas)
    held = every.keys() - contenders(config.backend).keys()
    names = dict.fromkeys([CERTVQ, *(config.names or every), *(n for n in every if n in held)])
    chosen = [every[name] for name in names]
    missing = {
        one.name: f"not installed: {', '.join(one.missing)}" for one in chosen if one.missing
    }
    return [one for one in chosen if not one.missing], missing


def _numbers(
    jobs: Sequence[tuple[str, Cell]], model_dir: Path | None
) -> Iterator[tuple[str, Numbers]]:
    for kind, cell in jobs:
        if kind in DRAWN:
            yield kind, drawn(cell, kind)
            continue
        assert model_dir is not None
        latents = of_model(model_dir, cell.rows)
        yield kind, offset(latents) if kind == "offset-latents" else latents


def _measure_cell(
    kind: str,
    numbers: Numbers,
    installed: Sequence[Contender],
    missing: Mapping[str, str],
    config: BenchConfig,
) -> dict[str, Any]:
    certified = certvq.assign(numbers.latents, numbers.codebook, backend=config.backend)
    skipped = {one.name: why for one in installed if (why := lacking(one, numbers.cell))}
    chosen = [one for one in installed if one.name not in skipped]
    measured = measure(chosen, numbers, certified.codes, rounds=config.rounds)
    rows = _audited_rows(measured, len(numbers.latents))
    report = certvq.audit(numbers.latents[rows], numbers.codebook, certified.codes[rows])
    peaks = _peaks(numbers, measured, config) if config.memory else {}
    cell = numbers.cell
    return {
        "cell": str(cell),
        "kind": kind,
        "rows": cell.rows,
        "codebook_size": cell.codebook_size,
        "dim": cell.dim,
        "decided_by": certified.counts(),
        "audited_rows": report.rows,
        "confirmed": report.ok,
        "contenders": _report.entries(measured, peaks, {**skipped, **missing}),
    }


def _audited_rows(measured: Mapping[str, Measured], count: int) -> Int64Array:
    """Choose rows at random, and from those where a contender has another code than certvq."""
    rng = np.random.default_rng(1)
    sample = rng.choice(count, min(SAMPLE, count), replace=False)
    contested = np.unique(np.concatenate([one.wrong_rows for one in measured.values()]))
    return np.union1d(sample, rng.permutation(contested)[:CONTESTED])


def _peaks(
    numbers: Numbers, measured: Mapping[str, Measured], config: BenchConfig
) -> dict[str, int | None]:
    measurable = contenders(config.backend).keys() - {EXPERT}  # those that run in one process
    with tempfile.TemporaryDirectory(prefix="certvq-bench-") as name:
        folder = Path(name)
        write_numbers(folder, numbers)
        return {
            name: peak_bytes(folder, name, backend=config.backend, threads=config.threads)
            for name, one in measured.items()
            if not one.failure and name in measurable
        }


def _require_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise OptionError(f"{what} must be one of {', '.join(known)}; got {unknown[0]!r}")
