"""A token file to images.

In: a model directory and tokens. Out: a folder of PNG files, complete or absent.
"""

from dataclasses import dataclass
from pathlib import Path

from certvq._files.atomic import atomic_directory
from certvq._files.claim import claim_folder
from certvq._types import Progress, no_progress
from certvq.data import Skipped
from certvq.data._walk import mark_output
from certvq.jobs._outputs import write_pictures
from certvq.models import VQVAE
from certvq.tokens import decode_tokens, read_tokens


@dataclass(frozen=True)
class DecodedImages:
    """What decoding a token file left behind.

    Attributes:
        paths: the files written.
        skipped: files that could not be written, with the reasons.
    """

    paths: list[Path]
    skipped: list[Skipped]


def decode_file(
    model_dir: Path, tokens: Path, out: Path, *, progress: Progress = no_progress
) -> DecodedImages:
    """Decode a token file to PNG files.

    Args:
        model_dir: the model that encoded.
        tokens: the token file.
        out: the folder to make; absent or empty.
        progress: called once per image.

    Returns:
        The files written, `KEY.png` below `out`, and those whose names the file system does not
        take: too long, or that of a folder that is written too.

    Raises:
        OptionError: `out` is a file, or holds something.
        DigestMismatchError: the tokens are of another model.
        FileFormatError: the token file or the model is corrupt or truncated.
        OSError: a file cannot be read or written.

    Guarantee: `out` receives all pictures but those in `skipped`, or none.
    """
    claim_folder(out)
    model = VQVAE.from_pretrained(model_dir)
    pictures = decode_tokens(read_tokens(tokens), model, progress=progress)
    with atomic_directory(out, replace=False) as folder:
        mark_output(folder)
        refused = write_pictures(folder, {f"{key}.png": pictures[key] for key in pictures})
    paths = [out / f"{key}.png" for key in pictures if f"{key}.png" not in refused]
    return DecodedImages(paths, [Skipped(out / name, refused[name]) for name in refused])
