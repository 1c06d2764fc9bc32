"""The state of the iterations in a file, so that a run that was killed can go on.

In: a `State` and a fingerprint of the data and the options. Out: a file that is complete or absent,
and the same state again. The file holds arrays only; nothing is unpickled.
"""

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from certvq._files.atomic import atomic_path
from certvq._files.damage import naming_damage
from certvq._files.limits import require_room
from certvq._files.npy import read_npz_member
from certvq._types import Float64Array
from certvq.cluster._loop import State
from certvq.cluster._source import Source
from certvq.errors import FileFormatError, OptionError

_BLOCK = 1 << 18
_FORMAT = 1
_FIELDS = ("format", "fingerprint", "codebook", "history", "splits", "squares")


def fingerprint(source: Source, weights: Float64Array | None, options: str) -> str:
    """Digest the rows, their weights and the options that the state depends on.

    Returns:
        SHA-256 in hexadecimal digits, the same however the rows are laid out in memory.

    Cost: a pass.
    """
    digest = hashlib.sha256(f"{options};{source.number};{source.dim}".encode())
    for _, rows in source.host_blocks(_BLOCK):
        digest.update(np.ascontiguousarray(rows).data)
    digest.update(b"" if weights is None else weights.tobytes())
    return digest.hexdigest()


def save_state(path: Path, state: State, print_: str) -> None:
    """Write a state; the file is the old one or the new one, whole.

    Raises:
        OSError: the file cannot be written.
    """
    assert state.squares is not None
    size = state.squares.bit_length() // 8 + 1
    with atomic_path(path) as partial, partial.open("wb") as stream:
        np.savez(
            stream,
            format=np.int64(_FORMAT),
            fingerprint=np.frombuffer(bytes.fromhex(print_), np.uint8),
            codebook=state.codebook,
            history=np.array(state.history),
            splits=np.array(state.splits, dtype=np.int64),
            squares=np.frombuffer(state.squares.to_bytes(size, "little"), np.uint8),
        )


def load_state(path: Path, print_: str) -> State | None:
    """Read a state, None where there is no file.

    Raises:
        FileFormatError: the file is damaged, or no checkpoint of k-means.
        OptionError: it is of other data or options, or no plain file.
    """
    if not path.exists():
        return None
    if not path.is_file():  # a pipe cannot be read again
        raise OptionError(f"{path}: is a folder, pipe or device; name a file for the checkpoint")
    fields = _read(path)
    if fields["fingerprint"].tobytes().hex() != print_:
        text = (
            f"{path}: is the checkpoint of other data or options (type of number, weights, start, "
            "seed, metric, codebook_size, empty); remove it, or give the ones that it was made with"
        )
        raise OptionError(text)
    return State(
        fields["codebook"],
        tuple(fields["history"].tolist()),
        tuple(fields["splits"].tolist()),
        int.from_bytes(fields["squares"].tobytes(), "little"),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    what = "is no checkpoint of k-means, or a damaged one"
    with naming_damage(path, what, advice="remove it"), zipfile.ZipFile(path) as archive:
        needed = sum(entry.file_size for entry in archive.infolist())
        require_room(path, needed, path.stat().st_size)
        fields = {
            name: read_npz_member(archive, archive.getinfo(f"{name}.npy")) for name in _FIELDS
        }
    if int(fields["format"]) != _FORMAT:
        text = f"{path}: has format {int(fields['format'])}, required is {_FORMAT}; remove it"
        raise FileFormatError(text)
    return fields
