"""A configuration on disk is read as it was written, or refused by name."""

import json
from pathlib import Path

import pytest

from certvq.errors import FileFormatError
from certvq.train import TrainConfig
from certvq.train._config_file import read_config, write_config


def test_a_changed_setting_is_found_and_one_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    write_config(path, TrainConfig(seed=3))
    assert read_config(path) == TrainConfig(seed=3)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "learning_rate": 0.5}))
    with pytest.raises(FileFormatError, match=r"train\.json: .* changed after it was"):
        read_config(path)
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert read_config(path) == TrainConfig(seed=3)
