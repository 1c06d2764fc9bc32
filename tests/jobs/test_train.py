"""A training job: what it asks of its folder, what it leaves, how it goes on."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from certvq._files.lock import folder_lock
from certvq.errors import DataError, FileFormatError, OptionError
from certvq.jobs import train_config, train_run
from certvq.models import VQVAE, VQVAEConfig, model_digest
from certvq.runs import RunFiles
from certvq.train import TrainConfig

Draw = Callable[..., Path]
Snapshot = Callable[[Path], dict[str, bytes]]


def test_a_run_leaves_a_model_that_can_be_loaded(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    found = train_run(tmp_path / "run", tiny_config, data=pictures)
    assert (found.steps, found.seconds > 0) == (4, True)
    assert model_digest(VQVAE.from_pretrained(found.files.model)) == model_digest(found.model)
    figures = found.figures()
    last = json.loads(found.files.metrics.read_text().splitlines()[-1])
    assert last["split"] == "validation"
    assert figures["psnr"] == last["psnr"]
    assert (figures["steps"], figures["train_seconds"]) == (4, found.seconds)
    assert not {"split", "step", "seconds"} & figures.keys()


def test_the_model_takes_the_channels_of_the_photographs(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    found = train_run(tmp_path / "run", tiny_config, data=pictures, channels=1)
    assert found.model.config.channels == 1


def test_a_resumed_run_goes_on_and_drops_results_of_the_older_model(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    files = train_run(tmp_path / "run", tiny_config, data=pictures).files
    files.summary.write_text("{}")
    train_run(tmp_path / "run", tiny_config, data=pictures, resume=True)
    assert files.summary.exists()
    found = train_run(tmp_path / "run", replace(tiny_config, steps=6), data=pictures, resume=True)
    assert found.steps == 6
    assert not files.summary.exists()


def test_an_overwritten_run_starts_afresh(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    first = train_run(tmp_path / "run", tiny_config, data=pictures)
    first.files.summary.write_text("{}")
    other = replace(tiny_config, seed=1, steps=2)
    found = train_run(tmp_path / "run", other, data=pictures, overwrite=True)
    assert found.steps == 2
    assert not first.files.summary.exists()


def test_a_run_is_not_replaced_unasked(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    train_run(tmp_path / "run", tiny_config, data=pictures)
    before = snapshot(tmp_path / "run")
    with pytest.raises(OptionError, match="run: holds a run already"):
        train_run(tmp_path / "run", tiny_config, data=pictures)
    assert snapshot(tmp_path / "run") == before


def test_unusable_photographs_do_not_cost_the_run_that_is_there(
    tiny_config: TrainConfig, pictures: Path, draw_folder: Draw, tmp_path: Path, snapshot: Snapshot
) -> None:
    train_run(tmp_path / "run", tiny_config, data=pictures)
    before = snapshot(tmp_path / "run")
    small = draw_folder("small", a=(9, 9, 3), b=(9, 9, 3))
    with pytest.raises(DataError, match="smaller than the crops of 16 x 16"):
        train_run(tmp_path / "run", tiny_config, data=small, overwrite=True)
    assert snapshot(tmp_path / "run") == before


def test_resume_and_overwrite_contradict_each_other(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="give resume or overwrite, not both"):
        train_run(tmp_path / "run", tiny_config, data=pictures, resume=True, overwrite=True)


def test_bad_data_leave_no_folder(
    tiny_config: TrainConfig, draw_folder: Draw, tmp_path: Path
) -> None:
    mixed = draw_folder(grey=(20, 20, 1), colour=(20, 20, 3))
    with pytest.raises(DataError, match="pictures mixes grey and colour: grey.png is grey"):
        train_run(tmp_path / "run", tiny_config, data=mixed)
    assert not (tmp_path / "run").exists()


def test_options_that_are_not_given_keep_their_defaults(tmp_path: Path) -> None:
    assert train_config(tmp_path, resume=False, model=None, seed=None) == TrainConfig()


def test_steps_alone_are_a_budget_without_a_limit_of_time(tmp_path: Path) -> None:
    config = train_config(tmp_path, resume=False, model="published", steps=7)
    assert (config.steps, config.seconds) == (7, None)
    assert config.model == VQVAEConfig.published()
    config = train_config(tmp_path, resume=False, model=None, steps=7, seconds=3.0)
    assert (config.steps, config.seconds) == (7, 3.0)


def test_a_resumed_run_is_told_what_it_was_told_before(
    tiny_config: TrainConfig, tmp_path: Path
) -> None:
    RunFiles(tmp_path).config.write_text(json.dumps(tiny_config.to_json()))
    found = train_config(tmp_path, resume=True, model=None, batch_size=5, seed=None)
    assert found == replace(tiny_config, batch_size=5)
    assert train_config(tmp_path, resume=False, model=None) == TrainConfig()


def test_the_shape_of_the_model_can_be_told(tiny_config: TrainConfig, tmp_path: Path) -> None:
    config = train_config(tmp_path, resume=False, model=None, codebook_size=64, dim=8)
    assert config.model == replace(VQVAEConfig.small(), codebook_size=64, dim=8)
    config = train_config(tmp_path, resume=False, model="published", downsampling=8)
    assert config.model == replace(VQVAEConfig.published(), downsampling=8)
    RunFiles(tmp_path).config.write_text(json.dumps(tiny_config.to_json()))
    found = train_config(tmp_path, resume=True, model=None, dim=5)
    assert found.model == replace(tiny_config.model, dim=5)
    with pytest.raises(OptionError, match="downsampling must be one of"):
        train_config(tmp_path, resume=False, model=None, downsampling=3)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="model must be one of small, published, got 'huge'"):
        train_config(tmp_path, resume=False, model="huge")


@pytest.mark.parametrize("content", ["{", "[]", '{"steps": 3}'])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    RunFiles(tmp_path).config.write_text(content)
    with pytest.raises(FileFormatError, match=r"train\.json: not a training configuration"):
        train_config(tmp_path, resume=True, model=None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "damaged, it is empty; overwrite the run"),
        (b"garbage\n", "damaged, line 1, the last, does not hold the figures of a validation"),
        (b'{"step": 1}\n\xff\n', "damaged, line 2, the last, .* remove what does not belong"),
        (b'{"split": "train", "step": 1}\n', "damaged, line 1, the last"),
        (b"[]\n", "damaged, line 1, the last"),
    ],
)
def test_damaged_metrics_are_named(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path, content: bytes, text: str
) -> None:
    found = train_run(tmp_path / "run", tiny_config, data=pictures)
    found.files.metrics.write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"metrics\.jsonl: {text}"):
        found.figures()


def test_resuming_a_run_that_ended_before_its_first_checkpoint_starts_anew(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "run")
    files.root.mkdir()
    files.config.write_text(json.dumps(tiny_config.to_json()))
    files.metrics.write_text('{"split": "train", "st')
    files.tensorboard.mkdir()
    (files.tensorboard / "old").touch()
    found = train_run(files.root, tiny_config, data=pictures, resume=True)
    assert found.steps == 4
    assert not (files.tensorboard / "old").exists()
    whole = train_run(tmp_path / "whole", tiny_config, data=pictures)
    assert model_digest(found.model) == model_digest(whole.model)


def test_a_trained_model_is_not_replaced_for_want_of_its_checkpoint(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    files = train_run(tmp_path / "run", tiny_config, data=pictures).files
    files.checkpoint.unlink()
    before = snapshot(files.root)
    text = r"there is no checkpoint to resume from; train afresh, or overwrite the run"
    with pytest.raises(FileFormatError, match=text):
        train_run(files.root, tiny_config, data=pictures, resume=True)
    assert snapshot(files.root) == before


def test_resuming_nothing_leaves_nothing(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileFormatError, match="there is no checkpoint to resume from"):
        train_run(tmp_path / "run", tiny_config, data=pictures, resume=True)
    assert not (tmp_path / "run").exists()


def test_a_second_trainer_is_told_who_the_first_is(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    """A thread stands for another process: it has no part in the first one's lock."""
    with folder_lock(tmp_path / "run"), ThreadPoolExecutor(1) as pool:
        job = pool.submit(train_run, tmp_path / "run", tiny_config, data=pictures)
        with pytest.raises(OptionError, match=rf"is in use by process {os.getpid()} on "):
            job.result(timeout=60)
    assert not (tmp_path / "run").exists()


def test_another_quantizer_than_that_of_the_run_is_named_when_it_is_resumed(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    levels = replace(tiny_config, model=replace(tiny_config.model, quantizer="residual"))
    train_run(tmp_path / "run", levels, data=pictures)
    config = train_config(tmp_path / "run", resume=True, model=None, quantizer="fsq", steps=6)
    assert (config.model.num_quantizers, config.model.levels) == (None, (8, 5, 5, 5))
    with pytest.raises(FileFormatError, match=r"model.quantizer \('residual', not 'fsq'\)"):
        train_run(tmp_path / "run", config, data=pictures, resume=True)
