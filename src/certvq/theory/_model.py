"""Theorems of part A: the seed's model, its reconstruction and its loss.

Out: entries of the ledger, and the terms of the loss. Must import no modules of theorems but the
algebra of objectives.
"""

from certvq.theory._definitions import (
    OBSERVATION,
    codebook,
    decoder,
    encoder,
    forward,
    latent_at,
    mse,
    observation_at,
    quantized,
    weighted_three_term,
)
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import real, variables

beta, b1, b2 = variables(REAL, "beta b1 b2")
n, m, i, j, _k = variables(NAT, "n m i j k")
(x,) = variables(OBSERVATION, "x")
HBETA = ("hbeta", b1 <= b2)


def latent(k: Term) -> Term:
    """z_e(x)_k."""
    return latent_at(encoder(x), k)


def selected(k: Term) -> Term:
    """The k-th entry of the selected code vector."""
    return latent_at(quantized(codebook, i), k)


reconstruction = mse(
    m,
    lambda k: observation_at(forward(decoder, codebook, i), k),
    lambda k: observation_at(x, k),
)
codebook_loss = mse(n, selected, latent)
commitment_loss = mse(n, latent, selected)


def loss(weight: Term) -> Term:
    """Reconstruction + codebook + weight * commitment."""
    return reconstruction + codebook_loss + weight * commitment_loss


model_instance = instance(reals="beta b1 b2", model=True, n=1, m=1, K=2, i=0, j=1)

LOOKUP = Statement(
    name="quantized_is_codebook_lookup",
    part="A",
    meaning="Quantization with an explicit code is the lookup of that code vector.",
    latex=r"\mathrm{quantized}(M, i) = C_i",
    conclusion=quantized(codebook, i).eq(codebook(i)),
    seed_name="quantized_is_codebook_lookup",
    relied_on_by=("certvq.spec.quantized", "certvq.nn.VectorQuantize.decode"),
)
FORWARD = Statement(
    name="forward_eq_decoder_codebook",
    part="A",
    meaning="The reconstruction decodes the selected code vector.",
    latex=r"\mathrm{forward}(M, x, i) = \mathrm{dec}(C_i)",
    conclusion=forward(decoder, codebook, i).eq(decoder(codebook(i))),
    seed_name="forward_eq_decoder_codebook",
    relied_on_by=("certvq.spec.forward", "certvq.models.VQVAE.decode"),
)
DECOMPOSITION = Statement(
    name="vqvae_loss_decomposition",
    part="A",
    meaning="The loss is reconstruction + codebook + beta * commitment term.",
    latex=r"L_\beta = L_\mathrm{rec} + L_\mathrm{code} + \beta\,L_\mathrm{commit}",
    conclusion=loss(beta).eq(
        mse(m, lambda k: observation_at(decoder(codebook(i)), k), lambda k: observation_at(x, k))
        + mse(n, lambda k: latent_at(codebook(i), k), latent)
        + beta * mse(n, latent, lambda k: latent_at(codebook(i), k))
    ),
    seed_name="vqvae_loss_decomposition",
    relied_on_by=("certvq.spec.loss",),
)
AS_THREE_TERM = Statement(
    name="vqvae_loss_eq_weightedThreeTerm",
    part="A",
    meaning="The loss is a three-term objective: base reconstruction, middle codebook term, "
    "regularizer commitment term.",
    latex=r"L_\beta = \mathrm{weightedThreeTerm}"
    r"(\beta; L_\mathrm{rec}, L_\mathrm{code}, L_\mathrm{commit})",
    conclusion=loss(beta).eq(
        weighted_three_term(beta, reconstruction, codebook_loss, commitment_loss)
    ),
    seed_name="vqvae_loss_eq_weightedThreeTerm",
    relied_on_by=("certvq.spec.vqvae_objective_terms",),
)
ZERO_BETA = Statement(
    name="vqvae_loss_zero_beta",
    part="A",
    meaning="With commitment weight 0 the loss is reconstruction + codebook term.",
    latex=r"L_0 = L_\mathrm{rec} + L_\mathrm{code}",
    conclusion=loss(real(0)).eq(reconstruction + codebook_loss),
    seed_name="vqvae_loss_zero_beta",
    relied_on_by=("certvq.spec.loss",),
)
ZERO_QUANTIZATION = Statement(
    name="vqvae_loss_eq_reconstruction_of_zero_quantization",
    part="A",
    meaning="Where both quantization penalties vanish, the loss is the reconstruction loss.",
    latex=r"L_\mathrm{code} = 0,\; L_\mathrm{commit} = 0 \;\Rightarrow\; L_\beta = L_\mathrm{rec}",
    hypotheses=(("hcode", codebook_loss.eq(0)), ("hcommit0", commitment_loss.eq(0))),
    conclusion=loss(beta).eq(reconstruction),
    seed_name="vqvae_loss_eq_reconstruction_of_zero_quantization",
    relied_on_by=("certvq.spec.loss",),
)
MONO_OF_NONNEG = Statement(
    name="vqvae_loss_mono_beta_of_commitment_nonneg",
    part="A",
    meaning="Given a commitment term >= 0, the loss does not fall when beta rises.",
    latex=r"\beta_1 \le \beta_2,\; 0 \le L_\mathrm{commit}"
    r" \;\Rightarrow\; L_{\beta_1} \le L_{\beta_2}",
    hypotheses=(HBETA, ("hcommit", real(0) <= commitment_loss)),
    conclusion=loss(b1) <= loss(b2),
    seed_name="vqvae_loss_mono_beta_of_commitment_nonneg",
    relied_on_by=("certvq.spec.loss",),
)


