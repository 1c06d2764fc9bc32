"""Images to a token file of a model with several codebooks, or with a grid, or of canonical codes.

In: a model directory and images. Out: a token data set of one part, in one file. Must not audit:
each code is certified, and `certvq audit` makes them again.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from certvq._files.atomic import atomic_path
from certvq._types import Progress, no_progress
from certvq.data import Skipped
from certvq.errors import DataError, OptionError
from certvq.tokenize import State, plan, tokenize
from certvq.tokens import open_tokens, token_stats
from certvq.tokens._part import part_name

_ALL: Final = 1 << 31
"""Files of a part: more than there are, so that one part holds all."""


def encode_part(
    model_dir: Path,
    images: Sequence[Path],
    out: Path,
    *,
    channels: int | None = None,
    canonical: bool = False,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], list[Skipped]]:
    """Tokenize images into one file.

    Args:
        model_dir: the model.
        images: files and folders.
        out: the file; an older one is replaced.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        canonical: make canonical codes.
        progress: called after each batch, with bytes of the images.

    Returns:
        The figures, and what was skipped.

    Raises:
        OptionError: the folders hold shards beside images.
        DataError: no image can be used, or of single files one cannot.
        FileFormatError: the model is corrupt.
        OSError: a file cannot be read or written.
    """

    def watch(state: State) -> None:
        progress("encoding", state.bytes, state.of_bytes)

    shards = [part.source for part in plan(images, "image") if part.kind != "files"]
    if shards:
        text = f"{shards[0]}: holds no single image, and one token file no shard; leave it out"
        raise OptionError(f"{text}, or use certvq tokenize")
    with atomic_path(out) as partial, TemporaryDirectory() as work:
        folder = Path(work) / "tokens"
        named = all(path.is_file() for path in images)  # what the user names has to be usable
        options: dict[str, Any] = {"channels": channels, "canonical": canonical, "watch": watch}
        try:
            tokenize(str(model_dir), images, folder, files_per_part=_ALL, strict=named, **options)
        except DataError as error:
            raise DataError(str(error).replace(str(folder), str(out))) from error
        part = folder / part_name(0)  # `out` may be a pipe, which cannot be read again
        skipped = [Skipped(Path(each.source), each.reason) for each in open_tokens(part).failed]
        figures = _figures(part)
        shutil.copyfile(part, partial)
    return figures, skipped


def _figures(part: Path) -> dict[str, Any]:
    counted = token_stats(part).to_json()
    levels = counted["codebooks"]
    return {
        "images": counted["rows"],
        "codes_total": counted["codes"],
        "canonical": counted["canonical"],
        "decided_by": counted["decided_by"],
        "bits_per_pixel": counted["bits_per_pixel"],
        "perplexity": [level["perplexity"] for level in levels],
        "usage": [level["usage"] for level in levels],
        "skipped": counted["failed"],
    }
