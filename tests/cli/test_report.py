"""`certvq report`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from certvq.jobs import run_demo
from certvq.models import VQVAEConfig
from certvq.train import TrainConfig

Command = Callable[..., Any]


def test_the_page_of_a_run_is_written_anew(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    model = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)
    config = TrainConfig(model=model, steps=1, seconds=None, batch_size=2, crop=16)
    page = run_demo(tmp_path / "run", data=pictures, config=config).files.report
    before = page.read_bytes()
    page.unlink()
    found = certvq_command("report", tmp_path / "run")
    assert (found.status, found.out, found.err) == (0, f"{page}\n", "")
    assert page.read_bytes() == before


def test_another_folder_is_refused_by_name(certvq_command: Command, tmp_path: Path) -> None:
    found = certvq_command("report", tmp_path)
    assert found.status == 2
    assert found.err.startswith(f"certvq: error: {tmp_path}: no run directory, looked for")
    assert list(tmp_path.iterdir()) == []


def test_what_the_run_lacks_is_named_in_one_line(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    model = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)
    config = TrainConfig(model=model, steps=1, seconds=None, batch_size=2, crop=16)
    files = run_demo(tmp_path / "run", data=pictures, config=config).files
    shutil.rmtree(files.heldout)
    found = certvq_command("report", files.root)
    assert (found.status, found.out) == (0, f"{files.report}\n")
    line = f"certvq: warning: {files.root} lacks heldout/; the page is without it\n"
    assert found.err == line
