"""The VQ-VAE of the seed: encoder, codebook, decoder, and the three losses.

In: a model, an observation and a code that the caller supplies. Out: the latent, the code vector,
the reconstruction or a loss. No function here chooses a code. Must not import anything but the
standard library and the private modules of the specification.
"""

from collections.abc import Callable
from dataclasses import dataclass

from certvq.spec._codebook import Codebook, quantize_at
from certvq.spec._metric import mse
from certvq.spec._tensor import Scalar, Tensor


@dataclass(frozen=True)
class Encoder:
    """A map from observations to latents.

    Attributes:
        forward: the map; any function, linear or not.

    Example:
        >>> from certvq.spec import Encoder
        >>> Encoder(lambda x: (x[0] + x[1],)).forward((2, 3))
        (5,)
    """

    forward: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Decoder:
    """A map from latents to observations.

    Attributes:
        forward: the map; any function, linear or not.

    Example:
        >>> from certvq.spec import Decoder
        >>> Decoder(lambda q: (q[0], -q[0])).forward((5,))
        (5, -5)
    """

    forward: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Model:
    """An encoder, a codebook of latents and a decoder.

    Attributes:
        encoder: maps an observation to a latent of the code vectors' shape.
        codebook: the K code vectors.
        decoder: maps a code vector to an observation.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model
        >>> model = Model(Encoder(lambda x: x), Codebook(((0, 0), (1, 1))), Decoder(lambda q: q))
        >>> model.codebook.num_codes
        2
    """

    encoder: Encoder
    codebook: Codebook
    decoder: Decoder


def encode(model: Model, x: Tensor) -> Tensor:
    """Return the latent of an observation, before quantization.

    encode(model, x) = z_e(x).

    Args:
        model: the model.
        x: an observation.

    Returns:
        What the encoder gives, unchanged.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, encode
        >>> double = Encoder(lambda x: tuple(2 * entry for entry in x))
        >>> encode(Model(double, Codebook(((0, 0),)), Decoder(lambda q: q)), (1, 3))
        (2, 6)
    """
    return model.encoder.forward(x)


def quantized(model: Model, idx: int) -> Tensor:
    """Return the code vector of an explicit code.

    quantized(model, i) = C_i (quantized_is_codebook_lookup).

    Args:
        model: the model.
        idx: an integer in range(K).

    Returns:
        The code vector.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or a `bool`.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, quantized
        >>> model = Model(Encoder(lambda x: x), Codebook(((0, 0), (1, 1))), Decoder(lambda q: q))
        >>> quantized(model, 1)
        (1, 1)
    """
    return quantize_at(model.codebook, idx)


def forward(model: Model, x: Tensor, idx: int) -> Tensor:
    """Return the reconstruction of an observation under an explicit code.

    forward(model, x, i) = decoder(C_i) (forward_eq_decoder_codebook).

    Args:
        model: the model.
        x: the observation; given the code, the reconstruction does not depend on it.
        idx: an integer in range(K), never chosen here.

    Returns:
        What the decoder makes of the code vector.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or a `bool`.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, forward
        >>> negate = Decoder(lambda q: tuple(-entry for entry in q))
        >>> forward(Model(Encoder(lambda x: x), Codebook(((0, 0), (1, 2))), negate), (9, 9), 1)
        (-1, -2)
    """
    del x
    return model.decoder.forward(quantized(model, idx))


def reconstruction_loss(model: Model, x: Tensor, idx: int) -> Scalar:
    """Return the mean squared error of the reconstruction.

    reconstruction_loss(model, x, i) = mse(decoder(C_i), x).

    Args:
        model: the model.
        x: an observation with at least one entry.
        idx: an integer in range(K).

    Returns:
        The loss.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: reconstruction and observation differ in shape, or have no entry.

    Guarantee: never negative (reconstructionLoss_nonneg).

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, reconstruction_loss
        >>> model = Model(Encoder(lambda x: x), Codebook(((0, 0), (1, 1))), Decoder(lambda q: q))
        >>> reconstruction_loss(model, (3, 1), 1)
        Fraction(2, 1)
    """
    return mse(forward(model, x, idx), x)


def codebook_loss(model: Model, x: Tensor, idx: int) -> Scalar:
    """Return the term that pulls the code vector towards the latent.

    codebook_loss(model, x, i) = mse(C_i, z_e(x)). In training the latent is held fixed here; the
    value does not show that, `training_gradients` does.

    Args:
        model: the model.
        x: an observation.
        idx: an integer in range(K).

    Returns:
        The loss.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: latent and code vector differ in shape, or have no entry.

    Guarantee: never negative (codebookLoss_nonneg); equal in value to `commitment_loss`
    (codebookLoss_eq_commitmentLoss).

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, codebook_loss
        >>> double = Encoder(lambda x: tuple(2 * entry for entry in x))
        >>> model = Model(double, Codebook(((0, 0), (1, 1))), Decoder(lambda q: q))
        >>> codebook_loss(model, (3, 1), 1)
        Fraction(13, 1)
    """
    return mse(quantized(model, idx), encode(model, x))


def commitment_loss(model: Model, x: Tensor, idx: int) -> Scalar:
    """Return the term that pulls the latent towards the code vector.

    commitment_loss(model, x, i) = mse(z_e(x), C_i). In training the code vector is held fixed
    here; the value does not show that, `training_gradients` does.

    Args:
        model: the model.
        x: an observation.
        idx: an integer in range(K).

    Returns:
        The loss, before it is weighted by beta.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: latent and code vector differ in shape, or have no entry.

    Guarantee: never negative (commitmentLoss_nonneg); 0 where the latent is the code vector.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, commitment_loss
        >>> model = Model(Encoder(lambda x: x), Codebook(((0, 0), (1, 1))), Decoder(lambda q: q))
        >>> commitment_loss(model, (3, 1), 1), commitment_loss(model, (1, 1), 1)
        (Fraction(2, 1), Fraction(0, 1))
    """
    return mse(encode(model, x), quantized(model, idx))


def loss(model: Model, beta: Scalar, x: Tensor, idx: int) -> Scalar:
    """Return the VQ-VAE objective for one observation and one code.

    loss(model, beta, x, i) = reconstruction_loss + codebook_loss + beta * commitment_loss.

    Args:
        model: the model.
        beta: the commitment weight; any scalar, 0.25 in the paper.
        x: an observation.
        idx: an integer in range(K).

    Returns:
        The objective.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: shapes do not fit together, or there is no entry to take a mean of.

    Guarantee: it does not fall when beta rises (vqvae_loss_mono_beta).

    Example:
        The documented example of the seed, at the nearest code and at another one:

        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, loss
        >>> book = Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5)))
        >>> model = Model(Encoder(lambda x: x), book, Decoder(lambda q: q))
        >>> loss(model, 0.25, (1.0, -0.5), 0), loss(model, 0.25, (1.0, -0.5), 1)
        (1.40625, 2.53125)

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        equation 3.
    """
    return (
        reconstruction_loss(model, x, idx)
        + codebook_loss(model, x, idx)
        + beta * commitment_loss(model, x, idx)
    )
