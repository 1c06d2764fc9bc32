"""Theorems of part B on the loss: nothing in it is negative, and it rises with beta.

Out: entries of the ledger. Imports the terms of the loss, and lemmas on distances.
"""

from certvq.theory._definitions import same_entries, squared_l2
from certvq.theory._distance import match_zero, quotient_nonneg, squared_l2_nonneg, x, y
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._model import (
    HBETA,
    b1,
    b2,
    beta,
    codebook_loss,
    commitment_loss,
    latent,
    loss,
    m,
    model_instance,
    mono_of_nonneg,
    n,
    reconstruction,
    selected,
)
from certvq.theory._proof import Proof
from certvq.theory._terms import Vector, nat, real, to_real


def _nonneg(name: str, what: str, latex: str, dim: Term, term: Term) -> Statement:
    return Statement(
        name=name,
        part="B",
        meaning=f"The {what} is never negative.",
        latex=rf"0 < n \;\Rightarrow\; 0 \le {latex}",
        hypotheses=(("hn", nat(0) < dim),),
        conclusion=real(0) <= term,
        relied_on_by=(f"certvq.spec.{what.replace(' term', ' loss').replace(' ', '_')}",),
    )


COMMITMENT = _nonneg(
    "commitmentLoss_nonneg", "commitment term", r"L_\mathrm{commit}", n, commitment_loss
)
CODEBOOK = _nonneg("codebookLoss_nonneg", "codebook term", r"L_\mathrm{code}", n, codebook_loss)
RECONSTRUCTION = _nonneg(
    "reconstructionLoss_nonneg", "reconstruction loss", r"L_\mathrm{rec}", m, reconstruction
)
EQUAL = Statement(
    name="codebookLoss_eq_commitmentLoss",
    part="B",
    meaning="Codebook and commitment term have one value; they differ in what is held fixed.",
    latex=r"L_\mathrm{code} = L_\mathrm{commit}",
    conclusion=codebook_loss.eq(commitment_loss),
    relied_on_by=("certvq.spec.codebook_loss", "certvq.nn.VectorQuantize"),
)
MONO = Statement(
    name="vqvae_loss_mono_beta",
    part="B",
    meaning="The loss does not fall when beta rises; nothing is assumed of the commitment term.",
    latex=r"\beta_1 \le \beta_2,\; 0 < n \;\Rightarrow\; L_{\beta_1} \le L_{\beta_2}",
    hypotheses=(HBETA, ("hn", nat(0) < n)),
    conclusion=loss(b1) <= loss(b2),
    relied_on_by=("certvq.spec.loss",),
)
MATCH = Statement(
    name="exactCodeMatch_loss_eq_reconstruction",
    part="B",
    meaning="Where the latent is the code vector, the loss is the reconstruction loss.",
    latex=r"z = C_i \;\Rightarrow\; L_\beta = L_\mathrm{rec}",
    hypotheses=(("hmatch", same_entries(n, latent, selected)),),
    conclusion=loss(beta).eq(reconstruction),
    relied_on_by=("certvq.spec.loss",),
)


def mse_nonneg(p: Proof, dim: Term, left: Vector, right: Vector) -> list[Theorem]:
    """Return the facts from which 0 <= mse follows."""
    square = squared_l2(dim, left, right)
    return [
        p.use(squared_l2_nonneg, n=dim, x=left, y=right),
        p.use(quotient_nonneg, a=square, b=to_real(dim)),
    ]


def symmetric(p: Proof) -> Theorem:
    """d(x, y) = d(y, x)."""
    return p.induct(squared_l2(n, x, y).eq(squared_l2(n, y, x)), n)


def _strictly(statement: Statement, term: Term) -> tuple[Mutant, Mutant]:
    return (
        Mutant("< for <=", statement.concluding(real(0) < term), model_instance),
        Mutant("never positive", statement.concluding(term <= 0), model_instance),
    )


@proves(COMMITMENT, *_strictly(COMMITMENT, commitment_loss))
def commitment_nonneg(p: Proof) -> Theorem:
    return p.smt(COMMITMENT.formula, *mse_nonneg(p, n, latent, selected))


@proves(CODEBOOK, *_strictly(CODEBOOK, codebook_loss))
def _(p: Proof) -> Theorem:
    return p.smt(CODEBOOK.formula, *mse_nonneg(p, n, selected, latent))


@proves(RECONSTRUCTION, *_strictly(RECONSTRUCTION, reconstruction))
def _(p: Proof) -> Theorem:
    left, right = reconstruction.tag[1][1:]
    return p.smt(RECONSTRUCTION.formula, *mse_nonneg(p, m, left, right))


@proves(
    EQUAL,
    Mutant("minus", EQUAL.concluding(codebook_loss.eq(-commitment_loss)), model_instance),
    Mutant("wrong factor", EQUAL.concluding(codebook_loss.eq(2 * commitment_loss)), model_instance),
)
def _(p: Proof) -> Theorem:
    return p.smt(EQUAL.formula, p.use(symmetric, x=selected, y=latent))


@proves(
    MONO,
    Mutant("without hbeta", MONO.without("hbeta"), model_instance),
    Mutant("< for <=", MONO.concluding(loss(b1) < loss(b2)), model_instance),
    Mutant("beta swapped", MONO.concluding(loss(b2) <= loss(b1)), model_instance),
)
def _(p: Proof) -> Theorem:
    return p.smt(MONO.formula, p.get(mono_of_nonneg), p.get(commitment_nonneg))


@proves(
    MATCH,
    Mutant("without hmatch", MATCH.without("hmatch"), model_instance),
    Mutant(
        "a match of the first entry alone",
        MATCH.with_hypothesis("hmatch", same_entries(nat(1), latent, selected)),
        instance(reals="beta", model=True, n=2, m=1, K=2, i=0, j=1),
    ),
    Mutant("the loss is 0", MATCH.concluding(loss(beta).eq(0)), model_instance),
)
def _(p: Proof) -> Theorem:
    facts = [
        p.use(match_zero, z=latent, C=lambda _, k: selected(k)),
        p.use(symmetric, x=selected, y=latent),
    ]
    return p.smt(MATCH.formula, *facts)
