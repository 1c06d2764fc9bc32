"""Each kind of bad input: one line naming the file and the fix, status 2, nothing left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from certvq.models import VQVAE

Command = Callable[..., Any]
Listing = Callable[[Path], dict[str, bytes]]
TINY = ("--steps", 1, "--batch-size", 2)


@pytest.fixture
def refused(certvq_command: Command, tmp_path: Path, listing: Listing) -> Callable[..., None]:
    """Run a command that must be refused with these texts, and must not leave a thing behind."""

    def run(arguments: tuple[object, ...], *texts: str) -> None:
        before = listing(tmp_path)
        folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
        found = certvq_command(*arguments)
        assert (found.status, found.out) == (2, "")
        assert found.err.startswith("certvq: error: ")
        assert found.err.count("\n") == 1
        for text in texts:
            assert text in found.err
        assert listing(tmp_path) == before
        assert {path for path in tmp_path.rglob("*") if path.is_dir()} == folders

    return run


def _picture(path: Path, *shape: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros(shape, np.uint8)).save(path)


@pytest.mark.parametrize("command", ["demo", "train"])
def test_a_folder_without_a_usable_image(refused: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("no image")
    _picture(tmp_path / "data" / "cut.png", 64, 64, 3)
    content = (tmp_path / "data" / "cut.png").read_bytes()
    (tmp_path / "data" / "cut.png").write_bytes(content[: len(content) // 2])
    arguments = (command, "--out", tmp_path / "run", "--data", tmp_path / "data")
    refused(arguments, "data holds no usable image, 2 skipped:", "cut.png", "notes.txt", "put PNG")


def test_an_unreadable_file_given_by_name(refused: Any, model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image")
    arguments = ("encode", model_dir, tmp_path / "x.jpg", "--out", tmp_path / "t.parquet")
    refused(arguments, "x.jpg: not a readable image", "leave it out, or give a readable image")


@pytest.mark.parametrize("command", ["demo", "train"])
def test_images_below_the_crop(refused: Any, tmp_path: Path, command: str) -> None:
    for name in ("a", "b"):
        _picture(tmp_path / "data" / f"{name}.png", 40 + ord(name), 63, 3)
    arguments = (command, "--out", tmp_path / "run", "--data", tmp_path / "data")
    refused(arguments, "x 63 pixels, smaller than the crops of 64 x 64; set a smaller crop")


def test_images_below_the_stride(refused: Any, model_dir: Path, tmp_path: Path) -> None:
    _picture(tmp_path / "data" / "thin.png", 64, 3, 3)
    arguments = ("encode", model_dir, tmp_path / "data", "--out", tmp_path / "t.parquet")
    refused(arguments, "thin.png: is 64 x 3 pixels, smaller than the stride of 4; enlarge it or")


@pytest.mark.parametrize("command", ["demo", "train"])
def test_mixed_channels(refused: Any, tmp_path: Path, command: str) -> None:
    _picture(tmp_path / "data" / "colour.png", 70, 70, 3)
    _picture(tmp_path / "data" / "grey.png", 70, 70)
    arguments = (command, "--out", tmp_path / "run", "--data", tmp_path / "data")
    refused(arguments, "data mixes grey and colour: grey.png is grey, colour.png has colour")


@pytest.mark.parametrize("keep", [0, 7, 400, -9])
def test_a_corrupt_or_truncated_token_file(
    refused: Any, model_dir: Path, tokens: Path, tmp_path: Path, keep: int
) -> None:
    tokens.write_bytes(tokens.read_bytes()[:keep])
    arguments = ("decode", model_dir, tokens, "--out", tmp_path / "out")
    refused(arguments, "tokens.parquet: ", "token file" if keep == 0 else "encode the photographs")


def test_a_token_file_with_one_byte_changed(
    refused: Any, model_dir: Path, tokens: Path, tmp_path: Path
) -> None:
    content = bytearray(tokens.read_bytes())
    content[120] ^= 1
    tokens.write_bytes(content)
    arguments = ("decode", model_dir, tokens, "--out", tmp_path / "out")
    refused(arguments, "tokens.parquet: ", "again")


@pytest.mark.parametrize("keep", [0, 7, 900, -9])
def test_a_corrupt_or_truncated_checkpoint(
    refused: Any, certvq_command: Command, pictures: Path, tmp_path: Path, keep: int
) -> None:
    run = tmp_path / "run"
    assert certvq_command("train", "--out", run, "--data", pictures, *TINY).status == 0
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    arguments = ("train", "--out", run, "--data", pictures, "--steps", 2, "--resume")
    refused(arguments, f"{checkpoint}: not a whole checkpoint", "delete it and train afresh")


def test_a_corrupt_model(refused: Any, model_dir: Path, tokens: Path, tmp_path: Path) -> None:
    weights = model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    refused(("decode", model_dir, tokens, "--out", tmp_path / "out"), f"{weights}: ", "again")


def test_tokens_of_another_codebook(
    refused: Any, model_dir: Path, tokens: Path, pictures: Path, tmp_path: Path
) -> None:
    other = VQVAE.from_pretrained(model_dir)
    other.quantizer.codebook.neg_()
    other.save_pretrained(tmp_path / "other")
    arguments = ("decode", tmp_path / "other", tokens, "--out", tmp_path / "out")
    refused(arguments, "tokens.parquet: ", "codebook", "decode with the model that encoded")
    arguments = ("audit", tmp_path / "other", tokens, pictures)
    refused(arguments, "tokens.parquet: ", "audit with the model that encoded")


def test_wrong_shapes(refused: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((5, 3)))
    np.save(tmp_path / "flat.npy", np.zeros(5))
    np.save(tmp_path / "c.npy", np.zeros((2, 4)))
    out = ("--out", tmp_path / "codes.npy")
    arguments = ("assign", tmp_path / "z.npy", tmp_path / "c.npy", *out)
    refused(arguments, "z.npy", "c.npy", "must have the same dim, got latents (5, 3)")
    arguments = ("assign", tmp_path / "flat.npy", tmp_path / "c.npy", *out)
    refused(
        arguments, "flat.npy", "latents must have two axes (rows, dim), got shape (5,); reshape"
    )


def test_an_array_file_that_is_none(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "z.npy").write_bytes(b"not an array")
    np.save(tmp_path / "c.npy", np.zeros((2, 4)))
    arguments = ("assign", tmp_path / "z.npy", tmp_path / "c.npy", "--out", tmp_path / "i.npy")
    refused(arguments, "z.npy: not an .npy file; write one with numpy.save")


@pytest.mark.parametrize("command", ["demo", "train"])
def test_an_output_folder_of_other_things(refused: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    arguments = (command, "--out", tmp_path / "home", "--overwrite")
    refused(arguments, "home: is neither empty nor a run directory", "give a folder that does not")


def test_a_model_folder_that_is_missing(refused: Any, pictures: Path, tmp_path: Path) -> None:
    arguments = ("encode", tmp_path / "no-model", pictures, "--out", tmp_path / "t.parquet")
    refused(arguments, "no-model: is no folder; give one that holds model.safetensors")


def test_an_output_file_in_a_folder_that_cannot_be_made(
    refused: Any, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    arguments = ("encode", model_dir, pictures, "--out", tmp_path / "file" / "t.parquet")
    refused(arguments, "file")


def test_an_output_file_that_is_a_folder(
    refused: Any, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    np.save(tmp_path / "z.npy", np.zeros((5, 4)))
    text = f"certvq: error: {out}: is a folder; name a file\n"
    refused(("assign", tmp_path / "z.npy", tmp_path / "z.npy", "--out", out), text)
    refused(("encode", model_dir, pictures, "--out", out), text)


def test_channels_that_are_none(
    refused: Any, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = ("encode", model_dir, pictures, "--channels", 2, "--out", tmp_path / "t.parquet")
    refused(arguments, "channels must be 1 or 3, got 2")


@pytest.mark.parametrize("content", [b"", b"garbage\n"])
def test_damaged_metrics_of_a_finished_run(
    refused: Any, certvq_command: Command, pictures: Path, tmp_path: Path, content: bytes
) -> None:
    run = tmp_path / "run"
    assert certvq_command("train", "--out", run, "--data", pictures, *TINY).status == 0
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + content if content else b"")
    arguments = ("train", "--out", run, "--data", pictures, "--resume")
    refused(arguments, f"{metrics}: damaged", "overwrite the run")
