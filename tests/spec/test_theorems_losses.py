"""What the seed leaves open about the losses, each theorem a law on exact rationals.

Beside each law stands a concrete example on which a wrong version of the statement fails.
"""
# ruff: noqa: N802 - a test bears the name of its theorem, letter for letter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq import spec

LAW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@LAW
@given(data=st.data())
def test_commitmentLoss_nonneg(draws, data):
    model, x, idx = data.draw(draws.situations())
    assert spec.commitment_loss(model, x, idx) >= 0


def test_commitmentLoss_nonneg_mutant(documented):
    """It is not always positive: an exact match makes it 0."""
    assert not spec.commitment_loss(documented.model, (1, 1), 1) > 0


@LAW
@given(data=st.data())
def test_codebookLoss_nonneg(draws, data):
    model, x, idx = data.draw(draws.situations())
    assert spec.codebook_loss(model, x, idx) >= 0


def test_codebookLoss_nonneg_mutant(documented):
    """It is not always positive: an exact match makes it 0."""
    assert not spec.codebook_loss(documented.model, (1, 1), 1) > 0


@LAW
@given(data=st.data())
def test_reconstructionLoss_nonneg(draws, data):
    model, x, idx = data.draw(draws.situations())
    assert spec.reconstruction_loss(model, x, idx) >= 0


def test_reconstructionLoss_nonneg_mutant(documented):
    """It is not always positive: a perfect reconstruction makes it 0."""
    assert not spec.reconstruction_loss(documented.model, (1, 1), 1) > 0


@LAW
@given(data=st.data())
def test_codebookLoss_eq_commitmentLoss(draws, data):
    model, x, idx = data.draw(draws.situations())
    assert spec.codebook_loss(model, x, idx) == spec.commitment_loss(model, x, idx)


def test_codebookLoss_eq_commitmentLoss_mutant(documented):
    """For unlike codes the two terms are unlike."""
    model, x = documented.model, documented.x
    assert spec.codebook_loss(model, x, 0) != spec.commitment_loss(model, x, 1)


@LAW
@given(data=st.data())
def test_vqvae_loss_mono_beta(draws, data):
    model, x, idx = data.draw(draws.situations())
    low, high = data.draw(draws.rising_weights())
    assert spec.loss(model, low, x, idx) <= spec.loss(model, high, x, idx)


def test_vqvae_loss_mono_beta_mutant(documented):
    """Without low <= high it is false; and it is not strict, as an exact match shows."""
    model, x = documented.model, documented.x
    assert not spec.loss(model, 1, x, 2) <= spec.loss(model, -1, x, 2)
    assert not spec.loss(model, 1, (1, 1), 1) < spec.loss(model, 2, (1, 1), 1)


@LAW
@given(data=st.data())
def test_exactCodeMatch_loss_eq_reconstruction(draws, data):
    model, x, idx = data.draw(draws.matched_situations())
    beta = data.draw(draws.scalars)
    assert spec.encode(model, x) == model.codebook.embedding[idx]
    assert spec.loss(model, beta, x, idx) == spec.reconstruction_loss(model, x, idx)


def test_exactCodeMatch_loss_eq_reconstruction_mutant(documented):
    """Being the nearest code is not enough."""
    model, x = documented.model, documented.x
    assert spec.is_nearest_code(documented.codebook, spec.encode(model, x), 0)
    assert spec.loss(model, documented.beta, x, 0) != spec.reconstruction_loss(model, x, 0)
