"""The gradients that VQ-VAE training sends to the encoder and to the codebook.

In: a codebook, a latent, its code, the cotangent at the decoder's input and the commitment weight.
Out: the cotangents of the straight-through estimator. Must not import anything but the standard
library and the private modules of the specification.
"""

from dataclasses import dataclass

from certvq.spec._codebook import Codebook, quantize_at
from certvq.spec._metric import require_entries
from certvq.spec._tensor import Scalar, Tensor, divided, map_entries, require_same_shape


@dataclass(frozen=True)
class TrainingGradients:
    """Cotangents at the latent and at every code vector.

    Attributes:
        encoder: the cotangent at the encoder's output, of the latent's shape.
        codebook: K cotangents, one for each code vector and of its shape.

    Example:
        >>> from certvq.spec import TrainingGradients
        >>> TrainingGradients(encoder=(1, 0), codebook=((0, 0), (2, 2))).codebook[1]
        (2, 2)
    """

    encoder: Tensor
    codebook: tuple[Tensor, ...]


def training_gradients(
    codebook: Codebook, z: Tensor, idx: int, upstream: Tensor, beta: Scalar
) -> TrainingGradients:
    """Return the cotangents of the straight-through estimator for one latent.

    With g the upstream cotangent, n the number of entries of z and c the selected code vector:
    encoder = g + beta * (2/n) * (z - c), selected code = (2/n) * (c - z), other codes = 0
    (straightThrough_gradients).

    These are the derivatives of the objective in which the decoder reads z + sg(c - z), the
    codebook term mse(c, sg(z)) and the commitment term mse(z, sg(c)), sg being held fixed. They
    are not derivatives of the nearest-code lookup, which has none.

    Args:
        codebook: K code vectors.
        z: a latent of their shape, with at least one entry.
        idx: the code of the latent, an integer in range(K).
        upstream: the derivative of the reconstruction loss at the decoder's input, shaped as z.
        beta: the commitment weight.

    Returns:
        The cotangents; those of the codes not selected consist of the integer 0.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: latent, code vectors and upstream differ in shape, or have no entry.

    Example:
        >>> from certvq.spec import Codebook, training_gradients
        >>> book = Codebook(((0.0, 0.0), (1.0, 1.0)))
        >>> gradients = training_gradients(book, (1.0, -0.5), 0, (8.0, 8.0), 0.25)
        >>> gradients.encoder
        (8.25, 7.875)
        >>> gradients.codebook
        ((-1.0, 0.5), (0, 0))

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        section 3.2 and equation 3.
    """
    selected = quantize_at(codebook, idx)
    require_same_shape(z, selected, names=("the latent", "every code vector"))
    require_same_shape(z, upstream, names=("the latent", "upstream"))
    count = require_entries(z)

    def pull(start: Scalar, end: Scalar) -> Scalar:
        return divided(2 * (end - start), count)

    def at_latent(cotangent: Scalar, latent: Scalar, code: Scalar) -> Scalar:
        return cotangent + beta * pull(code, latent)

    return TrainingGradients(
        encoder=map_entries(at_latent, upstream, z, selected),
        codebook=tuple(
            map_entries(pull, z, selected) if place == idx else map_entries(_zero, vector)
            for place, vector in enumerate(codebook.embedding)
        ),
    )


def _zero(entry: Scalar) -> int:
    del entry
    return 0
