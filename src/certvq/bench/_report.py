"""Measurements as a record for JSON.

In: what was measured. Out: dictionaries of plain values. Must not measure.
"""

import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from certvq.bench._contenders import CERTVQ, EXPERT, at
from certvq.bench._measure import Measured

_PACKAGES = (
    "certvq",
    "numpy",
    "scipy",
    "faiss-cpu",
    "torch",
    "scikit-learn",
    "vector-quantize-pytorch",
    "threadpoolctl",
)


_CPU = ("model name", "cpu family", "model")
"""Lines of /proc/cpuinfo; virtual machines often shorten the name."""


def machine(threads: int) -> dict[str, Any]:
    """Describe where, when and with what it is measured."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def entries(
    measured: Mapping[str, Measured],
    peaks: Mapping[str, int | None],
    unmeasured: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Return the record of each contender on one cell.

    Args:
        measured: by name; a `ratio` is the time of one of them over certvq's.
        peaks: bytes by name, where they were measured.
        unmeasured: why the others are not, by name.
    """
    own = measured[CERTVQ].seconds
    found: dict[str, dict[str, Any]] = {}
    for name, one in measured.items():
        if one.failure:
            found[name] = {"status": f"failed: {one.failure}"}
            continue
        peak = peaks.get(name)
        found[name] = {
            "status": "measured",
            "milliseconds": rounded(1e3 * one.seconds),
            "fastest_milliseconds": rounded(1e3 * one.fastest),
            "prepare_milliseconds": rounded(1e3 * one.prepare_seconds),
            "ratio": rounded(one.seconds / own),
            "peak_mib": None if peak is None else round(peak / 2**20, 1),
            "wrong_codes": one.wrong_codes,
            **({"way": one.way} if one.way else {}),
        }
    return found | {name: {"status": why} for name, why in unmeasured.items()}


def summary(results: Sequence[Mapping[str, Any]], isas: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return, for each kind and peer, the geometric mean and the least of the ratios.

    Args:
        results: of all cells.
        isas: those that certvq and FAISS were held to; see `levels`.
    """
    held = {at(name, isa) for isa in isas for name in (CERTVQ, EXPERT)}
    ratios: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for name, entry in result["contenders"].items():
            if name not in held and name != CERTVQ and "ratio" in entry:
                ratios.setdefault((result["kind"], name), []).append(entry["ratio"])
    return [
        {
            "kind": kind,
            "contender": name,
            **_means(found),
        }
        for (kind, name), found in ratios.items()
    ]


def levels(results: Sequence[Mapping[str, Any]], isas: Sequence[str]) -> list[dict[str, Any]]:
    """Return the times of FAISS over those of certvq held to an instruction set.

    FAISS as installed may use any instructions; as an expert runs it, it is held to the same ones.

    Args:
        results: of all cells.
        isas: instruction sets.

    Returns:
        One entry for each kind, instruction set and peer: cells, geometric mean and minimum.
    """
    found: list[dict[str, Any]] = []
    for kind in dict.fromkeys(result["kind"] for result in results):
        cells = [result["contenders"] for result in results if result["kind"] == kind]
        for isa in isas:
            for peer, name in (("faiss", "faiss"), (EXPERT, at(EXPERT, isa))):
                ratios = [
                    rounded(cell[name]["ratio"] / cell[at(CERTVQ, isa)]["ratio"])
                    for cell in cells
                    if "ratio" in cell.get(name, {}) and "ratio" in cell[at(CERTVQ, isa)]
                ]
                if ratios:
                    found.append({"kind": kind, "isa": isa, "contender": peer, **_means(ratios)})
    return found


def _means(ratios: Sequence[float]) -> dict[str, Any]:
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    return {"cells": len(ratios), "geometric_mean": rounded(mean), "minimum": min(ratios)}


def rounded(value: float) -> float:
    """Return four significant digits of it."""
    return float(f"{value:.4g}")


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    named = (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) for key in _CPU)
    name, family, model = (found.group(1).strip() if found else "" for found in named)
    return (
        f"{name}, family {family}, model {model}"
        if family and model
        else name or platform.processor()
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
