"""The peak memory of one contender on one cell, in a process of its own.

In: numbers, written to a folder. Out: bytes by which the process grew at most while the codebook
was prepared and searched, beyond what it held before: libraries, latents and codebook.

The high-water mark of the process itself is read (`VmHWM`), and set back before the search. The
`ru_maxrss` of `getrusage` is no use here: it begins with what the parent process held (an exec
keeps it), and never falls, so that a large parent or a costly import would hide the search.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from certvq.bench._contenders import contenders
from certvq.bench._data import Numbers
from certvq.bench._threads import thread_limit

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def write_numbers(folder: Path, numbers: Numbers) -> None:
    """Write what `peak_bytes` reads."""
    np.save(folder / "latents.npy", numbers.latents)
    np.save(folder / "codebook.npy", numbers.codebook)


def peak_bytes(folder: Path, name: str, *, backend: str, threads: int) -> int | None:
    """Measure a contender in a fresh process.

    Args:
        folder: where `write_numbers` wrote.
        name: of a contender that is installed.
        backend: certvq's.
        threads: for every library.

    Returns:
        Bytes; None where the process failed or the system does not tell.
    """
    command = [sys.executable, "-m", __name__, str(folder), name, backend, str(threads)]
    environment = {**os.environ, "CERTVQ_NUM_THREADS": str(threads)}
    done = subprocess.run(  # noqa: S603 (this module itself)
        command, capture_output=True, text=True, check=False, env=environment
    )
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else None


def growth(folder: Path, name: str, *, backend: str, threads: int) -> int | None:
    """Measure a contender in this process; see `peak_bytes`."""
    contender = contenders(backend)[name]
    latents, codebook = (np.load(folder / f"{part}.npy") for part in ("latents", "codebook"))
    contender.prepare(codebook[:1])(latents[:1])  # so that its library is imported
    with thread_limit(threads):
        before = reset_high_water()
        contender.prepare(codebook)(latents)
        after = high_water()
    return None if before is None or after is None else max(0, after - before)


def reset_high_water() -> int | None:
    """Set the most memory that this process had back to what it has; return that, in bytes.

    Returns:
        None where the system does not let.
    """
    try:
        _RESET.write_text("5")
    except OSError:
        return None
    return high_water()


def high_water() -> int | None:
    """Return the most bytes that this process had since the reset; None if the system is silent."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(found[0]) if found else None


if __name__ == "__main__":
    place, which, how, count = sys.argv[1:]
    print(json.dumps(growth(Path(place), which, backend=how, threads=int(count))))  # noqa: T201
