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


def test_names_that_cannot_be_files_are_status_2_and_the_others_are_written(
    certvq_command: Command, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "b.png").rename(pictures / "x.bmp")  # the content counts
    (pictures / "x.png").mkdir()
    (pictures / "a.png").rename(pictures / "x.png" / ("n" * 255))
    (pictures / "c").write_bytes((pictures / "x.bmp").read_bytes())
    tokens, out = tmp_path / "t.parquet", tmp_path / "out"
    assert certvq_command("encode", model_dir, pictures, "--out", tokens).status == 0
    found = certvq_command("decode", model_dir, tokens, "--out", out)
    assert found.status == 2
    assert found.out.splitlines() == [str(out / "c.png"), str(out / "x.png")]
    assert all(Path(line).is_file() for line in found.out.splitlines())
    name = out / "x.png" / ("n" * 255 + ".png")
    assert found.err.startswith(f"certvq: skipped {name}: ")
    assert found.err.endswith("certvq: 1 files skipped\n")
