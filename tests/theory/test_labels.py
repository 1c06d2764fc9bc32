"""One source of truth: every theorem stands in Lean under its name, with the same hypotheses."""

import re

import pytest

from certvq.theory import LEDGER
from certvq.theory._lean import lean_theorems

IN_LEAN = lean_theorems()


def hypotheses_in_lean(statement):
    """Return the names of the binders that are propositions: they begin with an h."""
    groups = re.findall(r"\(((?:h\w*\s+)*h\w*)\s*:(?!=)", statement)
    return [name for group in groups for name in group.split()]


@pytest.mark.rows("name", LEDGER)
def test_hypotheses_are_the_same_in_lean(name):
    assert name in IN_LEAN
    labels = [label for label, _ in LEDGER[name].statement.hypotheses]
    assert labels == hypotheses_in_lean(IN_LEAN[name].statement)


def test_binders_are_read():
    text = "theorem t (n : Nat) (hi hj : i < K) (hnear : ∀ j, (hx : P) → Q) : n = (h : Nat)"
    assert hypotheses_in_lean(text)[:3] == ["hi", "hj", "hnear"]
