"""Long sounds to windows, so that memory holds seconds of a recording and not the whole of it.

In: items. Out: items, several of one sound; none of them decoded. Must not import torch.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from certvq.tokenize._items import Item, SoundWindow


def windows(item: Item, seconds: float | None) -> Iterator[Item]:
    """Cut a sound into windows.

    Args:
        item: a file, or its bytes.
        seconds: length of a window; None does not cut.

    Yields:
        An item for each window, called ``KEY#000000``, ``KEY#000001``, ..., the last one as long as
        what is left; the item itself if it is no longer than one window, or cannot be read, which
        is found out later.
    """
    sound = item.data
    if seconds is None or item.problem is not None or not isinstance(sound, bytes | str):
        yield item
        return
    total, rate = _length(sound)
    frames = max(1, round(Fraction(seconds) * rate))
    if total <= frames:
        yield item
        return
    for number, first in enumerate(range(0, total, frames)):
        count = min(frames, total - first)
        data = SoundWindow(sound, first, count, count / total)
        yield replace(
            item, key=f"{item.key}#{number:06d}", origin=f"{item.origin} window {number}", data=data
        )


def _length(sound: bytes | str) -> tuple[int, int]:
    """Return samples and rate; no samples where it cannot be read."""
    import soundfile

    try:
        found = soundfile.info(io.BytesIO(sound) if isinstance(sound, bytes) else sound)
    except (soundfile.SoundFileError, TypeError):
        return 0, 1
    return found.frames, found.samplerate
