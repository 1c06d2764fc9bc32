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

from certvq.bench._contenders import CERTVQ
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
        }
    return found | {name: {"status": why} for name, why in unmeasured.items()}


def summary(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each kind and peer, the geometric mean and the least of the ratios."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for name, entry in result["contenders"].items():
            if name != CERTVQ and "ratio" in entry:
                ratios.setdefault((result["kind"], name), []).append(entry["ratio"])
    return [
        {
            "kind": kind,
            "contender": name,
            "cells": len(found),
            "geometric_mean": rounded(math.exp(math.fsum(map(math.log, found)) / len(found))),
            "minimum": min(found),
        }
        for (kind, name), found in ratios.items()
    ]


def rounded(value: float) -> float:
    """Return four significant digits of it."""
    return float(f"{value:.4g}")


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
