"""Theorems of part A: the algebra of weighted objectives.

Out: entries of the ledger. Must not import other modules of theorems.
"""

from certvq.theory._definitions import weighted_three_term, weighted_two_term
from certvq.theory._instances import instance
from certvq.theory._kernel import Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import real, variables

w, w1, w2, base, middle, regularizer = variables(REAL, "w w1 w2 base middle regularizer")

HREG0 = ("hreg0", regularizer.eq(0))
_two = instance(reals="w w1 w2 base regularizer")
_three = instance(reals="w w1 w2 base middle regularizer")


def mul_mono(p: Proof) -> Theorem:
    """State that a <= b and 0 <= c imply a c <= b c."""
    a, b, c = variables(REAL, "a b c")
    return p.smt(((a <= b) & (real(0) <= c)) >> (a * c <= b * c))


TWO_ZERO_REGULARIZER = Statement(
    name="weightedTwoTerm_zero_regularizer",
    part="A",
    meaning="Without a regularizer a two-term objective is its base term, whatever the weight.",
    latex=r"r = 0 \;\Rightarrow\; b + w r = b",
    hypotheses=(HREG0,),
    conclusion=weighted_two_term(w, base, regularizer).eq(base),
    relied_on_by=("certvq.spec.weighted_two_term",),
)
TWO_ZERO_WEIGHT = Statement(
    name="weightedTwoTerm_zero_weight",
    part="A",
    meaning="With weight 0 a two-term objective is its base term.",
    latex=r"b + 0 \cdot r = b",
    conclusion=weighted_two_term(real(0), base, regularizer).eq(base),
    relied_on_by=("certvq.spec.weighted_two_term",),
)
_HW, _HREG = ("hw", w1 <= w2), ("hreg", real(0) <= regularizer)
TWO_MONO = Statement(
    name="weightedTwoTerm_mono_weight",
    part="A",
    meaning="A two-term objective does not fall when the weight of a regularizer >= 0 rises.",
    latex=r"w_1 \le w_2,\; 0 \le r \;\Rightarrow\; b + w_1 r \le b + w_2 r",
    hypotheses=(_HW, _HREG),
    conclusion=weighted_two_term(w1, base, regularizer) <= weighted_two_term(w2, base, regularizer),
    relied_on_by=("certvq.spec.weighted_two_term",),
)
THREE_ZERO_REGULARIZER = Statement(
    name="weightedThreeTerm_zero_regularizer",
    part="A",
    meaning="Without a regularizer a three-term objective is base + middle.",
    latex=r"r = 0 \;\Rightarrow\; b + m + w r = b + m",
    hypotheses=(HREG0,),
    conclusion=weighted_three_term(w, base, middle, regularizer).eq(base + middle),
    relied_on_by=("certvq.spec.weighted_three_term",),
)
THREE_ZERO_MIDDLE = Statement(
    name="weightedThreeTerm_zero_middle_zero_regularizer",
    part="A",
    meaning="Without middle term and regularizer a three-term objective is its base term.",
    latex=r"m = 0,\; r = 0 \;\Rightarrow\; b + m + w r = b",
    hypotheses=(("hmid0", middle.eq(0)), HREG0),
    conclusion=weighted_three_term(w, base, middle, regularizer).eq(base),
    relied_on_by=("certvq.spec.weighted_three_term",),
)
THREE_ZERO_WEIGHT = Statement(
    name="weightedThreeTerm_zero_weight",
    part="A",
    meaning="With weight 0 a three-term objective is base + middle.",
    latex=r"b + m + 0 \cdot r = b + m",
    conclusion=weighted_three_term(real(0), base, middle, regularizer).eq(base + middle),
    relied_on_by=("certvq.spec.weighted_three_term",),
)
THREE_MONO = Statement(
    name="weightedThreeTerm_mono_weight",
    part="A",
    meaning="A three-term objective does not fall when the weight of a regularizer >= 0 rises.",
    latex=r"w_1 \le w_2,\; 0 \le r \;\Rightarrow\; b + m + w_1 r \le b + m + w_2 r",
    hypotheses=(_HW, _HREG),
    conclusion=weighted_three_term(w1, base, middle, regularizer)
    <= weighted_three_term(w2, base, middle, regularizer),
    relied_on_by=("certvq.spec.weighted_three_term",),
)


@proves(
    TWO_ZERO_REGULARIZER,
    Mutant(
        "without hreg0",
        TWO_ZERO_REGULARIZER.without("hreg0"),
        _two,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(TWO_ZERO_REGULARIZER.formula)


@proves(
    TWO_ZERO_WEIGHT,
    Mutant(
        "weight 1 instead of 0",
        TWO_ZERO_WEIGHT.concluding(weighted_two_term(real(1), base, regularizer).eq(base)),
        _two,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(TWO_ZERO_WEIGHT.formula)


@proves(
    TWO_MONO,
    Mutant("without hw", TWO_MONO.without("hw"), _two),
    Mutant("without hreg", TWO_MONO.without("hreg"), _two),
    Mutant(
        "< for <=",
        TWO_MONO.concluding(
            weighted_two_term(w1, base, regularizer) < weighted_two_term(w2, base, regularizer)
        ),
        _two,
    ),
)
def weighted_two_mono(p: Proof) -> Theorem:
    return p.smt(TWO_MONO.formula, p.use(mul_mono, a=w1, b=w2, c=regularizer))


@proves(
    THREE_ZERO_REGULARIZER,
    Mutant("without hreg0", THREE_ZERO_REGULARIZER.without("hreg0"), _three),
    Mutant(
        "the middle term is lost",
        THREE_ZERO_REGULARIZER.concluding(
            weighted_three_term(w, base, middle, regularizer).eq(base)
        ),
        _three,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(THREE_ZERO_REGULARIZER.formula)


@proves(
    THREE_ZERO_MIDDLE,
    Mutant("without hmid0", THREE_ZERO_MIDDLE.without("hmid0"), _three),
    Mutant("without hreg0", THREE_ZERO_MIDDLE.without("hreg0"), _three),
)
def _(p: Proof) -> Theorem:
    return p.smt(THREE_ZERO_MIDDLE.formula)


@proves(
    THREE_ZERO_WEIGHT,
    Mutant(
        "the middle term is weighted",
        THREE_ZERO_WEIGHT.concluding(
            weighted_three_term(real(0), base, middle, regularizer).eq(base)
        ),
        _three,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(THREE_ZERO_WEIGHT.formula)


@proves(
    THREE_MONO,
    Mutant("without hw", THREE_MONO.without("hw"), _three),
    Mutant("without hreg", THREE_MONO.without("hreg"), _three),
    Mutant(
        "the other way round",
        THREE_MONO.concluding(
            weighted_three_term(w2, base, middle, regularizer)
            <= weighted_three_term(w1, base, middle, regularizer)
        ),
        _three,
    ),
)
def _(p: Proof) -> Theorem:
    return p.smt(THREE_MONO.formula, p.use(mul_mono, a=w1, b=w2, c=regularizer))
