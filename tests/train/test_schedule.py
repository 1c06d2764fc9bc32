"""The learning rate is a function of the share of the budget that is spent."""

from dataclasses import replace

import pytest

from certvq.train import TrainConfig
from certvq.train._schedule import learning_rate, spent_share

CONFIG = TrainConfig(steps=200, seconds=10.0, learning_rate=2.0)


@pytest.mark.parametrize(
    ("step", "seconds", "share"), [(0, 0.0, 0.0), (50, 1.0, 0.25), (50, 4.0, 0.4), (300, 0.0, 1.5)]
)
def test_the_nearer_end_of_the_budget_counts(step: int, seconds: float, share: float) -> None:
    assert spent_share(CONFIG, step, seconds) == share


def test_a_budget_without_steps_runs_on_seconds_alone() -> None:
    assert spent_share(replace(CONFIG, steps=None), 10**9, 5.0) == 0.5


def test_the_rate_rises_to_its_peak_and_falls_to_one_hundredth() -> None:
    rates = [learning_rate(CONFIG, share / 1000) for share in range(1001)]
    assert rates.index(max(rates)) == 20
    assert max(rates) == 2.0
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0.02)


def test_beyond_the_budget_the_rate_stays_at_its_floor() -> None:
    assert learning_rate(CONFIG, 1.3) == learning_rate(CONFIG, 1.0)
