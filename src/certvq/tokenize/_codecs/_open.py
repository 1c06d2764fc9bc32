"""Open a model by its place, without network.

In: a folder, a file with a codebook, an entry `module:function`, or a function. Out: its `Codec`,
patched and in eval mode. Nothing is downloaded, and no code of a model's folder is run.
"""

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from torch import nn

from certvq._files.json import loads
from certvq.errors import (
    BackendUnavailableError,
    FileFormatError,
    OptionError,
    UnknownQuantizerError,
)
from certvq.inspect import patch_module
from certvq.models import VQVAE
from certvq.tokenize._codecs._codec import Codec
from certvq.tokenize._codecs._diffusers import vq_model
from certvq.tokenize._codecs._images import IMAGE_CODECS
from certvq.tokenize._codecs._own import codebook_codec, own_codec
from certvq.tokenize._codecs._transformers import SOUND_CODECS

ModelSource: TypeAlias = str | Path | Callable[[], nn.Module | Codec]

KNOWN: Final = ("certvq", *SOUND_CODECS, *IMAGE_CODECS, "VQModel (diffusers)")


def open_codec(
    source: ModelSource,
    *,
    latents: bool = False,
    quantizers: int | None = None,
    device: str | torch.device = "cpu",
) -> Codec:
    """Open a model and make its codes certified ones.

    Args:
        source: a folder that `VQVAE.save_pretrained` wrote; a folder of transformers or diffusers
            with `config.json` of a known kind; a codebook (K, D) in a `.npy` file; an entry
            ``"module:function"``, or a function, that returns a module of a known kind or a
            `Codec`.
        latents: whether the inputs are latents, for which a model of certvq gives its codebook.
        quantizers: how many codebooks of a residual codec to use; None for its own default.
        device: where it shall run.

    Raises:
        OptionError: no such folder or entry, a kind that is not known, or a number of quantizers
            that it does not have.
        FileFormatError: a file is missing or damaged.
        BackendUnavailableError: the model needs a library that is not installed.
    """
    model = source() if callable(source) else _load(str(source))
    if isinstance(model, Codec):
        codec = _placed(model, device)
    else:
        codec = _wrapped(model.to(device), latents=latents, quantizers=quantizers)
    if latents != (codec.modality == "latent"):
        given = "latents" if latents else "images or sounds"
        raise OptionError(f"{source}: takes {codec.modality}s, and the sources hold {given}")
    return codec


def _placed(codec: Codec, device: str | torch.device) -> Codec:
    codec.module.eval()
    if codec.device.type != torch.device(device).type:
        raise OptionError(
            f"the entry's model is on {codec.device}, asked for is {device}; let the entry place it"
        )
    with suppress(
        UnknownQuantizerError
    ):  # it may call certvq.assign itself, as its codes will show
        patch_module(codec.module)
    return codec


def _load(source: str) -> Any:
    path = Path(source)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file() and path.suffix == ".npy":
        return codebook_codec(path)
    module, _, function = source.partition(":")
    if function and module.replace(".", "").isidentifier() and function.isidentifier():
        return _called(source, module, function)
    if path.exists():
        raise OptionError(f"{source}: is a file; give the folder of a model, or a .npy codebook")
    raise OptionError(
        f"{source}: there is no such folder, and a model is never fetched from the network; "
        "download it first (hf download), or give module:function"
    )


def _called(source: str, module: str, function: str) -> Any:
    with _importing_from(Path.cwd()):
        try:
            entry = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise OptionError(f"{source}: cannot be imported ({error})") from error
    model = entry()
    if not isinstance(model, nn.Module | Codec):
        raise OptionError(
            f"{source}: must return a torch module or a certvq.tokenize.Codec, got "
            f"{type(model).__name__}"
        )
    return model


@contextmanager
def _importing_from(folder: Path) -> Any:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _of_folder(folder: Path) -> nn.Module:
    try:
        config = loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{folder}: a model is a folder with config.json, which cannot be read ({error})"
        ) from error
    named = config if isinstance(config, dict) else {}
    kind = str(named.get("model_type") or named.get("_class_name") or "")
    if "certvq_version" in named:
        return VQVAE.from_pretrained(folder)
    known = SOUND_CODECS.get(kind) or IMAGE_CODECS.get(kind)
    if known is not None:
        import transformers
        from transformers.utils import logging

        if logging.is_progress_bar_enabled():
            logging.disable_progress_bar()
        return _pretrained(getattr(transformers, known[0]), folder)
    if kind == "VQModel":
        return _pretrained(import_module("diffusers").VQModel, folder)
    raise OptionError(
        f"{folder}: is a model of the kind {kind!r}, known are {', '.join(KNOWN)}; write a "
        "function that returns it as a certvq.tokenize.Codec, and give module:function"
    )


def _pretrained(kind: Any, folder: Path) -> nn.Module:
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except ImportError as error:  # Higgs Audio wants torchaudio
        raise BackendUnavailableError(f"{folder}: {' '.join(str(error).split())}") from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{folder}: cannot be loaded without network: {reason}") from error
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _wrapped(model: nn.Module, *, latents: bool, quantizers: int | None) -> Codec:
    model.eval()
    if isinstance(model, VQVAE):
        return own_codec(model, latents=latents, quantizers=quantizers)
    name = type(model).__name__
    for kind, wrap in SOUND_CODECS.values():
        if name == kind:
            patch_module(model)
            return wrap(model, quantizers)
    for kind, wrap in (*IMAGE_CODECS.values(), ("VQModel", vq_model)):
        if name == kind:
            _require_one(quantizers)
            patch_module(model)
            return wrap(model)
    raise OptionError(
        f"{name}: a model of this kind is not known, known are {', '.join(KNOWN)}; return it as a "
        "certvq.tokenize.Codec"
    )


def _require_one(quantizers: int | None) -> None:
    if quantizers not in (None, 1):
        raise OptionError(f"quantizers must be 1 for this model, got {quantizers}")
