"""A proof with both solvers that leaves open queries in the test's own folder."""

import pytest

from certvq.theory._proof import Proof
from certvq.theory._trial import Trial


@pytest.fixture
def new_proof(tmp_path):
    """Make a proof with given solvers and limit."""

    def make(solvers=("z3", "cvc5"), seconds=5.0):
        return Proof(Trial(solvers, seconds=seconds, folder=tmp_path / "open"))

    return make


@pytest.fixture
def proof(new_proof):
    return new_proof()
