"""Time `backend="triton"` on a GPU against uncertified argmins of torch; count their wrong codes.

In: cells NxKxD. Out: a table on stdout and, with ``--out``, a JSON file, written anew after each
cell; the exit status is 1 if a cell or a contender failed. Needs a checkout on PYTHONPATH, torch,
Triton and NumPy; where there is no GPU, Triton's interpreter (TRITON_INTERPRET=1) runs tiny cells
to test this file. Times are medians of rounds in which the contenders take turns. A peer computes
its N x K matrix at once if the memory holds it, else in the largest of the halves, quarters, ... of
the rows that it does. Some certified codes of each cell are audited on the host, by code that knows
nothing of the kernels.

    PYTHONPATH=src python bench/gpu.py --out bench/results/gpu-bench.json
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
import triton

import certvq
from certvq import _triton
from certvq.errors import DeviceMemoryError

CELLS: Final = tuple(
    f"65536x{codes}x{dim}" for codes in (1024, 8192, 65536) for dim in (8, 32, 64, 256)
)
FEWEST: Final = 1024
"""Rows that a peer compares at a time at least."""

AUDITED: Final = 256
"""Certified codes of a cell that are audited."""

CERTIFIED: Final = "certvq triton"

TARGETS: Final = {"cdist float32": 5.0, "addmm bfloat16": 1.0}
"""How many times as fast as each peer the certified codes are meant to be found."""

PEAKS: Final = {"H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H200": 989e12}
"""Dense bfloat16 operations a second, as NVIDIA's data sheets give them (without sparsity)."""

Contender = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Result:
    """What a contender did in a cell.

    Attributes:
        cell: N, K, D.
        contender: its name.
        median_ms: of the rounds; None where it failed.
        fastest_ms: likewise.
        wrong_codes: rows whose code is not the certified one; of the certified ones, how many of
            `AUDITED` rows the audit found wrong.
        error: what went wrong, if anything did.
        rate: ``2 N K D`` a second, by the median.
        share_of_peak: of the data sheet's rate; None where the device is not listed.
        share_of_matmul: of the rate of a large bfloat16 product of torch in the same run.
    """

    cell: str
    contender: str
    median_ms: float | None
    fastest_ms: float | None
    wrong_codes: int | None
    rate: float | None
    share_of_peak: float | None
    share_of_matmul: float | None
    error: str | None = None


def contenders(latents: torch.Tensor, codebook: torch.Tensor) -> dict[str, Contender]:
    """Return what is timed; what a training loop would keep is made before."""
    prepared = certvq.prepare(codebook)
    certvq.assign(latents[:1], prepared, backend="triton")  # lays the codebook out
    fitting: dict[str, int] = {}  # rows at a time, by peer
    narrow, narrow_book = latents.bfloat16(), codebook.bfloat16()
    offsets = (-0.5 * (codebook * codebook).sum(dim=1)).bfloat16()
    wide, wide_book = latents.float(), codebook.float()

    def certified() -> torch.Tensor:
        return certvq.assign(latents, prepared, backend="triton").codes

    def cdist() -> torch.Tensor:
        return in_parts(
            lambda part: torch.cdist(part, wide_book).argmin(dim=1), wide, fitting, "cdist"
        )

    def expansion() -> torch.Tensor:
        return in_parts(
            lambda part: torch.addmm(offsets, part, narrow_book.t()).max(dim=1).indices,
            narrow,
            fitting,
            "addmm",
        )

    return {CERTIFIED: certified, "cdist float32": cdist, "addmm bfloat16": expansion}


