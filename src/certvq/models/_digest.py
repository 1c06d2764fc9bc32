"""Fingerprints of codebooks and models.

In: tensors. Out: SHA-256 in hexadecimal, the same on every machine. Must not read files.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from certvq._types import Array, Shaped
from certvq.nn._torch.generators import without_generators


def codebook_digest(codebook: Shaped[Array, "..."]) -> str:
    r"""Return the SHA-256 of a codebook.

    Hashed are the name of its type of number, its shape and its entries in row order, each in
    little-endian bytes: ``b"float32 512,64\n" + data``.

    Args:
        codebook: a torch tensor or NumPy array of any shape.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> codebook_digest(torch.zeros(2, 1))[:16]
        '5305367c2e43555a'
    """
    digest = hashlib.sha256()
    _add(digest, torch.from_numpy(codebook) if isinstance(codebook, np.ndarray) else codebook)
    return digest.hexdigest()


def codebooks_digest(codebooks: Sequence[Shaped[Array, "..."]]) -> str:
    """Return the digest of a codebook, or of several the SHA-256 of their digests, a line each."""
    digests = [codebook_digest(codebook) for codebook in codebooks]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{each}\n" for each in digests).encode()).hexdigest()


def model_digest(model: nn.Module) -> str:
    """Return the SHA-256 of everything in a model's ``state_dict`` except generator states.

    Hashed are, in the order of the names, each name and what `codebook_digest` hashes of its
    tensor.

    Args:
        model: any module.

    Returns:
        64 hexadecimal digits.
    """
    return state_digest(model.state_dict())


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Return the `model_digest` of the model that has these tensors.

    Args:
        state: the tensors by name, in any order.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(without_generators(state).items()):
        digest.update(f"{name} ".encode())
        _add(digest, tensor)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", tensor: torch.Tensor) -> None:
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = ",".join(map(str, tensor.shape))
    digest.update(f"{dtype} {shape}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data = flat.view(torch.uint8).reshape(-1, flat.element_size())
    digest.update((data if sys.byteorder == "little" else data.flip(1)).numpy().tobytes())
