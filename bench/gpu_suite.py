"""Run the tests of the Triton backend with compiled kernels, and write what they found as JSON.

In: nothing but a checkout on PYTHONPATH and a CUDA device; needs torch, Triton, NumPy and pytest.
Out: a JSON file with each test's outcome and, for the tests of the axiom of tensor cores, the
greatest share of the bound that an error took. Each test is also appended, when it ends, to a file
of the same name with an l at its end, so that a run that is cut off leaves what it found. The exit
status is pytest's, or 2 where there is no device.

    PYTHONPATH=src TRITON_INTERPRET=0 python bench/gpu_suite.py --out bench/results/gpu-test.json
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ("tests/_triton", "tests/assign/test_triton.py")


class Recorder:
    """A plugin of pytest that keeps the outcome and the properties of each test."""

    def __init__(self, out: Path) -> None:
        self.tests: list[dict[str, object]] = []
        self._lines = out.with_name(out.name + "l")
        self._lines.parent.mkdir(parents=True, exist_ok=True)
        self._lines.write_text("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the call of a test, and what went wrong before or after it."""
        if report.when == "call" or report.outcome != "passed":
            found = {
                "test": report.nodeid,
                "outcome": report.outcome,
                "seconds": report.duration,
                **dict(report.user_properties),
            }
            if report.outcome == "failed":
                found["text"] = report.longreprtext
            self.tests.append(found)
            with self._lines.open("a") as lines:
                lines.write(json.dumps(found) + "\n")


def machine() -> dict[str, object] | None:
    """Describe the device and the versions; None where the kernels cannot run."""
    import numpy as np
    import torch
    import triton

    from certvq._triton import INTERPRETED

    if not (INTERPRETED or torch.cuda.is_available()):
        return None
    versions = {
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return {
        "device": "interpreter" if INTERPRETED else torch.cuda.get_device_name(),
        "capability": None if INTERPRETED else list(torch.cuda.get_device_capability()),
        "interpreted": INTERPRETED,
        "versions": versions,
    }


def main(words: list[str] | None = None) -> int:
    """Run the tests and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("tests", nargs="*", default=list(TESTS))
    arguments = parser.parse_args(words)
    described = machine()
    if described is None:
        print(
            "bench/gpu_suite.py needs a CUDA device, and torch finds none; to run these tests in "
            "Triton's interpreter use pytest, or set TRITON_INTERPRET=1",
            file=sys.stderr,
        )
        return 2
    os.environ["CERTVQ_SHAPES"] = "0"  # certvq is imported already
    recorder, start = Recorder(arguments.out), time.perf_counter()
    options = ["-q", "-W", "default", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    tests = [str(ROOT / test) for test in arguments.tests]
    status = int(pytest.main([*options, *tests], plugins=[recorder]))
    outcomes = [test["outcome"] for test in recorder.tests]
    shares = [test.get("share of the bound", 0.0) for test in recorder.tests]
    found = {
        **described,
        "seconds": time.perf_counter() - start,
        "status": status,
        "counts": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "greatest share of the axiom's bound": max(shares, default=None),
        "tests": recorder.tests,
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
