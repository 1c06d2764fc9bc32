"""How the learning rate runs over the budget.

In: steps and seconds spent. Out: the share of the budget that is spent, and the learning rate.
Must not import torch: the schedule is a function of its arguments alone, so that a resumed run
follows the same curve.
"""

import math

from certvq.train._config import TrainConfig

_WARM_UP, _FLOOR = 0.02, 0.01
"""Shares of the budget and of the peak; chosen by custom, not tuned."""


def spent_share(config: TrainConfig, step: int, seconds: float) -> float:
    """Give the share of the budget that is spent.

    Args:
        config: holds the budget.
        step: optimiser steps done.
        seconds: wall-clock time used, resumed parts counted in.

    Returns:
        The larger of the two shares, 1 or more when the run is over.

    Example:
        >>> spent_share(TrainConfig(steps=8, seconds=None), 2, 1e9)
        0.25
    """
    by_steps = step / config.steps if config.steps is not None else 0.0
    by_seconds = seconds / config.seconds if config.seconds is not None else 0.0
    return max(by_steps, by_seconds)


def learning_rate(config: TrainConfig, share: float) -> float:
    """Give the learning rate at a share of the budget.

    A line from 0 to the peak over the first 2 %, then half a cosine down to 1 % of the peak.

    Args:
        config: holds the peak.
        share: as `spent_share` gives it for the steps done before this one.

    Returns:
        Above 0 for a share from 0 on.

    Example:
        >>> learning_rate(TrainConfig(learning_rate=1.0), 0.02)
        1.0
    """
    warm = min(1.0, (share + 1e-3) / (_WARM_UP + 1e-3))
    fall = min(1.0, max(0.0, share - _WARM_UP) / (1.0 - _WARM_UP))
    return (
        config.learning_rate * warm * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * fall)) / 2)
    )
