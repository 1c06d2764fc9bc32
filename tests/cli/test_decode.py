"""`certvq decode`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

Command = Callable[..., Any]


def test_the_pictures_are_written_and_listed(
    certvq_command: Command, model_dir: Path, tokens: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = certvq_command("decode", model_dir, tokens, "--out", out)
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines() == [str(out / "a.png"), str(out / "b.png")]
    with Image.open(out / "b.png") as picture:
        assert picture.size == (64, 81)
