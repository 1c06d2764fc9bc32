"""Arrays from files.

In: the path of an `.npy` file or of a model directory. Out: NumPy arrays, never unpickled. Must not
interpret them.
"""

import os
from pathlib import Path

from certvq._files.npy import NO_NPY, read_npy, read_npy_of_pipe
from certvq._types import Array
from certvq.errors import FileFormatError


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
    with path.open("rb") as file:
        try:
            if path.is_file():
                return read_npy(file, os.fstat(file.fileno()).st_size)
            return read_npy_of_pipe(file)
        except ValueError as error:
            if str(error) == NO_NPY:
                text = f"{path}: not an .npy file; write one with numpy.save"
                raise FileFormatError(text) from error
            text = (
                f"{path}: corrupt, truncated or of Python objects ({error}); write an array of "
                f"numbers with numpy.save"
            )
            raise FileFormatError(text) from error


def load_codebook(path: Path) -> Array:
    """Read a codebook (K, D) from an `.npy` file or a model directory.

    Args:
        path: the file or directory.

    Returns:
        The codebook.

    Raises:
        FileFormatError: the file or the model is corrupt.
        OSError: it cannot be opened.
    """
    if not path.is_dir():
        return load_array(path)
    from certvq.models import VQVAE

    return VQVAE.from_pretrained(path).quantizer.codebook.detach().cpu().numpy()
