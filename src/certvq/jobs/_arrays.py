"""Arrays from files: read, named in every complaint about them, walked in blocks.

In: the path of an `.npy` file or of a model directory. Out: NumPy arrays, never unpickled. Must not
interpret them, nor import torch unless the codebook is a model's.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certvq._files.npy import NO_NPY, map_npy, read_npy, read_npy_of_pipe
from certvq._types import Array, Progress
from certvq.errors import (
    CodeRangeError,
    DTypeError,
    FileFormatError,
    NonFiniteError,
    ShapeError,
)

_BLOCK = 1 << 15
"""Rows of a block. A code depends on its own row alone, so any split is as good."""


def load_array(path: Path) -> Array:
    """Read an `.npy` file.

    Args:
        path: the file.

    Returns:
        The array.

    Raises:
        FileFormatError: not an `.npy` file, truncated, or of Python objects.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file, _naming_npy(path):
        if path.is_file():
            return read_npy(file, os.fstat(file.fileno()).st_size)
        return read_npy_of_pipe(file)


def map_array(path: Path) -> Array:
    """Map an `.npy` file into memory; read what is no plain file.

    Raises:
        FileFormatError: not an `.npy` file, truncated, or of Python objects.
        OSError: the file cannot be opened.
    """
    if not path.is_file():
        return load_array(path)
    with _naming_npy(path):
        return map_npy(path)


@contextmanager
def _naming_npy(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if str(error) == NO_NPY:
            raise FileFormatError(f"{path}: not an .npy file; write one with numpy.save") from error
        text = (
            f"{path}: corrupt, truncated or of Python objects ({error}); write an array of numbers "
            "with numpy.save"
        )
        raise FileFormatError(text) from error


def load_codebook(path: Path) -> Array:
    """Read a codebook (K, D) from an `.npy` or `.safetensors` file, or a model directory.

    Args:
        path: the file or directory.

    Returns:
        The codebook.

    Raises:
        FileFormatError: the file or the model is corrupt.
        OptionError: the model has several codebooks, or a grid.
        OSError: it cannot be opened.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if not path.is_dir():
        return load_array(path)
    from certvq.models import VQVAE

    return VQVAE.from_pretrained(path).only_codebook(f"{path}: --codebook").numpy()


def _load_safetensors(path: Path) -> Array:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(path.read_bytes())
    except (SafetensorError, KeyError) as error:
        text = f"{path}: is no .safetensors file of NumPy's numbers, or a damaged one ({error})"
        raise FileFormatError(text) from error
    if "codebook" not in arrays:
        names = ", ".join(sorted(arrays)) or "nothing"
        raise FileFormatError(f"{path}: must hold an array named codebook, has {names}")
    return arrays["codebook"]


@contextmanager
def naming(*paths: Path) -> Iterator[None]:
    """Lead the text of an error about array content with the names of the files.

    Args:
        paths: where the arrays came from.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError: as raised within, with the names.
    """
    try:
        yield
    except (ShapeError, DTypeError, NonFiniteError, CodeRangeError) as error:
        names = ", ".join(str(path) for path in paths)
        raise type(error)(f"{names}: {error}") from error


def blocks(rows: int, stage: str, progress: Progress) -> Iterator[slice]:
    """Yield slices that cover ``range(rows)`` in order, at least one.

    Args:
        rows: how many.
        stage: to be named in the progress.
        progress: called after each block.

    Example:
        >>> from certvq._types import no_progress
        >>> list(blocks(40000, "assigning", no_progress))
        [slice(0, 32768, None), slice(32768, 40000, None)]
    """
    for start in range(0, max(rows, 1), _BLOCK):
        stop = min(start + _BLOCK, rows)
        yield slice(start, stop)
        progress(stage, stop, rows)
