"""The codes of a data set as flat arrays that are mapped into memory.

In: a data set. Out: `.npy` files in a folder: codes one after another, and where each row begins.
They are an export of their own, and what `TokenDataset` reads. Must not import torch.
"""

import json
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from certvq._files.atomic import atomic_directory
from certvq._files.damage import naming_damage
from certvq._files.json import SEAL, loads
from certvq._files.lock import folder_lock
from certvq._files.npy import map_npy
from certvq._types import Int64Array, Progress, no_progress
from certvq.errors import FileFormatError, OptionError
from certvq.tokens._manifest import MANIFEST
from certvq.tokens._set import TokenSet, open_tokens
from certvq.tokens._write import code_type

CODES: Final = "codes.npy"
OFFSETS: Final = "offsets.npy"
ROWS: Final = "rows.jsonl"
SET: Final = "set.json"

_PAUSE = 0.1


@dataclass(frozen=True, eq=False)
class FlatCodes:
    """The codes of a set, mapped into memory.

    Attributes:
        codes: (places, codebooks), of the smallest unsigned type, read-only.
        offsets: int64 (rows + 1,): where in `codes` each row begins, and where the last one ends.
        codebook_sizes: K of each codebook.
    """

    codes: np.ndarray
    offsets: Int64Array
    codebook_sizes: tuple[int, ...]


def write_flat(data: TokenSet, folder: Path, *, progress: Progress = no_progress) -> None:
    """Write a set as arrays of NumPy, in the memory of one row group.

    Args:
        data: the set.
        folder: made by the caller. Receives `codes.npy` (places, codebooks), `offsets.npy`
            (rows + 1,), `rows.jsonl`, a line for each row with key, modality, shape, size and, of
            a set that has them, side numbers, and `set.json`, what the codes were made by.
        progress: called after each row group, with the codes that were written.

    Raises:
        FileFormatError: the set or a part of it is damaged; it is named.
        OSError: a file cannot be written.
    """
    count = len(data.codebook_sizes)
    kind = code_type(max(data.codebook_sizes)).to_pandas_dtype()
    shape = (data.tokens // count, count)
    codes = np.lib.format.open_memmap(folder / CODES, "w+", np.dtype(kind), shape)
    flat = codes.reshape(-1)
    offsets = np.zeros(data.rows + 1, np.int64)
    rows = done = 0
    with (folder / ROWS).open("w") as lines:
        for block in data.blocks():
            ends = block.offsets[1:]
            if done + block.codes.size > flat.size or rows + len(ends) > data.rows:
                raise FileFormatError(f"{data.path}: a part holds more than the manifest says")
            flat[done : done + block.codes.size] = block.codes
            offsets[rows + 1 : rows + 1 + len(ends)] = (done + ends) // count
            lines.writelines(json.dumps(row) + "\n" for row in block.about())
            done, rows = done + block.codes.size, rows + len(ends)
            progress("writing", done, data.tokens)
    if (rows, done) != (data.rows, data.tokens):
        raise FileFormatError(f"{data.path}: a part holds less than the manifest says")
    codes.flush()
    np.save(folder / OFFSETS, offsets)
    (folder / SET).write_text(json.dumps(set_json(data), indent=1))


def set_json(data: TokenSet) -> dict[str, object]:
    """Describe what an export was made of, and what made the codes."""
    origin = data.stored(data.parts[0]).fields if data.parts else {}
    job = origin.get("job", {})
    return {
        "modality": data.modality,
        "codebook_sizes": list(data.codebook_sizes),
        "rows": data.rows,
        "codes": data.tokens,
        "model_sha256": job.get("model_sha256", origin.get("model_sha256")),
        "job_sha256": origin.get("job_sha256"),
        "preprocessing_sha256": origin.get("preprocessing_sha256"),
    }


def read_flat(folder: Path) -> FlatCodes:
    """Map what `write_flat` has written.

    Raises:
        FileFormatError: a file is missing or damaged.
    """
    with naming_damage(folder, advice="remove it"):
        codes, offsets = map_npy(folder / CODES), np.array(map_npy(folder / OFFSETS))
        sizes = tuple(loads((folder / SET).read_bytes())["codebook_sizes"])
        fits = codes.shape[1] == len(sizes) and offsets[-1] == len(codes)
    if not fits:
        raise FileFormatError(f"{folder}: its files do not fit together; remove it")
    return FlatCodes(np.asarray(codes), offsets, sizes)


def flat_codes(
    path: Path, cache: Path | None = None, *, progress: Progress = no_progress
) -> FlatCodes:
    """Map the codes of a set, which are laid out once.

    Args:
        path: as for `open_tokens`.
        cache: the folder that receives the arrays; None for `.flat` in that of the set, or beside
            a single file. A folder that `export_tokens` has written as "npy" is read as it is.
        progress: while they are laid out.

    Raises:
        FileFormatError: the set is damaged.
        OSError: the folder cannot be written.
    """
    if (path / CODES).exists():
        return read_flat(path)
    data = open_tokens(path)
    home = cache or (path / ".flat" if path.is_dir() else path.with_name(f".{path.name}.flat"))
    folder = home / _identity(data)
    home.mkdir(parents=True, exist_ok=True)
    while not (folder / SET).exists():
        with suppress(OptionError), folder_lock(home):
            if not (folder / SET).exists():
                with atomic_directory(folder) as partial:
                    write_flat(data, partial, progress=progress)
                if cache is None:
                    _remove_others(folder)
            break
        time.sleep(_PAUSE)  # another process lays them out
    return read_flat(folder)


def _remove_others(folder: Path) -> None:
    """Remove the arrays of older states of a set; who has mapped them keeps them."""
    for path in folder.parent.iterdir():
        if path.is_dir() and path != folder:
            shutil.rmtree(path, ignore_errors=True)


def _identity(data: TokenSet) -> str:
    """Name the content, so that arrays of an older state of the set are not taken."""
    if data.job is None:
        return str(data.stored(data.parts[0]).fields["sha256"])[:16]
    return str(json.loads((data.path / MANIFEST).read_text())[SEAL])[:16]
