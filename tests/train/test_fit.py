"""Training: what it leaves behind, how it resumes, how it stops.

Also of `certvq.train._step`.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import certvq
from certvq.data import Photograph, crops
from certvq.errors import DataError, FileFormatError, NonFiniteError
from certvq.models import VQVAE, model_digest
from certvq.nn import VectorQuantize
from certvq.runs import RunFiles
from certvq.train import CheckpointInfo, TrainConfig, fit, read_checkpoint_info
from certvq.train import _fit as fit_module
from certvq.train._checkpoint import TrainState
from certvq.train._config_file import read_config
from certvq.train._metrics import pixel_variance
from certvq.train._schedule import learning_rate

Make = Callable[..., TrainConfig]


ALONE = "CERTVQ_TEST_ALONE"
"""Environment variable that is set in a process for one test."""


def _run_alone(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"{__file__}::{name}"]
    environment = {**os.environ, ALONE: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


class InterruptionError(Exception):
    """Stands for a process that is ended in the middle of a run."""


def _stop_at(step: int) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if done == step:
            raise InterruptionError

    return progress


def _run(config: TrainConfig, photos: list[Photograph], path: Path, **options: Any) -> VQVAE:
    return fit(config, photos[:2], photos[2:], path, **options)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in RunFiles(path).metrics.read_text().splitlines()]


def test_a_run_leaves_its_files_behind(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    config = tiny_config()
    model = _run(config, photographs, tmp_path / "run")
    files = RunFiles(tmp_path / "run")
    assert read_config(files.config) == config
    info = read_checkpoint_info(files.checkpoint)
    assert (info.config, info.step) == (config, 6)
    assert not model.training
    assert model_digest(VQVAE.from_pretrained(files.model)) == model_digest(model)
    written = [(line["split"], line["step"]) for line in _lines(files.root)]
    train = [("train", step) for step in range(1, 7)]
    assert written == [*train[:4], ("validation", 4), *train[4:], ("validation", 6)]
    assert any(files.tensorboard.iterdir())
    assert sorted(p.name for p in files.root.iterdir()) == sorted(
        p.name
        for p in (files.config, files.checkpoint, files.model, files.metrics, files.tensorboard)
    )


def test_every_line_holds_every_figure(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(), photographs, tmp_path)
    names = {
        "split",
        "step",
        "seconds",
        "reconstruction_mse",
        "mse_over_variance",
        "codebook_loss",
        "commitment_loss",
        "loss",
        "perplexity",
        "usage",
        "filter_share",
        "refined_share",
        "exact_share",
    }
    for line in _lines(tmp_path):
        assert set(line) == names | ({"psnr"} if line["split"] == "validation" else set())
        assert all(math.isfinite(line[name]) for name in set(line) - {"split"})
        assert line["filter_share"] + line["refined_share"] + line["exact_share"] == pytest.approx(
            1
        )


@pytest.mark.parametrize("quantizer", ["residual", "fsq"])
def test_a_resumed_run_of_another_quantizer_ends_likewise(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path, quantizer: str
) -> None:
    config = tiny_config(quantizer=quantizer)
    whole = _run(config, photographs, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        _run(config, photographs, tmp_path / "parts", progress=_stop_at(5))
    resumed = _run(config, photographs, tmp_path / "parts", resume=True)
    assert model_digest(resumed) == model_digest(whole)


@pytest.mark.parametrize(
    "precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_resumed_run_ends_with_the_parameters_of_an_uninterrupted_one(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    precision: str,
    update: str,
    request: pytest.FixtureRequest,
) -> None:
    if precision == "bf16-mixed" and ALONE not in os.environ:
        # In a process that had run 9,500 other tests, bfloat16 gave other bits (Xeon with AMX).
        _run_alone(request.node.name)
        return
    config = tiny_config(precision=precision, update=update)
    whole = _run(config, photographs, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        _run(config, photographs, tmp_path / "parts", progress=_stop_at(5))
    assert read_checkpoint_info(RunFiles(tmp_path / "parts").checkpoint).step == 3
    resumed = _run(config, photographs, tmp_path / "parts", resume=True)
    assert model_digest(resumed) == model_digest(whole)
    for line, other in zip(_lines(tmp_path / "parts"), _lines(tmp_path / "whole"), strict=True):
        assert {**line, "seconds": 0} == {**other, "seconds": 0}


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    first = model_digest(_run(tiny_config(), photographs, tmp_path / "1"))
    torch.manual_seed(2)
    assert model_digest(_run(tiny_config(), photographs, tmp_path / "2")) == first
    assert model_digest(_run(tiny_config(seed=1), photographs, tmp_path / "3")) != first


def test_training_draws_nothing_from_the_global_generator(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    before = torch.random.get_rng_state()
    _run(tiny_config(), photographs, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_finished_run_is_resumed_without_another_step(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    model = _run(tiny_config(), photographs, tmp_path)
    files = RunFiles(tmp_path)
    before = files.metrics.read_bytes(), sorted(files.tensorboard.iterdir())
    again = _run(tiny_config(), photographs, tmp_path, resume=True)
    assert model_digest(again) == model_digest(model)
    assert (files.metrics.read_bytes(), sorted(files.tensorboard.iterdir())) == before


def test_a_larger_budget_goes_on_from_the_last_step(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(), photographs, tmp_path)
    _run(tiny_config(steps=8), photographs, tmp_path, resume=True)
    assert [line["step"] for line in _lines(tmp_path) if line["split"] == "train"] == [*range(1, 9)]


def test_a_budget_of_seconds_ends_the_run_and_counts_over_resumption(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    config = tiny_config(steps=None, seconds=0.3, checkpoint_every=1)
    _run(config, photographs, tmp_path)
    info = read_checkpoint_info(RunFiles(tmp_path).checkpoint)
    assert info.seconds >= 0.3
    _run(config, photographs, tmp_path, resume=True)
    assert read_checkpoint_info(RunFiles(tmp_path).checkpoint) == info


def test_one_step_is_made_however_small_the_budget(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(steps=None, seconds=1e-9), photographs, tmp_path)
    assert read_checkpoint_info(RunFiles(tmp_path).checkpoint).step == 1


def test_crops_are_a_function_of_seed_and_step(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def listening(given: list[Photograph], **options: Any) -> np.ndarray:
        asked.append(options)
        return crops(given, **options)

    monkeypatch.setattr(fit_module, "crops", listening)
    _run(tiny_config(seed=5), photographs, tmp_path)
    assert asked == [{"size": 16, "count": 4, "seed": 5, "step": step} for step in range(6)]


def test_codes_are_certified_for_the_very_latents_of_autocast(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The quantizer gets bfloat16 latents, and its codes are nearest to these numbers exactly."""
    seen = []
    forward = VectorQuantize.forward

    def listening(self: VectorQuantize, x: torch.Tensor) -> object:
        out = forward(self, x)
        # the codebook of a forward pass is the one that its assignment used
        seen.append((self.training, x.detach().clone(), self.codebook.detach().clone(), out.codes))
        return out

    monkeypatch.setattr(VectorQuantize, "forward", listening)
    _run(tiny_config(precision="bf16-mixed"), photographs, tmp_path)
    training = [entry[1:] for entry in seen if entry[0]]
    assert len(training) == 6
    for latents, codebook, codes in training:
        assert (latents.dtype, codebook.dtype) == (torch.bfloat16, torch.float32)
        rows = latents.permute(0, 2, 3, 1).reshape(-1, codebook.shape[1])
        assert certvq.audit(rows, codebook, codes.reshape(-1)).ok
    validating = [entry[1] for entry in seen if not entry[0]]
    assert {latents.dtype for latents in validating} == {torch.float32}


