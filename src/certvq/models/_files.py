"""Models on disk: `model.safetensors` and `config.json`.

In: a configuration and tensors. Out: a folder that is whole or absent; and back, with every fault
named in one line. Nothing is ever unpickled. Must not build models.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from certvq._files.atomic import atomic_directory
from certvq._files.json import SEAL, dumps, is_whole, loads, sealed
from certvq._version import __version__
from certvq.errors import DigestMismatchError, FileFormatError, OptionError
from certvq.models._config import VQVAEConfig
from certvq.models._digest import codebooks_digest, state_digest
from certvq.models._quantizer import codebook_names, stored_codebooks
from certvq.models._tensors import save_tensors

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_KEYS = {"certvq_version", "architecture", "codebook_sha256", "model_sha256"}


def write_model(directory: Path, config: VQVAEConfig, state: Mapping[str, torch.Tensor]) -> None:
    """Write a model's folder, whole or not at all.

    Args:
        directory: created, or replaced if it holds a model and nothing else.
        config: the architecture.
        state: the tensors, the codebooks among them.

    Raises:
        OptionError: the folder holds other files, which would be lost.
        OSError: it cannot be written.
    """
    _require_replaceable(directory)
    record = {
        "certvq_version": __version__,
        "architecture": config.to_json(),
        "codebook_sha256": codebooks_digest(stored_codebooks(config, state)),
        "model_sha256": state_digest(state),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_directory(directory) as partial:
        save_tensors(tensors, partial / WEIGHTS)
        text = dumps(sealed(record), indent=2) + "\n"
        (partial / CONFIG).write_text(text, encoding="utf-8")


def read_model(directory: Path) -> tuple[VQVAEConfig, dict[str, torch.Tensor]]:
    """Read a model's folder, of which a digest covers every tensor and every setting.

    Args:
        directory: as `write_model` leaves it.

    Returns:
        The architecture, and the tensors on the CPU.

    Raises:
        FileFormatError: a file is missing, truncated, damaged, of another version or not what it
            should be.
        DigestMismatchError: the codebook is not the one that `config.json` was written for.
    """
    record = _read_config(directory / CONFIG)
    config = _architecture(directory / CONFIG, record["architecture"])
    state = _read_weights(directory / WEIGHTS)
    for name in codebook_names(config):
        if name not in state:
            text = f"{directory / WEIGHTS}: has no tensor {name!r}; save the model again"
            raise FileFormatError(text)
    found = codebooks_digest(stored_codebooks(config, state))
    if found != record["codebook_sha256"]:
        text = (
            f"{directory / WEIGHTS}: its codebook has SHA-256 {found}, but {CONFIG} names "
            f"{record['codebook_sha256']}; the two files are of different models, copy both again"
        )
        raise DigestMismatchError(text)
    if state_digest(state) != record["model_sha256"]:
        text = f"{directory / WEIGHTS}: does not have the digest in {CONFIG}; copy both again"
        raise FileFormatError(text)
    if SEAL in record and not is_whole(record):  # models of earlier versions have no seal
        text = (
            f"{directory / CONFIG}: was changed after it was written; copy it again, or remove its "
            f"field {SEAL!r} if the change is yours"
        )
        raise FileFormatError(text)
    return config, state


def find_model(directory: str | Path) -> Path:
    """Return the folder of a model, fetched from the Hugging Face hub if need be.

    Args:
        directory: a folder, or ``"organisation/name"`` on the hub where there is neither such a
            folder nor one called ``organisation``; that the hub is asked is logged as a warning.

    Returns:
        A folder.

    Raises:
        FileFormatError: neither the one nor the other.
    """
    path = Path(directory)
    if path.is_dir():
        return path
    name = str(directory)
    if path.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        text = f"{name}: is no folder; give one that holds {WEIGHTS} and {CONFIG}"
        raise FileFormatError(text)
    if path.parent.exists():
        found = ", ".join(sorted(below.name for below in path.parent.iterdir())[:5]) or "nothing"
        text = (
            f"{name}: is no folder, {path.parent} holds {found}; give one that holds {WEIGHTS} and "
            f"{CONFIG} (the hub is asked only where there is no folder {path.parent})"
        )
        raise FileFormatError(text)
    return _of_the_hub(name)


def _of_the_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    logging.getLogger("certvq").warning(
        "certvq: %s is no folder here; asking the Hugging Face hub for it", name
    )
    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG]))
    except Exception as error:  # of the system, of HTTP, of the hub
        text = (
            f"{name}: is neither a folder nor a model that the hub gave ({_one_line(error)}); "
            f"check the name"
        )
        raise FileFormatError(text) from error


def _require_replaceable(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        text = f"{directory}: is a file; name a folder for the model"
        raise OptionError(text)
    others = sorted({path.name for path in directory.iterdir()} - {WEIGHTS, CONFIG})
    if others:
        text = (
            f"{directory}: holds other files ({', '.join(others[:3])}), which saving a model there "
            "would remove; name a new folder"
        )
        raise OptionError(text)


def _read_config(path: Path) -> dict[str, Any]:
    data = _read_bytes(path)
    try:
        record = loads(data)
    except ValueError as error:
        text = f"{path}: is not JSON ({_one_line(error)}); save the model again"
        raise FileFormatError(text) from error
    if not isinstance(record, dict) or record.keys() - {SEAL} != _KEYS:
        keys = sorted(record) if isinstance(record, dict) else type(record).__name__
        text = f"{path}: must have the keys {sorted(_KEYS)}, got {keys}; save the model again"
        raise FileFormatError(text)
    version = str(record["certvq_version"])
    if version.split(".")[:2] != __version__.split(".")[:2]:
        text = (
            f"{path}: was written by certvq {version}, this is {__version__}; install certvq "
            f"{version} or save the model again"
        )
        raise FileFormatError(text)
    return record


def _architecture(path: Path, values: object) -> VQVAEConfig:
    try:
        return VQVAEConfig.from_json(values)
    except OptionError as error:
        prefix = "architecture " if str(error).startswith("must have the keys") else ""
        text = f"{path}: {prefix}{error}; save the model again"
        raise FileFormatError(text) from error


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    data = _read_bytes(path)
    try:
        return load(data)
    except SafetensorError as error:
        text = f"{path}: is not a whole safetensors file ({_one_line(error)}); copy it again"
        raise FileFormatError(text) from error


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); a model is {WEIGHTS} and {CONFIG}"
        raise FileFormatError(text) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
