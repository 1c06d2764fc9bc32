"""The training loop.

In: a configuration, photographs and a run directory. Out: a trained model, and in the directory the
configuration, checkpoints, metrics and the model's own directory. Must not draw random numbers
from anywhere but the configuration's seed.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from certvq._files.lock import folder_lock
from certvq._types import Progress, no_progress
from certvq.data import Photograph, crops
from certvq.errors import FileFormatError, NonFiniteError
from certvq.models import VQVAE
from certvq.runs import RunFiles
from certvq.train._checkpoint import (
    CheckpointInfo,
    TrainState,
    read_checkpoint,
    read_checkpoint_info,
    write_checkpoint,
)
from certvq.train._config import TrainConfig
from certvq.train._config_file import write_config
from certvq.train._images import lay_out
from certvq.train._interrupt import interrupts_held
from certvq.train._metrics import (
    Figures,
    MetricsLog,
    ends_in_midst,
    metrics_log,
    pixel_variance,
)
from certvq.train._photographs import photographs_digest, require_photographs
from certvq.train._schedule import learning_rate, spent_share
from certvq.train._step import Stepper
from certvq.train._validate import validate


def fit(
    config: TrainConfig,
    train: Sequence[Photograph],
    validation: Sequence[Photograph],
    run_dir: Path,
    *,
    resume: bool = False,
    progress: Progress = no_progress,
) -> VQVAE:
    """Train a model until the budget is spent.

    Minimises ``reconstruction / variance + codebook + beta * commitment`` with Adam, where the
    variance is that of the training pixels.

    Args:
        config: what to train and for how long.
        train: photographs to learn from; the crops of a step depend on seed and step alone.
        validation: photographs that are measured on and never learnt from.
        run_dir: receives `train.json`, `checkpoint.safetensors`, `metrics.jsonl`, `tensorboard/`
            and `model/`; made if absent.
        resume: go on from the checkpoint in `run_dir`, with what is left of the budget.
        progress: called once per step.

    Returns:
        The trained model, in eval mode.

    Raises:
        DataError: the photographs do not fit the configuration; one is named.
        FileFormatError: no checkpoint to resume from, a corrupt one, or one of another run.
        NonFiniteError: the training diverged; the last checkpoint is left as it is.
        OptionError: another process trains in `run_dir`; it is named.
        OSError: a file cannot be written.
        KeyboardInterrupt: interrupted; the last whole step is in the checkpoint.

    Guarantee: tested, not proved: with a budget of steps alone, on one machine and one number of
        threads, a resumed run ends with the very parameters of an uninterrupted one (with
        ``bf16-mixed`` in processes that have done nothing else).
    """
    require_photographs(config, train, validation)
    with folder_lock(run_dir):
        return _fit(config, train, validation, RunFiles(run_dir), resume=resume, progress=progress)


def _fit(
    config: TrainConfig,
    train: Sequence[Photograph],
    validation: Sequence[Photograph],
    files: RunFiles,
    *,
    resume: bool,
    progress: Progress,
) -> VQVAE:
    digest = photographs_digest(train, validation)
    if resume:
        _require_same_run(files, config, digest)
    state = _fresh_state(config)
    stepper = Stepper(config, state, variance=pixel_variance(train))
    info = read_checkpoint(files.checkpoint, state) if resume else None
    loop = _Loop(config, files, digest, progress, info)
    if loop.unfinished():  # else the files go on saying with what the run was trained
        write_config(files.config, config)
        with metrics_log(files, after=loop.step) as log:
            loop.run(stepper, state, train, validation, log)
    elif ends_in_midst(files, loop.step):  # cut off, and the budget is smaller now
        with metrics_log(files, after=loop.step) as log:
            loop.measure(state, validation, log)
    lay_out(state.model, torch.contiguous_format)
    state.model.cpu().eval()
    state.model.save_pretrained(files.model)
    return state.model


class _Loop:
    """Count steps and seconds, and write what is due."""

    def __init__(
        self,
        config: TrainConfig,
        files: RunFiles,
        digest: str,
        progress: Progress,
        info: CheckpointInfo | None,
    ) -> None:
        self.step = info.step if info else 0
        self._config, self._files, self._digest, self._progress = config, files, digest, progress
        self._start = time.monotonic() - (info.seconds if info else 0.0)
        self._saved = self.step

    def unfinished(self) -> bool:
        return self.step == 0 or spent_share(self._config, self.step, self._seconds()) < 1

    def run(
        self,
        stepper: Stepper,
        state: TrainState,
        train: Sequence[Photograph],
        validation: Sequence[Photograph],
        log: MetricsLog,
    ) -> None:
        last, whole_at = False, None
        try:
            while not last:
                with interrupts_held():
                    whole_at = None  # weights and log are in between two steps
                    log.write(self._one_step(stepper, train))
                    seconds = self._seconds()
                    last = spent_share(self._config, self.step, seconds) >= 1
                    self._write_what_is_due(state, validation, log, last=last)
                    whole_at = seconds
                self._report(self._config)
        except KeyboardInterrupt:
            if whole_at is not None and self._saved != self.step:
                self._save(state, log, seconds=whole_at)
            raise

    def _write_what_is_due(
        self, state: TrainState, validation: Sequence[Photograph], log: MetricsLog, *, last: bool
    ) -> None:
        config = self._config
        if last or self.step % config.validate_every == 0:
            self.measure(state, validation, log)
        if last or self.step % config.checkpoint_every == 0:
            self._save(state, log, seconds=self._seconds())

    def _one_step(self, stepper: Stepper, train: Sequence[Photograph]) -> Figures:
        config = self._config
        rate = learning_rate(config, spent_share(config, self.step, self._seconds()))
        pixels = crops(
            train, size=config.crop, count=config.batch_size, seed=config.seed, step=self.step
        )
        try:
            figures = stepper.step(
                pixels, learning_rate=rate, number=self.step + 1, seconds=self._seconds()
            )
        except NonFiniteError as error:
            raise NonFiniteError(self._diverged(rate, error)) from error
        self.step += 1
        return figures

    def _diverged(self, rate: float, error: NonFiniteError) -> str:
        kept = (
            f"the checkpoint of step {self._saved} in {self._files.checkpoint} is intact: resume "
            f"from it with a lower learning rate"
            if self._saved
            else "no checkpoint was written yet: start again with a lower learning rate"
        )
        return (
            f"training diverged at step {self.step + 1} (learning rate {rate:.3g}): {error}; {kept}"
        )

    def measure(self, state: TrainState, validation: Sequence[Photograph], log: MetricsLog) -> None:
        seconds = self._seconds()
        log.write(validate(state.model, validation, step=self.step, seconds=seconds))

    def _save(self, state: TrainState, log: MetricsLog, *, seconds: float) -> None:
        log.flush()
        info = CheckpointInfo(self._config, self.step, seconds, self._digest)
        write_checkpoint(self._files.checkpoint, state, info)
        self._saved = self.step

    def _seconds(self) -> float:
        return time.monotonic() - self._start

    def _report(self, config: TrainConfig) -> None:
        if config.seconds is None:
            self._progress("train", self.step, config.steps or 0)
        else:
            self._progress("train", int(self._seconds()), int(config.seconds))


def _fresh_state(config: TrainConfig) -> TrainState:
    generator = torch.Generator().manual_seed(config.seed)
    model = VQVAE(config.model, generator=generator).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    return TrainState(model, optimizer, generator)


def _require_same_run(files: RunFiles, config: TrainConfig, digest: str) -> None:
    info = read_checkpoint_info(files.checkpoint)
    changed = info.config.differences(config)
    if changed:
        text = (
            f"{files.checkpoint}: the checkpoint was trained with {', '.join(changed)}; resume "
            f"with the settings in {files.config.name}, or train afresh in another folder"
        )
        raise FileFormatError(text)
    if info.photographs != digest:
        text = (
            f"{files.checkpoint}: the checkpoint was trained on other photographs, or on another "
            f"split of them; resume with the same ones, or train afresh in another folder"
        )
        raise FileFormatError(text)
