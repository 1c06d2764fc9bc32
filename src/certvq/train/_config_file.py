"""The configuration of a run on disk: `train.json`, with a digest of its own.

In: a configuration and a path. Out: JSON, and back, or an error that names the file. Must not
import the loop.
"""

from pathlib import Path
from typing import Any

from certvq._files.atomic import atomic_path
from certvq._files.json import SEAL, dumps, is_whole, loads, sealed
from certvq.errors import FileFormatError, OptionError
from certvq.train._config import TrainConfig


def write_config(path: Path, config: TrainConfig) -> None:
    """Write a configuration.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(dumps(sealed(config.to_json()), indent=2) + "\n", encoding="utf-8")


def read_config(path: Path) -> TrainConfig:
    """Read a configuration; one without a digest, as of earlier versions, is taken as it is.

    Raises:
        FileFormatError: damaged, changed, or no configuration.
        OSError: it cannot be opened.
    """
    try:
        content = loads(path.read_bytes())
        if isinstance(content, dict) and SEAL in content:
            _require_whole(content)
            del content[SEAL]
        return TrainConfig.from_json(content)
    except (OptionError, ValueError) as error:
        text = f"{path}: not a training configuration ({error}); train afresh in another folder"
        raise FileFormatError(text) from error


def _require_whole(content: dict[str, Any]) -> None:
    if not is_whole(content):
        raise OptionError("it was changed after it was written; give the settings as options")
