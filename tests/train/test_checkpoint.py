"""A checkpoint is read back to the bit, or refused by name.

Also of `certvq.runs._run_files`.
"""

import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from certvq._files.json import sealed
from certvq.errors import FileFormatError
from certvq.models import VQVAE
from certvq.train import CheckpointInfo, TrainConfig, read_checkpoint_info
from certvq.train._checkpoint import TrainState, _digest, read_checkpoint, write_checkpoint

Make = Callable[..., TrainConfig]


def _state(config: TrainConfig, *, seed: int, steps: int) -> TrainState:
    generator = torch.Generator().manual_seed(seed)
    model = VQVAE(config.model, generator=generator)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(2, 3, 16, 16, generator=generator)).loss.backward()
        optimizer.step()
    return TrainState(model, optimizer, generator)


def _everything(state: TrainState) -> dict[str, torch.Tensor]:
    found = {f"model {name}": value for name, value in state.model.state_dict().items()}
    for index, entries in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer {index} {name}": value for name, value in entries.items()}
    return found | {"generator": state.generator.get_state()}


def _info(config: TrainConfig) -> CheckpointInfo:
    return CheckpointInfo(config, step=3, seconds=1.5, photographs="ab")


@pytest.fixture
def written(tiny_config: Make, tmp_path: Path) -> tuple[Path, TrainState]:
    state = _state(tiny_config(), seed=1, steps=3)
    write_checkpoint(tmp_path / "c.safetensors", state, _info(tiny_config()))
    return tmp_path / "c.safetensors", state


def test_model_optimiser_and_generator_come_back_to_the_bit(
    written: tuple[Path, TrainState], tiny_config: Make
) -> None:
    path, state = written
    fresh = _state(tiny_config(), seed=2, steps=0)
    assert read_checkpoint(path, fresh) == _info(tiny_config())
    wanted, found = _everything(state), _everything(fresh)
    assert wanted.keys() == found.keys()
    assert sum(name.startswith("optimizer") for name in found) > 0
    for name in wanted:
        assert torch.equal(wanted[name], found[name]), name


def test_what_a_checkpoint_says_is_read_without_its_tensors(
    written: tuple[Path, TrainState], tiny_config: Make
) -> None:
    assert read_checkpoint_info(written[0]) == _info(tiny_config())


def test_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="c: there is no checkpoint to resume from; train"):
        read_checkpoint_info(tmp_path / "c")


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_a_truncated_checkpoint_is_refused(
    written: tuple[Path, TrainState], tiny_config: Make, keep: int
) -> None:
    path, _ = written
    path.write_bytes(path.read_bytes()[:keep])
    fresh = _state(tiny_config(), seed=2, steps=0)
    before = {name: value.clone() for name, value in _everything(fresh).items()}
    with pytest.raises(
        FileFormatError, match=r"c\.safetensors: not a whole checkpoint .* delete it"
    ):
        read_checkpoint(path, fresh)
    assert all(torch.equal(before[name], value) for name, value in _everything(fresh).items())


def test_one_flipped_bit_is_found(written: tuple[Path, TrainState], tiny_config: Make) -> None:
    path, _ = written
    content = bytearray(path.read_bytes())
    content[-7] ^= 4
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="do not have the SHA-256 digest"):
        read_checkpoint(path, _state(tiny_config(), seed=2, steps=0))


def test_weights_alone_are_no_checkpoint(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "w")
    with pytest.raises(FileFormatError, match="w: not a whole checkpoint of this version"):
        read_checkpoint_info(tmp_path / "w")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 9}, "its description is not of format 2"),
        ({"step": "x"}, "its description cannot be read"),
        ({"config": {}}, "its description cannot be read .*must have the fields"),
    ],
)
def test_a_description_of_another_kind_is_refused(
    written: tuple[Path, TrainState], tiny_config: Make, change: dict[str, object], text: str
) -> None:
    path, _ = written
    content = {"format": 2, "config": tiny_config().to_json(), "step": 1, "seconds": 0.0}
    content = sealed({**content, "photographs": "", **change})
    save_file(load_file(path), path, metadata={"certvq": json.dumps(content)})
    with pytest.raises(FileFormatError, match=text):
        read_checkpoint_info(path)


def test_a_checkpoint_of_another_model_is_refused(
    written: tuple[Path, TrainState], tiny_config: Make
) -> None:
    fresh = _state(tiny_config(codebook_size=9), seed=2, steps=0)
    text = r"of another model: .*codebook has shape and type \(\(8, 4\), .* needed is \(\(9, 4\),"
    with pytest.raises(FileFormatError, match=text):
        read_checkpoint(written[0], fresh)


def test_a_checkpoint_is_replaced_whole_or_not_at_all(
    written: tuple[Path, TrainState], tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, state = written
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("certvq.train._checkpoint.save_tensors", lambda *_, **__: fail())
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, state, replace(_info(tiny_config()), step=4))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def _metadata(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["certvq"])


@pytest.mark.parametrize("change", [{"step": 2}, {"seconds": 2.5}, {"photographs": "ac"}])
def test_a_changed_description_is_found_without_the_tensors(
    written: tuple[Path, TrainState], change: dict[str, object]
) -> None:
    path, _ = written
    content = {**_metadata(path), **change}
    save_file(load_file(path), path, metadata={"certvq": json.dumps(content)})
    text = r"c\.safetensors: not a whole .* description does not have the SHA-256 digest .*; delete"
    with pytest.raises(FileFormatError, match=text):
        read_checkpoint_info(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["model.quantizer.codebook"].fill_(float("nan")),
        lambda t: t.update({"optimizer.1.exp_avg": torch.zeros(3)}),
        lambda t: t.update({"optimizer.x.exp_avg": torch.zeros(3)}),
        lambda t: t.update({"model.encoder.body.0.bias": t["model.encoder.body.0.bias"].double()}),
        lambda t: t["generator"].fill_(255),
        lambda t: t.pop("generator"),
        lambda t: t.update(stray=torch.zeros(1)),
    ],
)
def test_a_checkpoint_that_is_refused_leaves_the_state_untouched(
    written: tuple[Path, TrainState],
    tiny_config: Make,
    change: Callable[[dict[str, torch.Tensor]], object],
) -> None:
    """Whoever writes such a file may write the right digests, too."""
    path, _ = written
    tensors, content = load_file(path), _metadata(path)
    change(tensors)
    content["tensors_sha256"] = _digest(tensors)
    del content["sha256"]
    save_file(tensors, path, metadata={"certvq": json.dumps(sealed(content))})
    fresh = _state(tiny_config(), seed=2, steps=1)
    before = {name: value.clone() for name, value in _everything(fresh).items()}
    with pytest.raises(
        FileFormatError, match=r"c\.safetensors: (not a whole|the checkpoint is of)"
    ):
        read_checkpoint(path, fresh)
    after = _everything(fresh)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_a_full_disk_names_the_file_and_leaves_the_older_one(
    written: tuple[Path, TrainState], tiny_config: Make
) -> None:
    path, state = written
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError, match=rf"File too large: .{path}"):
            write_checkpoint(path, state, replace(_info(tiny_config()), step=4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
