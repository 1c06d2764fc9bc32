"""Containers of tensors as one tensor, which every format of weights can hold.

In: what ``torch.load(weights_only=True)`` loads. Out: bytes as uint8, and the way back. Must not
know what they are for.
"""

import io
from typing import Any

import torch

from certvq.errors import FileFormatError

_MAGIC = b"certvq01"
_HEAD = len(_MAGIC) + 8


def pack(value: Any, *, least: int = 0) -> torch.Tensor:
    """Write a value into a tensor.

    Args:
        value: containers, numbers, strings and tensors.
        least: room in bytes; sizes are powers of two from there on, so that values that grow a
            little fit in place, as `torch.distributed.checkpoint` wants it.

    Returns:
        uint8 (M,), on the CPU.

    Example:
        >>> unpack(pack({"step": 3}))
        {'step': 3}
    """
    file = io.BytesIO()
    torch.save(value, file)
    written = file.getvalue()
    whole = _MAGIC + len(written).to_bytes(8, "little") + written
    room = 1 << (max(len(whole), least) - 1).bit_length()
    return torch.frombuffer(bytearray(whole.ljust(room, b"\0")), dtype=torch.uint8)


def is_packed(value: object) -> bool:
    """Say whether a value is a tensor that `pack` has made."""
    return (
        isinstance(value, torch.Tensor)
        and value.dtype == torch.uint8
        and value.ndim == 1
        and not value.is_meta
        and bytes(value[: len(_MAGIC)].tolist()) == _MAGIC
    )


def unpack(packed: torch.Tensor) -> Any:
    """Read what `pack` has written; its tensors are on the CPU.

    Raises:
        FileFormatError: bytes that are no value.
    """
    try:
        whole = bytes(packed.cpu().numpy())
        size = int.from_bytes(whole[len(_MAGIC) : _HEAD], "little")
        file = io.BytesIO(whole[_HEAD : _HEAD + size])
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        text = f"a packed state must be bytes that torch.load reads with weights_only, got {error}"
        raise FileFormatError(text) from error
