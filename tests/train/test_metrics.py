"""Figures are what their formulas say, and the log holds each step once."""

import errno
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from certvq.data import Photograph
from certvq.errors import FileFormatError
from certvq.runs import RunFiles
from certvq.train import Figures, perplexity, usage
from certvq.train._metrics import metrics_log, pixel_variance


def _figures(step: int, *, split: str = "train", loss: float = 1.0) -> Figures:
    values = dict.fromkeys(
        (
            "seconds",
            "reconstruction_mse",
            "mse_over_variance",
            "codebook_loss",
            "commitment_loss",
            "perplexity",
            "usage",
            "filter_share",
            "refined_share",
            "exact_share",
        ),
        0.5,
    )
    return Figures(split=split, step=step, loss=loss, **values)


def _steps(files: RunFiles) -> list[int]:
    return [json.loads(line)["step"] for line in files.metrics.read_text().splitlines()]


def test_perplexity_of_equal_counts_is_their_number() -> None:
    assert perplexity(np.array([3, 0, 3, 3, 3])) == pytest.approx(4, rel=1e-15)


def test_perplexity_of_one_code_is_one() -> None:
    assert perplexity(np.array([0, 9, 0])) == 1.0


def test_perplexity_is_the_exponential_of_the_entropy() -> None:
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert perplexity(np.array([30, 10])) == pytest.approx(np.exp(entropy), rel=1e-15)


def test_usage_counts_codes_that_occur() -> None:
    assert usage(np.array([1, 0, 7, 0])) == 0.5


def test_pixel_variance_is_that_of_all_pixels_together() -> None:
    dark = np.zeros((4, 5, 3), np.uint8)
    light = np.full((2, 5, 3), 255, np.uint8)
    found = pixel_variance([Photograph("dark", dark), Photograph("light", light)])
    assert found == pytest.approx(np.concatenate([dark, light]).astype(float).var() / 255**2)


def test_pixel_variance_of_flat_photographs_may_still_divide() -> None:
    assert pixel_variance([Photograph("flat", np.full((4, 4, 1), 9, np.uint8))]) == 255.0**-2


def test_a_line_leaves_out_what_does_not_apply() -> None:
    assert "psnr" not in _figures(1).to_json()
    assert _figures(1).to_json()["split"] == "train"


def test_each_figure_reaches_the_file_and_tensorboard(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    with metrics_log(files) as log:
        log.write(_figures(1, loss=3.0))
        log.write(_figures(1, split="validation", loss=2.0))
        log.write(_figures(2, loss=1.0))
    assert _steps(files) == [1, 1, 2]
    events = EventAccumulator(str(files.tensorboard)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 3.0), (2, 1.0)]
    assert [(e.step, e.value) for e in events.Scalars("validation/loss")] == [(1, 2.0)]


def test_a_resumed_log_drops_the_steps_that_are_done_again(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    with metrics_log(files) as log:
        for step in (1, 2, 3, 4):
            log.write(_figures(step))
    with files.metrics.open("a") as file:
        file.write('{"split": "train", "st')
    with metrics_log(files, after=2) as log:
        log.write(_figures(3, loss=7.0))
    assert _steps(files) == [1, 2, 3]
    events = EventAccumulator(str(files.tensorboard)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 1), (2, 1), (3, 7)]


def test_a_fresh_log_replaces_an_older_one(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.metrics.write_text("not of this run\n")
    with metrics_log(files) as log:
        log.write(_figures(1))
    assert _steps(files) == [1]


@pytest.mark.parametrize("line", ["{", "[1]", '{"split": "train"}', "\xff"])
def test_a_line_that_is_no_object_with_a_step_is_named(tmp_path: Path, line: str) -> None:
    files = RunFiles(tmp_path)
    files.metrics.write_text('{"step": 1}\n' + line + "\n", encoding="latin-1")
    with (
        pytest.raises(FileFormatError, match=r"metrics\.jsonl: line 2 is not one of this run's"),
        metrics_log(files, after=5),
    ):
        pass


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """Also that of TensorBoard, whose files another thread writes."""
    files = RunFiles(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    figures = _figures(1)

    def fill() -> None:
        with metrics_log(files) as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
            for _ in range(60):
                log.write(figures)
                log.flush()

    try:
        with pytest.raises(OSError, match=rf"{tmp_path}/(metrics\.jsonl|tensorboard)") as caught:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
