"""The seed's theorems about the model and its loss, each a law on exact rationals.

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
def test_quantized_is_codebook_lookup(draws, data):
    model, _, idx = data.draw(draws.situations())
    assert spec.quantized(model, idx) == model.codebook.embedding[idx]


def test_quantized_is_codebook_lookup_mutant(documented):
    """It is not the code vector of the next code."""
    assert spec.quantized(documented.model, 0) != documented.codebook.embedding[1]


@LAW
@given(data=st.data())
def test_forward_eq_decoder_codebook(draws, data):
    model, x, idx = data.draw(draws.situations())
    assert spec.forward(model, x, idx) == model.decoder.forward(model.codebook.embedding[idx])


def test_forward_eq_decoder_codebook_mutant(documented):
    """The decoder is not given the latent itself."""
    model, x = documented.model, documented.x
    assert spec.forward(model, x, 0) != model.decoder.forward(spec.encode(model, x))


@LAW
@given(data=st.data())
def test_vqvae_loss_decomposition(draws, data):
    model, x, idx = data.draw(draws.situations())
    beta = data.draw(draws.scalars)
    assert spec.loss(model, beta, x, idx) == (
        spec.reconstruction_loss(model, x, idx)
        + spec.codebook_loss(model, x, idx)
        + beta * spec.commitment_loss(model, x, idx)
    )


def test_vqvae_loss_decomposition_mutant(documented):
    """The commitment term does not enter without its weight."""
    model, x = documented.model, documented.x
    unweighted = (
        spec.reconstruction_loss(model, x, 0)
        + spec.codebook_loss(model, x, 0)
        + spec.commitment_loss(model, x, 0)
    )
    assert spec.loss(model, documented.beta, x, 0) != unweighted


@LAW
@given(data=st.data())
def test_vqvae_loss_eq_weightedThreeTerm(draws, data):
    model, x, idx = data.draw(draws.situations())
    beta = data.draw(draws.scalars)
    terms = spec.vqvae_objective_terms(model, x, idx)
    assert spec.loss(model, beta, x, idx) == spec.weighted_three_term(beta, terms)


def test_vqvae_loss_eq_weightedThreeTerm_mutant(documented):
    """The terms of another code give another objective."""
    terms = spec.vqvae_objective_terms(documented.model, documented.x, 1)
    objective = spec.weighted_three_term(documented.beta, terms)
    assert spec.loss(documented.model, documented.beta, documented.x, 0) != objective


@LAW
@given(data=st.data())
def test_vqvae_loss_zero_beta(draws, data):
    model, x, idx = data.draw(draws.situations())
    expected = spec.reconstruction_loss(model, x, idx) + spec.codebook_loss(model, x, idx)
    assert spec.loss(model, 0, x, idx) == expected


def test_vqvae_loss_zero_beta_mutant(documented):
    """The codebook term does not vanish with beta."""
    model, x = documented.model, documented.x
    assert spec.loss(model, 0, x, 0) != spec.reconstruction_loss(model, x, 0)


@LAW
@given(data=st.data())
def test_vqvae_loss_eq_reconstruction_of_zero_quantization(draws, data):
    model, x, idx = data.draw(draws.matched_situations())
    beta = data.draw(draws.scalars)
    assert spec.codebook_loss(model, x, idx) == 0
    assert spec.commitment_loss(model, x, idx) == 0
    assert spec.loss(model, beta, x, idx) == spec.reconstruction_loss(model, x, idx)


def test_vqvae_loss_eq_reconstruction_of_zero_quantization_mutant(documented):
    """Without the hypotheses it is false."""
    model, x = documented.model, documented.x
    assert spec.loss(model, documented.beta, x, 0) != spec.reconstruction_loss(model, x, 0)


@LAW
@given(data=st.data())
def test_vqvae_loss_mono_beta_of_commitment_nonneg(draws, data):
    model, x, idx = data.draw(draws.situations())
    low, high = data.draw(draws.rising_weights())
    assert low <= high
    assert spec.commitment_loss(model, x, idx) >= 0
    assert spec.loss(model, low, x, idx) <= spec.loss(model, high, x, idx)


def test_vqvae_loss_mono_beta_of_commitment_nonneg_mutant(documented):
    """Without low <= high it is false."""
    model, x = documented.model, documented.x
    assert not spec.loss(model, 2, x, 0) <= spec.loss(model, 1, x, 0)
