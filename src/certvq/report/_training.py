"""The page of a run that was only trained: what `certvq train` leaves.

In: the path of a run directory without tokens. Out: what its template shows. Must not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certvq.report import _view
from certvq.report._charts import loss_charts
from certvq.runs import RunFiles
from certvq.runs._read import Shelf, read_metrics
from certvq.runs._read_file import read_json

NOT_MADE = ("summary.json", "tokens.parquet", "heldout/")
"""What a run that was only trained does not hold."""

_SHOWN = {"psnr": "PSNR, held-out photographs, dB", "perplexity": "Perplexity", "step": "Steps"}


@dataclass(frozen=True)
class Training:
    """The curves of a run; `cut` says that the last line of `metrics.jsonl` was unfinished."""

    metrics: tuple[dict[str, Any], ...]
    cut: bool


def is_training(run_dir: Path) -> bool:
    """Say whether a folder holds a trained model with its curves, and no tokens."""
    files = RunFiles(run_dir)
    made = (files.summary, files.tokens, files.heldout)
    parts = (files.config, files.metrics, files.architecture, files.weights)
    return not any(path.exists() for path in made) and all(path.is_file() for path in parts)


def training_context(run_dir: Path) -> dict[str, Any]:
    """Collect what the template shows.

    Raises:
        FileFormatError: a file is corrupt; it is named.
        OSError: a file cannot be read.
    """
    shelf = Shelf(run_dir)
    training = Training(*read_metrics(shelf))
    validated = [row for row in training.metrics if row["split"] == "validation"]
    last = validated[-1] if validated else {}
    return {
        "figures": [(_SHOWN[name], _text(last[name])) for name in _SHOWN if name in last],
        "losses": loss_charts(training),
        "metrics_cut": training.cut,
        "train": _view.rows(shelf.settings(shelf.files.config)),
        "model": _view.rows(read_json(shelf.files.architecture)),
    }


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