def test_a_gradient_is_clipped(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norms: list[float] = []
    step = torch.optim.Adam.step

    def listening(self: torch.optim.Adam, closure: None = None) -> object:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat([g.reshape(-1) for g in gradients if g is not None]).norm()))
        return step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", listening)
    _run(tiny_config(gradient_clip=0.01), photographs, tmp_path)
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def test_each_step_has_the_learning_rate_of_the_schedule(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def listening(self: torch.optim.Adam, closure: None = None) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", listening)
    config = tiny_config(learning_rate=0.3)
    _run(config, photographs, tmp_path)
    assert rates == [learning_rate(config, number / 6) for number in range(6)]


def test_the_loss_weighs_the_terms_as_published(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    config = tiny_config(commitment_weight=0.5)
    _run(config, photographs, tmp_path)
    variance = pixel_variance(photographs[:2])
    for line in _lines(tmp_path):
        if line["split"] == "train":
            scaled = line["reconstruction_mse"] / variance
            assert line["mse_over_variance"] == scaled
            assert line["loss"] == pytest.approx(scaled + 0.5 * line["commitment_loss"], rel=1e-5)


def test_a_checkpoint_never_claims_a_step_that_the_log_does_not_hold(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[tuple[int, int]] = []
    write = fit_module.write_checkpoint

    def listening(path: Path, state: TrainState, info: CheckpointInfo) -> None:
        held.append((info.step, max(line["step"] for line in _lines(tmp_path))))
        write(path, state, info)

    monkeypatch.setattr(fit_module, "write_checkpoint", listening)
    _run(tiny_config(), photographs, tmp_path)
    assert held == [(3, 3), (6, 6)]


def test_a_diverging_loss_stops_and_leaves_the_last_checkpoint(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = VQVAE.forward
    calls = []

    def diverging(self: VQVAE, images: torch.Tensor) -> object:
        out = forward(self, images)
        calls.extend([1] if self.training else [])
        return out._replace(loss=out.loss * math.inf) if len(calls) == 5 else out

    monkeypatch.setattr(VQVAE, "forward", diverging)
    text = (
        r"training diverged at step 5 \(learning rate 0\.\d+\): the loss must be finite, got "
        r"inf; the checkpoint of step 3 in .*checkpoint\.safetensors is intact: resume from it "
        "with a lower learning rate$"
    )
    with pytest.raises(NonFiniteError, match=text):
        _run(tiny_config(), photographs, tmp_path)
    monkeypatch.undo()
    assert read_checkpoint_info(RunFiles(tmp_path).checkpoint).step == 3
    lower = tiny_config(learning_rate=1e-4)
    _run(lower, photographs, tmp_path, resume=True)
    assert [line["step"] for line in _lines(tmp_path) if line["split"] == "train"] == [*range(1, 7)]


def test_a_non_finite_gradient_changes_no_weight(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The square root has an infinite slope at 0, though its value is finite."""
    forward = VQVAE.forward
    models = []

    def spoiled(self: VQVAE, images: torch.Tensor) -> object:
        out = forward(self, images)
        models.append((self, [p.detach().clone() for p in self.parameters()]))
        zero = (out.reconstruction - out.reconstruction.detach()).abs().sum()
        return out._replace(loss=out.loss + zero.sqrt())

    monkeypatch.setattr(VQVAE, "forward", spoiled)
    text = (
        "step 1 .*the norm of the gradient must be finite, got nan; no checkpoint was written yet"
    )
    with pytest.raises(NonFiniteError, match=text):
        _run(tiny_config(), photographs, tmp_path)
    model, before = models[0]
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_latents_that_are_not_finite_stop_the_run(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantize = VectorQuantize.forward

    def spoiled(self: VectorQuantize, x: torch.Tensor) -> object:
        return quantize(self, x * math.nan)

    monkeypatch.setattr(VectorQuantize, "forward", spoiled)
    with pytest.raises(NonFiniteError, match=r"training diverged at step 1 .*nan at row 0"):
        _run(tiny_config(), photographs, tmp_path)


def test_other_settings_than_the_checkpoints_are_refused(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(), photographs, tmp_path)
    before = RunFiles(tmp_path).config.read_bytes()
    text = r"checkpoint\.safetensors: .* trained with seed \(0, not 4\), model\.dim \(4, not 5\);"
    with pytest.raises(FileFormatError, match=text):
        _run(tiny_config(seed=4, dim=5), photographs, tmp_path, resume=True)
    assert RunFiles(tmp_path).config.read_bytes() == before


def test_other_photographs_than_the_checkpoints_are_refused(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(), photographs, tmp_path)
    with pytest.raises(FileFormatError, match="trained on other photographs, or on another split"):
        _run(tiny_config(), photographs[::-1], tmp_path, resume=True)


def test_resuming_nothing_is_refused_and_leaves_nothing(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    with pytest.raises(FileFormatError, match="there is no checkpoint to resume from"):
        _run(tiny_config(), photographs, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_unusable_photographs_leave_nothing(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="smaller than the crops of 20 x 20"):
        _run(replace(tiny_config(), crop=20), photographs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_is_told_of_every_step(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    told = []
    _run(tiny_config(), photographs, tmp_path, progress=lambda *call: told.append(call))
    assert told == [("train", step, 6) for step in range(1, 7)]


@pytest.mark.parametrize(
    ("within", "number"),
    [("step", 1), ("step", 4), ("step", 5), ("step", 6), ("validation", 4), ("validation", 6)],
)
def test_an_interrupted_run_keeps_its_last_whole_step(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    within: str,
    number: int,
) -> None:
    """Ctrl-C within a step or a validation, that is, where weights and log are half done."""
    whole = _run(tiny_config(), photographs, tmp_path / "whole")
    forward, steps = VQVAE.forward, []

    def pressing(self: VQVAE, images: torch.Tensor) -> object:
        steps.extend([1] if self.training else [])
        if len(steps) == number and self.training == (within == "step"):
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, images)

    monkeypatch.setattr(VQVAE, "forward", pressing)
    with pytest.raises(KeyboardInterrupt):
        _run(tiny_config(), photographs, tmp_path / "parts")
    monkeypatch.undo()
    assert read_checkpoint_info(RunFiles(tmp_path / "parts").checkpoint).step == number
    resumed = _run(tiny_config(), photographs, tmp_path / "parts", resume=True)
    assert model_digest(resumed) == model_digest(whole)
    for line, other in zip(_lines(tmp_path / "parts"), _lines(tmp_path / "whole"), strict=True):
        assert {**line, "seconds": 0} == {**other, "seconds": 0}


def test_a_step_that_was_cut_in_two_is_not_kept(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward, steps = VQVAE.forward, []

    def breaking(self: VQVAE, images: torch.Tensor) -> object:
        out = forward(self, images)
        steps.extend([1] if self.training else [])
        if len(steps) == 5:
            raise KeyboardInterrupt
        return out

    monkeypatch.setattr(VQVAE, "forward", breaking)
    with pytest.raises(KeyboardInterrupt):
        _run(tiny_config(), photographs, tmp_path)
    assert read_checkpoint_info(RunFiles(tmp_path).checkpoint).step == 3


def test_an_interruption_that_does_not_wait_for_a_validation_is_not_kept(
    tiny_config: Make,
    photographs: list[Photograph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a resumed run would go on without the figures of that validation."""
    forward, passes = VQVAE.forward, []

    def pressing_twice(self: VQVAE, images: torch.Tensor) -> object:
        passes.extend([] if self.training else [1])
        if len(passes) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, images)

    monkeypatch.setattr(VQVAE, "forward", pressing_twice)
    with pytest.raises(KeyboardInterrupt):
        _run(tiny_config(), photographs, tmp_path)
    monkeypatch.undo()
    assert read_checkpoint_info(RunFiles(tmp_path).checkpoint).step == 3
    _run(tiny_config(), photographs, tmp_path, resume=True)
    assert [line["step"] for line in _lines(tmp_path) if line["split"] == "validation"] == [4, 6]


def test_a_smaller_budget_for_a_finished_run_changes_no_file(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    _run(tiny_config(), photographs, tmp_path)
    files = RunFiles(tmp_path)
    before = files.config.read_bytes(), files.metrics.read_bytes(), files.checkpoint.read_bytes()
    _run(tiny_config(steps=2, learning_rate=0.5), photographs, tmp_path, resume=True)
    after = files.config.read_bytes(), files.metrics.read_bytes(), files.checkpoint.read_bytes()
    assert after == before


def test_a_smaller_budget_for_a_run_that_was_cut_off_measures_it(
    tiny_config: Make, photographs: list[Photograph], tmp_path: Path
) -> None:
    with pytest.raises(InterruptionError):
        _run(tiny_config(), photographs, tmp_path, progress=_stop_at(5))
    step = read_checkpoint_info(RunFiles(tmp_path).checkpoint).step
    _run(tiny_config(steps=1), photographs, tmp_path, resume=True)
    assert (_lines(tmp_path)[-1]["split"], _lines(tmp_path)[-1]["step"]) == ("validation", step)
    assert sum(line["split"] == "train" for line in _lines(tmp_path)) == step
