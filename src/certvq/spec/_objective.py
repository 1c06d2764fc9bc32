"""The algebra of weighted objectives, and the VQ-VAE loss as an instance of it.

In: scalar terms and a weight, or a model, an observation and a code. Out: the weighted sum, or
the three terms. Must not import anything but the standard library and the private modules of the
specification.
"""

from dataclasses import dataclass

from certvq.spec._model import Model, codebook_loss, commitment_loss, reconstruction_loss
from certvq.spec._tensor import Scalar, Tensor


@dataclass(frozen=True)
class WeightedTwoTerm:
    """The terms of an objective base + weight * regularizer.

    Attributes:
        base: the term that fits the data.
        regularizer: the term that the weight multiplies.

    Example:
        >>> from certvq.spec import WeightedTwoTerm
        >>> WeightedTwoTerm(base=3, regularizer=2)
        WeightedTwoTerm(base=3, regularizer=2)
    """

    base: Scalar
    regularizer: Scalar


@dataclass(frozen=True)
class WeightedThreeTerm:
    """The terms of an objective base + middle + weight * regularizer.

    Attributes:
        base: the term that fits the data.
        middle: a further term without a weight.
        regularizer: the term that the weight multiplies.

    Example:
        >>> from certvq.spec import WeightedThreeTerm
        >>> WeightedThreeTerm(base=3, middle=1, regularizer=2)
        WeightedThreeTerm(base=3, middle=1, regularizer=2)
    """

    base: Scalar
    middle: Scalar
    regularizer: Scalar


def weighted_two_term(weight: Scalar, terms: WeightedTwoTerm) -> Scalar:
    """Evaluate a two-term objective.

    weighted_two_term(w, t) = t.base + w * t.regularizer.

    Args:
        weight: any scalar.
        terms: the terms.

    Returns:
        The objective.

    Guarantee: with a regularizer that is not negative it does not fall when the weight rises
    (weightedTwoTerm_mono_weight).

    Example:
        >>> from certvq.spec import WeightedTwoTerm, weighted_two_term
        >>> weighted_two_term(0.5, WeightedTwoTerm(base=3.0, regularizer=2.0))
        4.0
    """
    return terms.base + weight * terms.regularizer


def weighted_three_term(weight: Scalar, terms: WeightedThreeTerm) -> Scalar:
    """Evaluate a three-term objective.

    weighted_three_term(w, t) = t.base + t.middle + w * t.regularizer.

    Args:
        weight: any scalar.
        terms: the terms.

    Returns:
        The objective.

    Guarantee: with a regularizer that is not negative it does not fall when the weight rises
    (weightedThreeTerm_mono_weight).

    Example:
        >>> from certvq.spec import WeightedThreeTerm, weighted_three_term
        >>> weighted_three_term(0.5, WeightedThreeTerm(base=3.0, middle=1.0, regularizer=2.0))
        5.0
    """
    return terms.base + terms.middle + weight * terms.regularizer


def vqvae_objective_terms(model: Model, x: Tensor, idx: int) -> WeightedThreeTerm:
    """Return the terms of the VQ-VAE loss as a three-term objective.

    base = reconstruction_loss, middle = codebook_loss, regularizer = commitment_loss.

    Args:
        model: the model.
        x: an observation.
        idx: an integer in range(K).

    Returns:
        The terms; `weighted_three_term(beta, ...)` of them is `loss(model, beta, x, idx)`
        (vqvae_loss_eq_weightedThreeTerm).

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: shapes do not fit together, or there is no entry to take a mean of.

    Example:
        >>> from certvq.spec import Codebook, Decoder, Encoder, Model, vqvae_objective_terms
        >>> book = Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5)))
        >>> model = Model(Encoder(lambda x: x), book, Decoder(lambda q: q))
        >>> vqvae_objective_terms(model, (1.0, -0.5), 0)
        WeightedThreeTerm(base=0.625, middle=0.625, regularizer=0.625)
    """
    return WeightedThreeTerm(
        base=reconstruction_loss(model, x, idx),
        middle=codebook_loss(model, x, idx),
        regularizer=commitment_loss(model, x, idx),
    )
