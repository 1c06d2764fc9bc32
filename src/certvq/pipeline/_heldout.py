"""The held-out photographs: to certified tokens, to disk, and back from disk alone.

In: a model's directory and photographs that it was never trained on. Out: the token file, the
pictures, latents and stability radii, and whether decoding gave back what encoding reported. Must
not train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from certvq._files.atomic import atomic_directory
from certvq._types import Progress, UInt8Array, no_progress
from certvq.data import Photograph, Skipped
from certvq.models import VQVAE
from certvq.pipeline._writing import write_arrays, write_pictures
from certvq.tokens import Encoded, decode_tokens, encode_photographs, read_tokens, write_tokens
from certvq.train import RunFiles


@dataclass(frozen=True)
class RoundTrip:
    """What became of photographs on their way to tokens and back.

    Attributes:
        encoded: tokens, reconstructions, radii and the audit, as encoding reported them.
        bit_exact: whether decoding the token file, with the model read from disk once more, gave
            the very pixels that encoding reported, for every photograph.
    """

    encoded: Encoded
    bit_exact: bool


def round_trip(
    files: RunFiles, photographs: Sequence[Photograph], *, progress: Progress = no_progress
) -> RoundTrip:
    """Encode photographs, write the token file, and decode it with the model read from disk.

    Args:
        files: of a run that has a trained model; receives the token file.
        photographs: to encode.
        progress: called once per photograph and stage.

    Returns:
        What encoding reported, and whether decoding agrees with it.

    Raises:
        FileFormatError: the model cannot be read.
        DataError: a photograph does not fit the model; it is named.
        OSError: a file cannot be read or written.
    """
    encoded = encode_photographs(VQVAE.from_pretrained(files.model), photographs, progress=progress)
    write_tokens(files.tokens, encoded)
    model = VQVAE.from_pretrained(files.model)
    decoded = decode_tokens(read_tokens(files.tokens), model, progress=progress)
    return RoundTrip(encoded, same_pictures(encoded.reconstructions, decoded))


def same_pictures(one: Mapping[str, UInt8Array], other: Mapping[str, UInt8Array]) -> bool:
    """Tell whether two sets of pictures have the same keys and the same pixels."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def write_heldout(
    files: RunFiles,
    photographs: Sequence[Photograph],
    encoded: Encoded,
    kmeans: Mapping[str, UInt8Array],
) -> list[Skipped]:
    """Write what the page shows of the held-out photographs.

    Args:
        files: of the run; `heldout/` receives, for each photograph, the original, the
            reconstruction and the k-means codec's as PNG, and for all of them `stability.npz`, the
            proved radii of the tokens, and `latents.npz`.
        photographs: those that were encoded.
        encoded: what encoding reported.
        kmeans: the codec's reconstructions, by key.

    Returns:
        The pictures whose names the file system does not take.

    Raises:
        OSError: a file cannot be written.

    Guarantee: `heldout/` is whole or as it was.
    """
    pictures: dict[str, UInt8Array] = {}
    for photograph in photographs:
        key = photograph.key
        pictures[f"{key}.original.png"] = photograph.pixels
        pictures[f"{key}.reconstruction.png"] = encoded.reconstructions[key]
        pictures[f"{key}.kmeans.png"] = kmeans[key]
    with atomic_directory(files.heldout) as folder:
        refused = write_pictures(folder, pictures)
        write_arrays(folder / "stability.npz", encoded.radii)
        write_arrays(folder / "latents.npz", encoded.latents)
    return [Skipped(files.heldout / name, reason) for name, reason in refused.items()]
