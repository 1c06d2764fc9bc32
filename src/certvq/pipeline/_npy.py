"""Arrays from files.

In: the path of an `.npy` file or of a model directory. Out: NumPy arrays, never unpickled. Must not
interpret them.
"""

from pathlib import Path

import numpy as np

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
        if file.read(6) != b"\x93NUMPY":
            text = f"{path}: not an .npy file; write one with numpy.save"
            raise FileFormatError(text)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        text = (
            f"{path}: corrupt, truncated or of Python objects ({error}); write an array of numbers "
            f"with numpy.save"
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
