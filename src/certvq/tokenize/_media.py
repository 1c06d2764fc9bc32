"""One input to numbers: pixels, samples or latents.

In: the bytes or the path of a file, or a view of an array. Out: an array, or an error that says why
there is none. Must not import torch, nor know of models.
"""

import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from certvq._files.limits import require_room
from certvq._types import UInt8Array
from certvq.data import read_image, with_channels
from certvq.errors import DataError, FileFormatError, OptionError
from certvq.tokenize._items import Data, SoundWindow

_PILLOW = Lock()  # warnings.catch_warnings, which it is read under, is of the whole process


@dataclass(frozen=True)
class Reading:
    """How inputs are made fit for a model.

    Attributes:
        channels: 1 or 3 converts images; 1 mixes sounds down, 2 repeats the channel of sounds that
            have one. None converts nothing.
        resize: images are scaled to this shorter side and cut to a centred square; None leaves
            them.
        resample: sounds of another rate are converted to the model's.
        seconds: sounds are cut into windows of this length; None leaves them whole.

    Raises:
        OptionError: a value is out of its range.
    """

    channels: int | None = None
    resize: int | None = None
    resample: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 2, 3):
            raise OptionError(f"channels must be 1, 2 or 3, got {self.channels}")
        if self.resize is not None and self.resize < 1:
            raise OptionError(f"resize must be at least 1, got {self.resize}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise OptionError(f"seconds must be a finite number above 0, got {self.seconds}")

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types; `seconds` only where sounds are cut."""
        found = asdict(self)
        return {k: value for k, value in found.items() if k != "seconds" or value is not None}


def read_pixels(data: Data, reading: Reading) -> UInt8Array:
    """Read an image (H, W, C).

    Args:
        data: the bytes or the path of an image file, or uint8 (H, W, 1 or 3).
        reading: `channels` and `resize`.

    Raises:
        DataError: it cannot be read.
        OptionError: `channels` is 2, which is for sounds.
    """
    if reading.channels == 2:
        raise OptionError("channels must be 1 or 3 for images, got 2, which is for sounds")
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] not in (1, 3):
            raise DataError(f"pixels must be uint8 (H, W, 1 or 3), got {data.dtype} {data.shape}")
        pixels = data
    elif isinstance(data, SoundWindow):
        raise DataError("is a window of a sound, no image")
    else:
        with _PILLOW:
            pixels = read_image(data if isinstance(data, bytes) else Path(data))
    if reading.channels is not None:
        pixels = with_channels(pixels, reading.channels)
    return pixels if reading.resize is None else _square(pixels, reading.resize)


def read_sound(data: Data, reading: Reading, *, rate: int) -> NDArray[np.float32]:
    """Read a sound (C, T), float32.

    Args:
        data: the bytes or the path of a file that soundfile reads, a window of one, or floats
            (C, T) of `rate`.
        reading: `channels` and `resample`.
        rate: samples per second that the model takes.

    Raises:
        DataError: it cannot be read, is empty, or is not finite.
        OptionError: it has another rate, and `resample` is not set.
    """
    if isinstance(data, np.ndarray):
        samples, found = np.atleast_2d(data).astype(np.float32).T, rate
    else:
        samples, found = _decoded(data)
    if not len(samples):
        raise DataError("holds no samples")
    if found != rate:
        if not reading.resample:
            raise OptionError(
                f"has {found} samples per second, and the model takes {rate}; convert it, or let "
                "it be resampled (--resample)"
            )
        samples = _resampled(samples, found, rate)
    if reading.channels == 1:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    elif reading.channels == 2 and samples.shape[1] == 1:
        samples = np.repeat(samples, 2, axis=1)
    if not np.isfinite(samples).all():
        raise DataError("holds NaN or infinity")
    return np.ascontiguousarray(samples.T)


def read_latents(data: Data, *, dim: int) -> NDArray[Any]:
    """Read latents (..., D) of finite floats.

    Raises:
        DataError: another dim, no floats, or none at all.
    """
    if not isinstance(data, np.ndarray):
        raise DataError("latents must be arrays, got a file; give .npy or .npz")
    if data.dtype.kind != "f" or data.dtype.itemsize > 8:
        raise DataError(f"latents must be float16, float32 or float64, got {data.dtype}")
    if data.ndim < 1 or data.shape[-1] != dim or not data.size:
        raise DataError(f"latents must be (..., {dim}), got {data.shape}")
    return np.array(data, dtype=data.dtype.newbyteorder("="))


def _decoded(data: bytes | str | SoundWindow) -> tuple[NDArray[np.float32], int]:
    import soundfile

    window = data if isinstance(data, SoundWindow) else SoundWindow(data, 0, -1, 1.0)
    sound = window.sound
    try:
        with soundfile.SoundFile(io.BytesIO(sound) if isinstance(sound, bytes) else sound) as file:
            frames = file.frames - window.first if window.count < 0 else window.count
            size = len(sound) if isinstance(sound, bytes) else Path(sound).stat().st_size
            # the header alone says how many there are
            require_room("its samples", 4 * frames * file.channels, size)
            file.seek(window.first)
            found = file.read(frames, dtype="float32", always_2d=True)
            return cast("NDArray[np.float32]", found), file.samplerate
    except FileFormatError as error:
        raise DataError(f"{error}, or cut it (--seconds)") from error
    except (soundfile.SoundFileError, TypeError) as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise DataError(f"not a readable sound ({reason})") from error


def _resampled(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    shared = math.gcd(rate, wanted)
    found = resample_poly(samples.astype(np.float64), wanted // shared, rate // shared, axis=0)
    return found.astype(np.float32)


def _square(pixels: UInt8Array, side: int) -> UInt8Array:
    from PIL import Image

    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (max(side, round(width * side / short)), max(side, round(height * side / short)))
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], -1)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return scaled[top : top + side, left : left + side]
