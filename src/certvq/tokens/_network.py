"""The one way in which a network runs here: pixels to latents, and codes to pixels.

In: a model, 8-bit pixels or codes. Out: latents or 8-bit pixels. Encoding and decoding share these
functions, so that both give the same bytes. Must not know of files.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from certvq._types import Float, Int64, Int64Array, UInt8, UInt8Array
from certvq.errors import NonFiniteError
from certvq.models import VQVAE


@contextmanager
def inference(model: VQVAE) -> Iterator[None]:
    """Run a block with the model in eval mode, in its own type, without gradients, repeatably.

    Autocast of the caller is off inside, and so are the choices of cuDNN that vary from run to run.
    The model is put back into the mode that it had.
    """
    training = model.training
    model.eval()
    try:
        with (
            torch.inference_mode(),
            torch.autocast(_device(model).type, enabled=False),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
        ):
            yield
    finally:
        model.train(training)


def photograph_latents(
    model: VQVAE, pixels: UInt8[UInt8Array, "H W C"]
) -> Float[torch.Tensor, "rows columns {model.config.dim}"]:
    """Compute the latents of one photograph, inside `inference`.

    Args:
        model: the network.
        pixels: uint8 (H, W, C).

    Returns:
        (rows, columns, D), on the model's device, of the type of its weights.
    """
    first = next(model.parameters())
    image = torch.from_numpy(np.array(pixels)).to(first.device).permute(2, 0, 1)
    return model.latents((image[None].to(torch.float32) / 255).to(first.dtype))[0]


def photograph_pixels(
    model: VQVAE, codes: Int64[Int64Array, "rows columns"], *, size: tuple[int, int], key: str
) -> UInt8[UInt8Array, "{size[0]} {size[1]} C"]:
    """Compute the reconstruction of one photograph, inside `inference`.

    Args:
        model: the network.
        codes: int64 (rows, columns).
        size: height and width of the photograph.
        key: of the photograph, for the text of the error.

    Returns:
        uint8 (H, W, C): ``round(255 x)`` of the decoder's output x in [0, 1], halves to even.

    Raises:
        NonFiniteError: the decoder gave NaN.
    """
    image = model.decode(torch.from_numpy(np.array(codes)).to(_device(model))[None], size=size)[0]
    image = image.float()
    if not bool(torch.isfinite(image).all()):
        raise NonFiniteError(
            f"photograph {key!r}: the decoder must give finite pixels, got NaN; its weights are "
            "damaged or diverged: train again"
        )
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _device(model: VQVAE) -> torch.device:
    return next(model.parameters()).device
