"""Try an installed wheel: `python tests/repo/wheel_smoke.py` in an environment with numpy alone.

In: the certvq that Python finds. Out: exit status 0 if the wheel is whole.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import certvq
from certvq import _checker, _native


def main() -> None:
    """Search, check, and ask the command line for its version."""
    package = Path(certvq.__file__).parent
    assert Path(__file__).parents[2] not in package.parents, f"{package} is the checkout's"
    assert certvq.__version__ == metadata.version("certvq")
    assert _native.AVAILABLE, "the compiled kernel is missing"
    assert _checker.levels(), "the compiled checker is missing"
    for name in (
        "py.typed",
        "_native/_kernel.pyi",
        "_native/_wide.pyi",
        "_lean/sources/CertVQ.lean",
    ):
        assert (package / name).exists(), f"{name} is missing"

    rng = np.random.default_rng(0)
    latents, codebook = (rng.standard_normal((rows, 16)) for rows in (1000, 64))
    found = certvq.assign(latents, codebook, backend="native")
    assert (found.codes == certvq.assign(latents, codebook, backend="numpy").codes).all()
    assert certvq.check.verify(found, latents, codebook).rows == len(latents)

    done = subprocess.run(
        [sys.executable, "-m", "certvq", "--version"], capture_output=True, text=True, check=False
    )
    if _installed("typer") and _installed("rich"):
        assert done.stdout == f"certvq {certvq.__version__}\n", done.stderr
    else:
        assert done.returncode == 2
        assert "pip install 'certvq[cli]'" in done.stderr
    words = f"certvq {certvq.__version__} on Python {sys.version.split()[0]}: the wheel is whole\n"
    sys.stdout.write(words)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
