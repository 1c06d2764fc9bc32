"""`certvq assign`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Command = Callable[..., Any]


def _save(folder: Path) -> tuple[Path, Path]:
    np.save(folder / "z.npy", np.array([[0.25], [0.75], [0.5]]))
    np.save(folder / "c.npy", np.array([[0.0], [1.0]]))
    return folder / "z.npy", folder / "c.npy"


def test_the_codes_are_written_and_the_figures_shown(
    certvq_command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "codes.npy"
    found = certvq_command("assign", *_save(tmp_path), "--out", out)
    assert (found.status, found.err) == (0, "")
    assert str(out) in found.out
    assert np.load(out).tolist() == [0, 1, 0]


def test_figures_as_json_and_the_backend_may_be_chosen(
    certvq_command: Command, tmp_path: Path
) -> None:
    options = ("--out", tmp_path / "codes.npy", "--backend", "reference", "--json")
    found = certvq_command("assign", *_save(tmp_path), *options)
    figures = json.loads(found.out)
    assert (figures["rows"], figures["codebook_size"], figures["dim"]) == (3, 2, 1)
    assert sum(figures["decided_by"].values()) == 3


def test_arrays_are_assigned_without_torch(tmp_path: Path) -> None:
    """A real process, in which torch cannot be imported."""
    latents, codebook = _save(tmp_path)
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from certvq.cli import main\n"
        f"sys.argv = ['certvq', 'assign', {str(latents)!r}, {str(codebook)!r}, '--out', 'i.npy']\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert np.load(tmp_path / "i.npy").tolist() == [0, 1, 0]