@proves(
    LOOKUP,
    Mutant(
        "another index",
        LOOKUP.concluding(latent_at(quantized(codebook, i), _k).eq(latent_at(codebook(j), _k))),
        instance(model=True, n=1, K=2, i=0, j=1, k=0),
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(LOOKUP.formula)


@proves(
    FORWARD,
    Mutant(
        "another index",
        FORWARD.concluding(
            observation_at(forward(decoder, codebook, i), _k).eq(
                observation_at(decoder(codebook(j)), _k)
            )
        ),
        instance(model=True, n=1, K=2, i=0, j=1, k=0),
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(FORWARD.formula)


@proves(
    DECOMPOSITION,
    Mutant(
        "beta weighs the codebook term too",
        DECOMPOSITION.concluding(
            loss(beta).eq(reconstruction + beta * codebook_loss + beta * commitment_loss)
        ),
        model_instance,
    ),
    Mutant(
        "the codebook term is lost",
        DECOMPOSITION.concluding(loss(beta).eq(reconstruction + beta * commitment_loss)),
        model_instance,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(DECOMPOSITION.formula)


@proves(
    AS_THREE_TERM,
    Mutant(
        "base and regularizer swapped",
        AS_THREE_TERM.concluding(
            loss(beta).eq(weighted_three_term(beta, commitment_loss, codebook_loss, reconstruction))
        ),
        model_instance,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(AS_THREE_TERM.formula)


@proves(
    ZERO_BETA,
    Mutant(
        "beta 1",
        ZERO_BETA.concluding(loss(real(1)).eq(reconstruction + codebook_loss)),
        model_instance,
    ),
    Mutant(
        "the codebook term is lost",
        ZERO_BETA.concluding(loss(real(0)).eq(reconstruction)),
        model_instance,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(ZERO_BETA.formula)


@proves(
    ZERO_QUANTIZATION,
    Mutant(
        "without both hypotheses",
        ZERO_QUANTIZATION.without("hcode").without("hcommit0"),
        model_instance,
    ),
    Mutant("the loss is 0", ZERO_QUANTIZATION.concluding(loss(beta).eq(0)), model_instance),
)
def _(p: Proof) -> Theorem:
    return p.smt(ZERO_QUANTIZATION.formula)


@proves(
    MONO_OF_NONNEG,
    Mutant("without hbeta", MONO_OF_NONNEG.without("hbeta"), model_instance),
    Mutant("< for <=", MONO_OF_NONNEG.concluding(loss(b1) < loss(b2)), model_instance),
)
def mono_of_nonneg(p: Proof) -> Theorem:
    return p.smt(MONO_OF_NONNEG.formula, p.use(mul_mono, a=b1, b=b2, c=commitment_loss))
