"""What all kinds share: a few pixels, and what samples mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 21, 19
Pixels = NDArray[np.uint8]
Cases = Iterable[tuple[bytes, Pixels | None]]


@dataclass(frozen=True)
class Kind:
    """Files of one kind: their content, and their pixels, or None where they are refused."""

    format: str
    name: str
    result: str
    library: str
    cases: Callable[[], Cases]
    tolerance: int = 0


def noise(*shape: int, bits: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    kind = np.uint8 if bits <= 8 else np.uint16
    return np.random.default_rng(7).integers(0, 1 << bits, shape).astype(kind)


def upright(stored: Pixels, orientation: int) -> Pixels:
    turns = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.rot90(np.fliplr(a)),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.fliplr(a), -1),
        8: np.rot90,
    }
    return turns[orientation](stored) if orientation in turns else stored


def channels(samples: Pixels) -> Pixels:
    return samples[:, :, None] if samples.ndim == 2 else samples


def high(samples: NDArray[np.uint16]) -> Pixels:
    return (channels(samples) >> 8).astype(np.uint8)


def over_white(samples: Pixels) -> Pixels:
    colour, alpha = samples[..., :-1].astype(float), samples[..., -1:] / 255
    return np.round(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)


def opencv(content: bytes, *, turned: bool = False) -> Pixels:
    """Read a file with OpenCV: red first, high bytes, over white."""
    flags = cv2.IMREAD_COLOR if turned else cv2.IMREAD_UNCHANGED
    read = channels(cv2.imdecode(np.frombuffer(content, np.uint8), flags))
    read = high(read) if read.dtype == np.uint16 else read
    if read.shape[2] >= 3:
        read = np.concatenate([read[..., 2::-1], read[..., 3:]], axis=2)
    return over_white(read) if read.shape[2] == 4 else read


GREY8, GREY16 = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, bits=16)
RGB8, RGB16 = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, 3, bits=16)
FOUR8, FOUR16 = noise(HEIGHT, WIDTH, 4), noise(HEIGHT, WIDTH, 4, bits=16)
