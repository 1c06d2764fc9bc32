"""Tensors to a safetensors file, with errors of the system as such.

In: tensors and a path. Out: a file, or an `OSError` that names it. Must not know what the tensors
are.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file


def save_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:  # it packs what the system says into its own error
        raise OSError(f"{error}") from error
