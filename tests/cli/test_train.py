"""`certvq train`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
TINY = ("--steps", 1, "--batch-size", 2)


@pytest.fixture
def run(certvq_command: Command, pictures: Path, tmp_path: Path) -> Path:
    found = certvq_command("train", "--out", tmp_path / "run", "--data", pictures, *TINY, "--json")
    assert (found.status, found.err) == (0, "")
    figures = json.loads(found.out)
    assert figures["steps"] == 1
    assert {"psnr", "perplexity", "usage", "mse_over_variance", "train_seconds"} <= figures.keys()
    return tmp_path / "run"


def test_every_option_reaches_the_configuration(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    options = {
        "--channels": 1,
        "--steps": 2,
        "--seconds": 9.5,
        "--batch-size": 3,
        "--crop": 32,
        "--learning-rate": 0.002,
        "--precision": "bf16-mixed",
        "--seed": 7,
    }
    flat = [entry for pair in options.items() for entry in pair]
    found = certvq_command("train", "--out", tmp_path / "run", "--data", pictures, *flat)
    assert (found.status, found.err) == (0, "")
    written = json.loads((tmp_path / "run" / "train.json").read_text())
    assert written["model"]["channels"] == 1
    for name, value in options.items():
        if name != "--channels":
            assert written[name.removeprefix("--").replace("-", "_")] == value


def test_the_model_may_be_the_published_one(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    options = ("--model", "published", "--crop", 16, *TINY)
    found = certvq_command("train", "--out", tmp_path / "run", "--data", pictures, *options)
    assert found.status == 0
    assert json.loads((tmp_path / "run" / "train.json").read_text())["model"]["hidden"] == 128


def test_a_run_is_gone_on_with_as_it_was_told(
    certvq_command: Command, run: Path, pictures: Path
) -> None:
    options = ("--steps", 2, "--resume", "--json")
    found = certvq_command("train", "--out", run, "--data", pictures, *options)
    assert (found.status, json.loads(found.out)["steps"]) == (0, 2)
    assert json.loads((run / "train.json").read_text())["batch_size"] == 2


def test_a_run_is_replaced_only_when_asked(
    certvq_command: Command, run: Path, pictures: Path
) -> None:
    found = certvq_command("train", "--out", run, "--data", pictures, *TINY)
    assert found.status == 2
    assert found.err.startswith(f"certvq: error: {run}: holds a run already; resume it, overwrite")
    options = (*TINY, "--seed", 1, "--overwrite")
    assert certvq_command("train", "--out", run, "--data", pictures, *options).status == 0


def test_resuming_with_other_settings_is_one_line(
    certvq_command: Command, run: Path, pictures: Path
) -> None:
    options = ("--seed", 3, "--resume")
    found = certvq_command("train", "--out", run, "--data", pictures, *options)
    assert found.status == 2
    assert "checkpoint was trained with seed (0, not 3)" in found.err
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "written"),
    [
        (("--quantizer", "residual", "--num-quantizers", 2, "--codebook-size", 8, "--dim", 4), 8),
        (("--quantizer", "fsq", "--levels", "5,4,3"), 60),
    ],
)
def test_a_run_of_each_quantizer_has_a_page_and_goes_on(
    certvq_command: Command, pictures: Path, tmp_path: Path, options: Any, written: int
) -> None:
    where = ("--out", tmp_path / "run", "--data", pictures)
    found = certvq_command("train", *where, *options, *TINY)
    assert (found.status, found.err) == (0, "")
    page = tmp_path / "run/report.html"
    assert f"the page is {page}" in found.out.replace("\n", "")
    assert options[1] in page.read_text()
    found = certvq_command("train", *where, "--steps", 2, "--resume", "--json")
    assert (found.status, json.loads(found.out)["steps"]) == (0, 2)
    model = json.loads((tmp_path / "run/train.json").read_text())["model"]
    assert (model["quantizer"], model["codebook_size"]) == (options[1], written)
    assert certvq_command("report", tmp_path / "run").status == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--levels", "8,5"), "levels is for the quantizer 'fsq', got (8, 5) for 'vq'"),
        (("--levels", "8;5"), "must be whole numbers with commas between them, got '8;5'"),
        (("--quantizer", "fsq", "--dim", 3), "dim follows from the levels of the quantizer 'fsq'"),
        (("--quantizer", "lfq"), "quantizer must be one of 'vq', 'residual', 'fsq'; got 'lfq'"),
    ],
)
def test_options_of_another_quantizer_are_named(
    certvq_command: Command, tmp_path: Path, options: Any, text: str
) -> None:
    found = certvq_command("train", "--out", tmp_path / "run", *options)
    assert (found.status, text in found.err) == (2, True), found.err
