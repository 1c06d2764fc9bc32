"""What is measured while training, and where it is written down.

In: codes, counts and losses. Out: `Figures`, one line of `metrics.jsonl` and one point of each
TensorBoard curve. Perplexity and usage are functions of a histogram of codes, so that over a whole
set they are computed from counts summed over that set, never averaged over batches. Must not import
the loop.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from certvq._files.atomic import atomic_path, naming_file
from certvq._files.json import dumps, loads
from certvq.data import Photograph
from certvq.errors import FileFormatError
from certvq.nn._core.usage import perplexity, usage
from certvq.runs import RunFiles

__all__ = ["Figures", "MetricsLog", "metrics_log", "perplexity", "pixel_variance", "usage"]


@dataclass(frozen=True)
class Figures:
    """What was measured at one step: of one batch ("train") or of the whole validation set.

    Attributes:
        split: "train" or "validation".
        step: optimiser steps done.
        seconds: wall-clock time of the run until then.
        reconstruction_mse: mean over all pixels and channels, pixels in [0, 1].
        mse_over_variance: the same over the variance of the split's pixels.
        codebook_loss: mean squared distance that pulls codes to latents.
        commitment_loss: the same that pulls latents to codes, without its weight.
        loss: what is minimised.
        perplexity: exp of the entropy of the code histogram, from 1 to K.
        usage: share of the K codes that occur.
        filter_share: share of the rows decided by the filter.
        refined_share: share of the rows decided by refinement.
        exact_share: share of the rows decided by exact arithmetic.
        psnr: of all validation photographs together, in dB; None for "train".
    """

    split: str
    step: int
    seconds: float
    reconstruction_mse: float
    mse_over_variance: float
    codebook_loss: float
    commitment_loss: float
    loss: float
    perplexity: float
    usage: float
    filter_share: float
    refined_share: float
    exact_share: float
    psnr: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Describe the figures in JSON's own types, without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def pixel_variance(photographs: Sequence[Photograph]) -> float:
    """Compute the variance of all pixels and channels, pixels in [0, 1].

    Args:
        photographs: at least one.

    Returns:
        At least ``255**-2``, so that it may divide: flat photographs have no variance at all.
    """
    counts = np.zeros(256, dtype=np.int64)
    for photograph in photographs:
        counts += np.bincount(photograph.pixels.reshape(-1), minlength=256)
    level = np.arange(256) / 255
    mean = (counts * level).sum() / counts.sum()
    variance = float((counts * (level - mean) ** 2).sum() / counts.sum())
    return max(variance, 255.0**-2)


class MetricsLog:
    """Append figures to `metrics.jsonl` and to TensorBoard; `metrics_log` makes it.

    Args:
        files: the run's paths.
        lines: the open file.
        events: TensorBoard's writer.
    """

    def __init__(self, files: RunFiles, lines: TextIO, events: SummaryWriter) -> None:
        self._files, self._lines = files, lines
        self._events = events

    def write(self, figures: Figures) -> None:
        """Write one line, and one point of each curve."""
        content = figures.to_json()
        with naming_file(self._files.metrics):
            self._lines.write(dumps(content) + "\n")
        with naming_file(self._files.tensorboard):
            for name, value in content.items():
                if name not in ("split", "step", "seconds"):
                    self._events.add_scalar(f"{figures.split}/{name}", value, figures.step)

    def flush(self) -> None:
        """Bring everything written so far to disk: called before a checkpoint claims its step."""
        with naming_file(self._files.metrics):
            self._lines.flush()
            os.fsync(self._lines.fileno())
        with naming_file(self._files.tensorboard):
            self._events.flush()


def ends_in_midst(files: RunFiles, step: int) -> bool:
    """Say whether a log ends with a step of training, or with figures of another step than `step`.

    What is damaged does not: whoever reads the figures names it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        last = loads(files.metrics.read_bytes().splitlines()[-1])
        return (last["split"], last["step"]) != ("validation", step)
    except (ValueError, IndexError, KeyError, TypeError):
        return False


@contextmanager
def metrics_log(files: RunFiles, *, after: int = 0) -> Iterator[MetricsLog]:
    """Open the log of a run, and close it.

    Args:
        files: the run's paths.
        after: on a resumed run the step to go on from: what was written beyond it is dropped, since
            those steps are done once more. 0 starts afresh.

    Yields:
        The log.

    Raises:
        FileFormatError: a line of `metrics.jsonl` is not a JSON object with a step.
        OSError: a file cannot be written.
    """
    _keep_until(files, after)
    with (
        _quiet_threads(),
        naming_file(files.metrics),
        files.metrics.open("a", encoding="utf-8") as lines,
        SummaryWriter(str(files.tensorboard), purge_step=after + 1) as events,
    ):
        yield MetricsLog(files, lines, events)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Show no traceback of TensorBoard's thread: its error is raised where events are written."""
    before = threading.excepthook

    def hook(caught: threading.ExceptHookArgs) -> None:
        if not isinstance(caught.exc_value, OSError):
            before(caught)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _keep_until(files: RunFiles, after: int) -> None:
    if after == 0 or not files.metrics.exists():
        files.metrics.unlink(missing_ok=True)
        return
    lines = files.metrics.read_bytes().splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines, 1) if _step(files, number, line) <= after]
    with atomic_path(files.metrics) as partial:
        partial.write_bytes(b"".join(kept))


def _step(files: RunFiles, number: int, line: bytes) -> float:
    if not line.endswith(b"\n"):
        return float("inf")  # the run was ended while it wrote this line
    try:
        return int(loads(line)["step"])
    except (ValueError, TypeError, KeyError) as error:
        text = f"{files.metrics}: line {number} is not one of this run's; train afresh"
        raise FileFormatError(text) from error
