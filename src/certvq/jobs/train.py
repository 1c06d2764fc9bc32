"""Train a model on photographs, as a job of its own.

In: where the photographs are and where the run shall go. Out: a run directory with a trained model.
Must not encode.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certvq._files.json import loads
from certvq._files.lock import folder_lock
from certvq._types import Progress, no_progress
from certvq.data import Skipped, Split
from certvq.errors import FileFormatError, OptionError
from certvq.jobs._photographs import load_split
from certvq.models import VQVAE, VQVAEConfig
from certvq.runs import RunFiles
from certvq.runs._claim import claim_run, remove_results, remove_run
from certvq.train import TrainConfig, fit, read_checkpoint_info, require_photographs
from certvq.train._config_file import read_config

_SHAPE = ("codebook_size", "dim", "downsampling", "quantizer", "num_quantizers", "levels")
"""Fields of the model's configuration that are options of a job."""

_MODELS = {"small": VQVAEConfig.small, "published": VQVAEConfig.published}


@dataclass(frozen=True)
class Trained:
    """What a training job left behind.

    Attributes:
        files: the run directory.
        model: the trained model.
        split: the photographs that it was trained on and those held out.
        skipped: files that could not be used, with the reasons.
        steps: optimiser steps done, resumed parts counted in.
        seconds: wall-clock time of training, likewise.
    """

    files: RunFiles
    model: VQVAE
    split: Split
    skipped: list[Skipped]
    steps: int
    seconds: float

    def figures(self) -> dict[str, Any]:
        """Give the figures of the last validation, with `steps` and `train_seconds`.

        Raises:
            FileFormatError: the last line of `metrics.jsonl` is not that of a validation.
            OSError: the file cannot be read.
        """
        last = _last_validation(self.files.metrics)
        measured = {name: last[name] for name in last if name not in ("split", "step", "seconds")}
        return {"steps": self.steps, "train_seconds": self.seconds, **measured}


def train_config(out: Path, *, resume: bool, model: str | None, **options: Any) -> TrainConfig:
    """Give the configuration of a training job.

    Args:
        out: the run directory.
        resume: start from the configuration of the run in `out`, if there is one.
        model: "small" or "published"; None for that of the run that is resumed, or else "small".
        options: fields of `TrainConfig`, and `codebook_size`, `dim`, `downsampling`, `quantizer`,
            `num_quantizers` and `levels` of the model, by name; None keeps the default, or what the
            run that is resumed was told. Steps alone are a budget without a limit of time.

    Returns:
        The configuration.

    Raises:
        OptionError: a value is out of its range, or the model is unknown.
        FileFormatError: the configuration of the run in `out` cannot be read.
    """
    path = RunFiles(out).config
    base = read_config(path) if resume and path.is_file() else TrainConfig()
    given = {name: value for name, value in options.items() if value is not None}
    if "steps" in given:
        given.setdefault("seconds", None)
    if model is not None:
        if model not in _MODELS:
            raise OptionError(f"model must be one of {', '.join(_MODELS)}, got {model!r}")
        given["model"] = replace(_MODELS[model](), channels=base.model.channels)
    shape = {name: given.pop(name) for name in _SHAPE if name in given}
    if shape:
        given["model"] = _shaped(given.get("model", base.model), shape)
    return replace(base, **given)


def _shaped(model: VQVAEConfig, shape: dict[str, Any]) -> VQVAEConfig:
    """Change a model's shape; another quantizer begins with its own defaults.

    Raises:
        OptionError: an option that the quantizer does not have, or that follows from its levels.
    """
    if shape.get("quantizer", model.quantizer) == "fsq":
        for name in ("codebook_size", "dim"):
            if name in shape:
                text = f"{name} follows from the levels of the quantizer 'fsq', got {shape[name]}"
                raise OptionError(f"{text}; leave it out")
    if shape.get("quantizer", model.quantizer) != model.quantizer:
        shape = {"num_quantizers": None, "levels": None, **shape}
    return replace(model, **shape)


def train_run(
    out: Path,
    config: TrainConfig,
    *,
    data: Path | None = None,
    channels: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Trained:
    """Train a model on photographs.

    Args:
        out: becomes the run directory; absent, empty, or a run to resume or to overwrite.
        config: what to train and for how long; the model's channels are those of the photographs.
        data: a folder of images; None for the bundled photographs.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        resume: go on with the run in `out`; one that ended before its first checkpoint starts anew.
        overwrite: replace the run in `out`.
        progress: called while reading and training.

    Returns:
        The trained model and its run directory.

    Raises:
        OptionError: `out` cannot be used, both `resume` and `overwrite` are given, or an option is
            out of its range.
        DataError: the photographs cannot be used; one is named.
        FileFormatError: the checkpoint to resume from is absent, corrupt or of another run.
        NonFiniteError: the training diverged; the last checkpoint is left as it is.
        OSError: a file cannot be read or written.
    """
    if resume and overwrite:
        raise OptionError("give resume or overwrite, not both: a run that is replaced cannot go on")
    files = claim_run(out, existing=resume, overwrite=overwrite, data=data)
    with folder_lock(out):
        anew = overwrite or _ended_before_its_first_checkpoint(files)
        resume = resume and not anew
        before = read_checkpoint_info(files.checkpoint).step if resume else 0
        source = load_split(
            data,
            seed=config.seed,
            channels=channels,
            stride=config.model.downsampling,
            crop=config.crop,
            progress=progress,
        )
        split = source.split
        model = replace(config.model, channels=split.train[0].channels)
        config = replace(config, model=model)
        require_photographs(config, split.train, split.validation)
        if anew:
            remove_run(files)
        trained = fit(config, split.train, split.validation, out, resume=resume, progress=progress)
        info = read_checkpoint_info(files.checkpoint)
        if info.step != before:
            remove_results(files)
        return Trained(files, trained, split, source.skipped, info.step, info.seconds)


def _ended_before_its_first_checkpoint(files: RunFiles) -> bool:
    # a trained model without its checkpoint is worth something, and is not replaced unasked
    return files.config.is_file() and not (files.checkpoint.exists() or files.model.exists())


def _last_validation(path: Path) -> dict[str, Any]:
    lines = path.read_bytes().splitlines()
    try:
        last = loads(lines[-1]) if lines else None
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        last = None
    if not isinstance(last, dict) or last.get("split") != "validation":
        text = (
            f"{path}: damaged, line {len(lines)}, the last, does not hold the figures of a "
            f"validation; remove what does not belong there, or overwrite the run"
            if lines
            else f"{path}: damaged, it is empty; overwrite the run"
        )
        raise FileFormatError(text)
    return last
