"""What a run requires of its photographs, and how it remembers them.

In: the photographs of a run. Out: an error that names what does not fit, or a digest. Must not
import torch.
"""

import hashlib
from collections.abc import Sequence

from certvq.data import Photograph, require_usable
from certvq.data._photograph import below_crop, files_of, together
from certvq.errors import DataError
from certvq.train._config import TrainConfig


def require_photographs(
    config: TrainConfig, train: Sequence[Photograph], validation: Sequence[Photograph]
) -> None:
    """Require photographs that the configuration can be trained and validated on.

    Args:
        config: holds the model's channels and downsampling, and the side of the crops.
        train: the photographs to learn from.
        validation: the photographs to measure on.

    Raises:
        DataError: one of the two is empty, a key occurs twice, a photograph has other channels than
            the model or is smaller than the downsampling, or one to learn from is smaller than a
            crop; it is named.
    """
    for use, photographs in (("train", train), ("validate", validation)):
        if not photographs:
            text = f"at least one photograph is needed to {use} on, got none; give more photographs"
            raise DataError(text)
    stride, channels = config.model.downsampling, config.model.channels
    require_usable((*train, *validation), stride=stride, channels=channels)
    problems = [
        f"{files_of(photograph)}photograph {photograph.key!r} {reason}"
        for photograph in train
        if (reason := below_crop(photograph, config.crop))
    ]
    if problems:
        raise DataError(together(problems))


def photographs_digest(train: Sequence[Photograph], validation: Sequence[Photograph]) -> str:
    """Compute the digest by which a resumed run knows its photographs again.

    Args:
        train: in order, since crops depend on it.
        validation: in order.

    Returns:
        SHA-256 in hexadecimal over use, key, shape and pixels of each.
    """
    total = hashlib.sha256()
    for use, photographs in (("train", train), ("validate", validation)):
        for photograph in photographs:
            total.update(f"{use} {photograph.key!r} {photograph.pixels.shape};".encode())
            total.update(photograph.pixels.data)
    return total.hexdigest()
