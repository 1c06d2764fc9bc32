"""The codebook as a moving average of the tokens that chose each code.

In: nothing. Out: the option. Must not hold state; that is `statistics`.
"""

import math
from dataclasses import dataclass

from certvq.errors import OptionError
from certvq.nn._codebook.affine import Affine
from certvq.nn._core.options import checked


@checked
@dataclass(frozen=True)
class EMA:
    """Move each code vector to the exponential moving average of its tokens.

    Mathematics, for code i and batch t with n_i tokens of sum s_i:
    ``N_i <- decay N_i + (1 - decay) n_i``, ``m_i <- decay m_i + (1 - decay) s_i``, both divided by
    ``1 - decay^t`` while the average is young, and ``c_i = m_i / L(N_i)`` with the Laplace
    smoothing ``L(N_i) = (N_i + eps) / (N + K eps) N``, ``N = sum_i N_i``. A code without tokens in
    the batch keeps its code vector, to the bit.

    Attributes:
        decay: weight of the past, in [0, 1), or 1 without `debias`: then nothing moves.
        eps: smoothing of the counts, in tokens, > 0.
        debias: whether the averages are divided by ``1 - decay^t``. Without it they begin as the
            start gives them (counts of k-means, or one token for each code), and forget it slowly.
        every: how many training batches are added up and averaged as one, >= 1: with gradients that
            accumulate, the number of batches for each step of the optimiser. Codes are revived as
            often. See `accumulate` for numbers that vary.
        affine: an `Affine` map of the code vectors that follows the latents, or None.

    Raises:
        OptionError: `decay`, `eps` or `every` out of range.

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        appendix A.1; the smoothing and the correction of the start are those of Sonnet.
    """

    decay: float = 0.8
    eps: float = 1e-5
    debias: bool = True
    every: int = 1
    affine: Affine | None = None

    def __post_init__(self) -> None:
        if not (0.0 <= self.decay < 1.0 or (self.decay == 1.0 and not self.debias)):
            text = f"EMA decay must lie in [0, 1), or be 1 with debias=False, got {self.decay}"
            raise OptionError(text)
        if not 0.0 < self.eps < math.inf:
            text = f"EMA eps must be positive and finite, got {self.eps}"
            raise OptionError(text)
        if self.every < 1:
            text = f"EMA every must be at least 1, got {self.every}"
            raise OptionError(text)
