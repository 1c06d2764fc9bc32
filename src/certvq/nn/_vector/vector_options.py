"""What the options of a vector quantizer may be, one by one and together.

In: options of the right kinds. Out: nothing, or a named error. Must not build anything.
"""

import math
from typing import Literal, TypeAlias, get_args

from certvq.errors import OptionError
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._codebook.learned_codebook import Update
from certvq.nn._regularizers.regularizer import Regularizer

MetricName: TypeAlias = Literal["euclidean", "cosine"]
"""How latents and code vectors are compared."""

METRICS = get_args(MetricName)


def require_options(codebook_size: int, commitment_weight: float, metric: str) -> None:
    """Refuse options out of their ranges.

    Raises:
        OptionError: one is; the text names it.
    """
    if codebook_size < 1:
        text = f"codebook_size must be at least 1, got {codebook_size}"
        raise OptionError(text)
    if not 0.0 <= commitment_weight < math.inf:
        text = f"commitment_weight must be finite and at least 0, got {commitment_weight}"
        raise OptionError(text)
    if metric not in METRICS:
        text = f"metric must be 'euclidean' or 'cosine', got {metric!r}"
        raise OptionError(text)


def require_agreement(metric: str, update: Update, regularizers: tuple[Regularizer, ...]) -> None:
    """Refuse options that contradict one another.

    Raises:
        OptionError: two do; the text names them.
    """
    if metric == "cosine" and update.affine is not None:
        text = (
            f"affine={update.affine} moves code vectors off the unit sphere that metric='cosine' "
            "keeps them on; use metric='euclidean'"
        )
        raise OptionError(text)
    for regularizer in regularizers:
        if regularizer.needs_gradient and not isinstance(update, Gradient):
            text = (
                f"{type(regularizer).__name__} acts on code vectors by their gradient, but "
                f"update={update} moves them without one; use update=Gradient()"
            )
            raise OptionError(text)
