"""The numbers that are measured on: drawn ones, and latents of a trained model.

In: a cell, a kind, perhaps the directory of a model. Out: float32 latents and codebook. Must not
know of contenders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from certvq.bench._cells import Cell
from certvq.errors import OptionError

if TYPE_CHECKING:
    from certvq.models import VQVAE

Float32Array: TypeAlias = NDArray[np.float32]

DRAWN: Final = ("normal", "sphere")
OF_A_MODEL: Final = ("latents", "offset-latents")
KINDS: Final = (*DRAWN, *OF_A_MODEL)
OFFSET: Final = 10.0
"""By how many standard deviations of the latents ``offset-latents`` are moved."""

_FLIPS: Final = (np.s_[:, :], np.s_[:, ::-1], np.s_[::-1, :], np.s_[::-1, ::-1])


@dataclass(frozen=True)
class Numbers:
    """What the contenders are given.

    Attributes:
        latents: float32 (N, D), contiguous.
        codebook: float32 (K, D), contiguous.
    """

    latents: Float32Array
    codebook: Float32Array

    @property
    def cell(self) -> Cell:
        """The sizes."""
        return Cell(len(self.latents), *self.codebook.shape)


def drawn(cell: Cell, kind: str, *, seed: int = 0) -> Numbers:
    """Draw latents and codebook from one distribution.

    Args:
        cell: the sizes.
        kind: ``normal``, standard normal; ``sphere``, the same divided by the norm of each row.
        seed: of the generator.

    Returns:
        The numbers.

    Raises:
        OptionError: unknown kind.
    """
    if kind not in DRAWN:
        raise OptionError(f"drawn numbers are {' or '.join(DRAWN)}; got {kind!r}")
    rng = np.random.default_rng(seed)
    latents, codebook = (
        rng.standard_normal((count, cell.dim)) for count in (cell.rows, cell.codebook_size)
    )
    if kind == "sphere":
        latents, codebook = (
            array / np.linalg.norm(array, axis=1, keepdims=True) for array in (latents, codebook)
        )
    return Numbers(latents.astype(np.float32), codebook.astype(np.float32))


def of_model(model_dir: Path, rows: int, *, seed: int = 0) -> Numbers:
    """Encode the held-out photographs that come with the packages.

    Where the photographs have fewer latents than wanted, they are encoded again without their first
    rows and columns of pixels, and mirrored.

    Args:
        model_dir: the model; its codebook is the codebook.
        rows: how many latents; drawn without replacement from those that were computed.
        seed: of that draw.

    Returns:
        The numbers; K and D are the model's.

    Raises:
        FileFormatError: the model cannot be read.
        DataError: the photographs cannot be used.
        OptionError: `rows` are more than all shifts and mirrors give.
    """
    from certvq.models import VQVAE

    model = VQVAE.from_pretrained(model_dir)
    blocks, count = [], 0
    for block in _encoded(model):
        blocks.append(block)
        count += len(block)
        if count >= rows:
            break
    if count < rows:
        raise OptionError(f"the photographs give {count} latents of {model_dir}; got {rows} rows")
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:rows])
    codebook = model.only_codebook("bench assign").cpu().numpy().astype(np.float32)
    return Numbers(np.concatenate(blocks)[chosen], np.ascontiguousarray(codebook))


def offset(numbers: Numbers) -> Numbers:
    """Move latents and codebook by `OFFSET` standard deviations of the latents."""
    shift = np.float32(OFFSET * numbers.latents.std(dtype=np.float64))
    return Numbers(numbers.latents + shift, numbers.codebook + shift)


def _encoded(model: "VQVAE") -> Iterator[Float32Array]:
    """Yield latents (n, D): each photograph as it is, then shifted, then mirrored and shifted."""
    from certvq.jobs._photographs import load_split
    from certvq.tokens._network import inference, photograph_latents

    stride = model.config.downsampling
    photographs = load_split(None, seed=0, channels=model.config.channels).split.validation
    with inference(model):
        for flip in _FLIPS:
            for down, right in np.ndindex(stride, stride):
                for photograph in photographs:
                    pixels = np.ascontiguousarray(photograph.pixels[down:, right:][flip])
                    found = photograph_latents(model, pixels).cpu().numpy()
                    yield found.reshape(-1, found.shape[-1])