def in_parts(
    nearest: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    fitting: dict[str, int],
    name: str,
) -> torch.Tensor:
    """Apply a function to all rows at once, or to as many as fit the memory; remember how many."""
    while True:
        size = fitting.setdefault(name, max(1, len(rows)))
        try:
            if size >= len(rows):
                return nearest(rows)
            return torch.cat([nearest(part) for part in rows.split(size)])
        except torch.OutOfMemoryError:
            if size <= FEWEST:
                raise
        fitting[name] = max(FEWEST, -(-size // 2))


def wait(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Contender, device: torch.device) -> float:
    """Return the seconds of one call, the wait for its result included."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def matmul_rate(device: torch.device, size: int, rounds: int) -> float:
    """Return the operations a second of a square bfloat16 product."""
    square = torch.randn(size, size, device=device).bfloat16()

    def product() -> torch.Tensor:
        return square @ square

    product()
    return 2 * size**3 / statistics.median(timed(product, device) for _ in range(rounds))


def codes_or_error(run: Contender) -> torch.Tensor | str:
    """Return the codes of a contender, or what went wrong."""
    try:
        return run()
    except (torch.OutOfMemoryError, DeviceMemoryError):
        return "out of memory"
    except Exception as error:  # noqa: BLE001  (whatever it is, the others are measured)
        return f"{type(error).__name__}: {error}"


def audited(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> int:
    """Return how many of some rows' codes are not the lowest nearest ones, by the checker."""
    rows = torch.linspace(0, max(len(latents) - 1, 0), min(AUDITED, len(latents))).long()
    picked = rows.to(latents.device)
    report = certvq.audit(latents[picked].cpu(), codebook.cpu(), codes[picked].cpu())
    return len(report.violations)


def measure(cell: str, dtype: torch.dtype, device: torch.device, rounds: int) -> list[Result]:
    """Time all contenders in turn, each after one call that is not counted."""
    rows, codes, dim = (int(size) for size in cell.split("x"))
    generator = torch.Generator(device).manual_seed(rows + codes + dim)
    latents = torch.randn(rows, dim, device=device, generator=generator).to(dtype)
    codebook = torch.randn(codes, dim, device=device, generator=generator).to(dtype)
    racing = contenders(latents, codebook)
    certified = racing[CERTIFIED]()
    times: dict[str, list[float]] = {name: [] for name in racing}
    wrong = {CERTIFIED: audited(latents, codebook, certified)}
    errors: dict[str, str] = {}
    for name, run in list(racing.items()):
        proposed = codes_or_error(run)
        if isinstance(proposed, str):
            errors[name] = proposed
            del racing[name]
        else:
            wrong.setdefault(name, int((proposed != certified).sum()))
        del proposed
    for _ in range(rounds):
        for name, run in racing.items():
            times[name].append(timed(run, device))
    work = 2.0 * rows * codes * dim
    return [
        result(cell, name, work, times[name], wrong.get(name), errors.get(name)) for name in times
    ]


def result(
    cell: str, name: str, work: float, times: list[float], wrong: int | None, error: str | None
) -> Result:
    """Summarise the rounds of a contender."""
    if not times:
        return Result(cell, name, None, None, wrong, None, None, None, error)
    middle = statistics.median(times)
    return Result(cell, name, middle * 1e3, min(times) * 1e3, wrong, work / middle, None, None)


def with_shares(found: Result, peak: float | None, matmul: float | None) -> Result:
    """Add the shares of the chip's rate."""
    if found.rate is None:
        return found
    shares = {
        "share_of_peak": found.rate / peak if peak else None,
        "share_of_matmul": found.rate / matmul if matmul else None,
    }
    return Result(**{**asdict(found), **shares})


def summary(measured: list[Result]) -> dict[str, object]:
    """Compare the certified codes of a cell with each peer, and with what was aimed at."""
    times = {one.contender: one.median_ms for one in measured}
    own = times.get(CERTIFIED)
    ratios = {peer: time / own for peer in TARGETS if own and (time := times.get(peer)) is not None}
    share = next((one.share_of_peak for one in measured if one.contender == CERTIFIED), None)
    return {
        "cell": measured[0].cell,
        "times_as_fast_as": ratios,
        "reached": {peer: ratio >= TARGETS[peer] for peer, ratio in ratios.items()},
        "share_of_peak": share,
    }


def machine(device: torch.device) -> dict[str, object]:
    """Describe the device; properties that a version of torch lacks are left out."""
    if device.type != "cuda":
        return {"name": "interpreter"}
    properties = torch.cuda.get_device_properties(device)
    names = ("total_memory", "multi_processor_count", "L2_cache_size", "clock_rate")
    return {
        "name": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "cuda": torch.version.cuda,
        **{name: getattr(properties, name) for name in names if hasattr(properties, name)},
    }


def peak_of(name: str) -> float | None:
    """Return the data sheet's rate of a device by its name, the longest entry first."""
    known = sorted(PEAKS, key=len, reverse=True)
    return next((PEAKS[entry] for entry in known if entry in name), None)


def device_at_hand() -> torch.device:
    """Return the device that the kernels run on."""
    return torch.device("cpu" if _triton.INTERPRETED else "cuda")


def write(found: dict[str, object], out: Path | None) -> None:
    """Write what was found so far, whole or not at all."""
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(out)


def report(arguments: argparse.Namespace) -> dict[str, object]:
    """Measure all cells; write after each, and go on after one that fails."""
    device = device_at_hand()
    described = machine(device)
    name = str(described["name"])
    dtype = getattr(torch, arguments.dtype)
    results: list[dict[str, object]] = []
    summaries: list[Mapping[str, object]] = []
    failures: dict[str, str] = {}
    matmul = None
    try:
        matmul = matmul_rate(device, arguments.matmul, arguments.rounds)
    except Exception as error:  # noqa: BLE001  (the cells are measured without their shares of it)
        failures["matmul"] = f"{type(error).__name__}: {error}"
    found: dict[str, object] = {
        "device": name,
        "machine": described,
        "interpreted": _triton.INTERPRETED,
        "versions": {
            "certvq": certvq.__version__,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "python": platform.python_version(),
        },
        "dtype": arguments.dtype,
        "rounds": arguments.rounds,
        "peak": peak_of(name),
        "matmul_rate": matmul,
        "float32_products": torch.get_float32_matmul_precision(),
        "audited_rows": AUDITED,
        "results": results,
        "summaries": summaries,
        "failures": failures,
    }
    for cell in arguments.cells:
        try:
            measured = measure(cell, dtype, device, arguments.rounds)
        except Exception as error:  # noqa: BLE001  (whatever it is, the other cells are measured)
            failures[cell] = f"{type(error).__name__}: {error}"
            print(f"{cell:>20} failed: {failures[cell]}", file=sys.stderr, flush=True)
            measured = []
        shared = [with_shares(one, peak_of(name), matmul) for one in measured]
        for one in shared:
            results.append(asdict(one))
            show(one)
            if one.contender == CERTIFIED and one.wrong_codes:
                failures[cell] = f"{one.wrong_codes} certified codes are wrong"
            if one.error is not None:
                failures[f"{cell} {one.contender}"] = one.error
        if shared:
            summaries.append(summary(shared))
        write(found, arguments.out)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def show(found: Result) -> None:
    """Print a line of the table."""
    if found.median_ms is None:
        print(f"{found.cell:>20} {found.contender:<16} {found.error}", flush=True)
        return
    share = f"{found.share_of_matmul:7.1%}" if found.share_of_matmul is not None else ""
    print(
        f"{found.cell:>20} {found.contender:<16} {found.median_ms:10.3f} ms  {share} of matmul"
        f"  {found.wrong_codes} wrong codes",
        flush=True,
    )


def main(words: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), help="NxKxD")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--matmul", type=int, default=8192, help="size of the product for the rate")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args(words)
    if not (_triton.INTERPRETED or torch.cuda.is_available()):
        print(
            "bench/gpu.py needs a CUDA device, and torch finds none; to try the file itself set "
            "TRITON_INTERPRET=1 and give tiny cells",
            file=sys.stderr,
        )
        return 2
    return 1 if report(arguments)["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
