"""The ledger is whole: every theorem of the list, every definition with theorem and example."""

import inspect
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certvq import bounds, spec
from certvq.errors import ProofError
from certvq.theory import AXIOMS, DEFINITIONS, LEDGER, Statement, _ledger, require_defended
from certvq.theory._definitions import LATENT, OBSERVATION, mse, score, squared_l2
from certvq.theory._evaluate import evaluate
from certvq.theory._ledger import Entry, proves, undefended
from certvq.theory._operators import BOOL, INT, NAT, REAL
from certvq.theory._terms import Function, real, variables

PARTS = {
    "A": """quantized_is_codebook_lookup forward_eq_decoder_codebook vqvae_loss_decomposition
        vqvae_loss_eq_weightedThreeTerm vqvae_loss_zero_beta
        vqvae_loss_eq_reconstruction_of_zero_quantization
        vqvae_loss_mono_beta_of_commitment_nonneg squaredL2_nonneg squaredL2_self
        exactCodeMatch_isNearestCode exactCodeMatch_selected_distance_zero
        nearestCode_minimizes_quantization_loss weightedTwoTerm_zero_regularizer
        weightedTwoTerm_zero_weight weightedTwoTerm_mono_weight weightedThreeTerm_zero_regularizer
        weightedThreeTerm_zero_middle_zero_regularizer weightedThreeTerm_zero_weight
        weightedThreeTerm_mono_weight""",
    "B": """commitmentLoss_nonneg codebookLoss_nonneg reconstructionLoss_nonneg
        codebookLoss_eq_commitmentLoss vqvae_loss_mono_beta isNearestCode_iff_mse
        isNearestCode_iff_score exists_isNearestCode lowest_isNearestCode_unique
        argmin_isNearestCode straightThrough_gradients exactCodeMatch_loss_eq_reconstruction""",
    "C": """nearest_of_score_gap nearest_mem_candidates refine_sound abs_dot_sub_split_le
        dot_rounding_error_le int8_dot_exact int16_dot_exact quantized_score_gap_le
        certified_assign""",
    "D": """isNearestCode_of_perturbation isNearestCode_of_small_perturbation
        product_isNearestCode grid_round_isNearestCode sign_isNearestCode cosine_isNearestCode
        residual_telescopes mean_minimises_distortion ema_step_distortion_le""",
    "E": """error_comp_le sum_error_le product_error_le entrywise_error_le taps_error_le
        operator_norm_le maximum_error_le
        residual_level_error_le canonical_of_bound_lt_radius normalise_error_le
        normalise_place_error_le softmax_error_le relu_lipschitz leakyRelu_lipschitz elu_lipschitz
        silu_lipschitz gelu_lipschitz tanh_lipschitz sigmoid_lipschitz snake_lipschitz
        silu_slope_le gate_slopes_le softmax_slope_le""",
    "F": """exact_sum_merge rounded_mean_unique lloyd_iteration_distortion_le skip_sound
        single_bound_skip_sound""",
}


@pytest.mark.parametrize("part", PARTS)
def test_the_ledger_holds_the_theorems_of_each_part_and_no_others(part):
    held = {name for name, entry in LEDGER.items() if entry.statement.part == part}
    assert held == set(PARTS[part].split())


def test_every_theorem_has_a_meaning_a_formula_a_place_and_mutants():
    for name, entry in LEDGER.items():
        text = entry.statement
        assert text.name == name
        assert text.meaning.endswith("."), name
        assert text.latex, name
        assert text.places, name
        assert entry.mutants, name
        assert len(set(text.labels)) == len(text.labels), name


def test_seed_names_are_those_of_the_seed():
    for name in PARTS["A"].split():
        assert LEDGER[name].statement.seed_name in (name, None)
        assert (LEDGER[name].statement.seed_name is None) == name.startswith("weighted")
    assert all(LEDGER[n].statement.seed_name is None for n in PARTS["B"].split())


def test_every_bound_names_theorems_of_the_ledger():
    assert bounds.THEOREMS
    for function, theorems in bounds.THEOREMS.items():
        assert theorems, function
        for theorem in theorems:
            assert theorem in LEDGER, f"certvq.bounds.{function} names {theorem}"


def test_the_bounds_that_name_a_theorem_are_places_that_rely_on_it():
    of_bounds = {(name, f) for f, names in bounds.THEOREMS.items() for name in names}
    of_theorems = {
        (name, place.removeprefix("certvq.bounds."))
        for name, entry in LEDGER.items()
        for place in entry.statement.places
        if place.startswith("certvq.bounds.")
    }
    assert of_theorems == of_bounds
    static = [place for entry in LEDGER.values() for place in entry.statement.relied_on_by]
    assert not [place for place in static if place.startswith("certvq.bounds.")]


def test_axioms_have_a_source():
    assert {axiom.source.split(",")[0] for axiom in AXIOMS.values()} == {
        "IEEE 754-2019",
        "Intel 64 and IA-32 Architectures Software Developer's Manual",
        "NVIDIA PTX ISA",
        "NIST Digital Library of Mathematical Functions",
    }
    assert all(axiom.formula.sort == BOOL for axiom in AXIOMS.values())


def test_a_definition_without_a_theorem_is_an_error(monkeypatch):
    assert undefended(LEDGER, DEFINITIONS) == []
    require_defended()
    without = {name: e for name, e in LEDGER.items() if name != "argmin_isNearestCode"}
    assert undefended(without, DEFINITIONS) == ["argmin"]
    monkeypatch.setattr(_ledger, "LEDGER", without)
    with pytest.raises(ProofError, match=r"definitions without: \['argmin'\]"):
        require_defended()


def test_a_theorem_without_mutants_is_an_error(monkeypatch):
    tame = Entry(LEDGER["squaredL2_self"].statement, LEDGER["squaredL2_self"].prove, ())
    monkeypatch.setattr(_ledger, "LEDGER", {**LEDGER, "squaredL2_self": tame})
    with pytest.raises(ProofError, match=r"theorems without: \['squaredL2_self'\]"):
        require_defended()


@pytest.mark.solver
def test_a_proof_of_another_formula_is_refused(monkeypatch, proof):
    (a,) = variables(REAL, "a")
    monkeypatch.setattr(_ledger, "LEDGER", {})
    wrong = Statement("wrong", "A", "One is at most a square.", "", real(1) <= a * a)
    prove = proves(wrong)(lambda p: p.smt(real(0) <= a * a))
    with pytest.raises(TypeError, match="the proof of wrong proves another formula"):
        prove(proof)
    with pytest.raises(TypeError, match="proved twice"):
        proves(wrong)(lambda p: p.smt(real(1) <= a * a))


# ---- examples ---------------------------------------------------------------------------------

NATS = {"n", "size", "i", "j"}


def symbol(definition, name, value):
    """The term or function that stands for an argument of an example, and its value."""
    opaque = definition in ("quantized", "forward")
    if name == "decode":
        return Function(name, (LATENT,), OBSERVATION), value
    if name == "bound":
        return value, value
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        if opaque:
            return Function(name, (NAT,), LATENT), value.__getitem__
        return Function(name, (NAT, NAT), REAL), lambda j, k: value[j][k]
    if isinstance(value, tuple):
        whole = definition in ("entries_within", "chosen_dot")
        sort = BOOL if isinstance(value[0], bool) else INT if whole else REAL
        return Function(name, (NAT,), sort), value.__getitem__
    return variables(NAT if name in NATS else REAL, name)[0], value


@pytest.mark.rows("name", DEFINITIONS)
@pytest.mark.parametrize("by_spec", [True, False], ids=["spec", "term"])
def test_every_definition_has_its_example(name, by_spec):
    """As `certvq.spec` computes it, and as the term that the solvers see says."""
    definition = DEFINITIONS[name]
    arguments, wanted = definition.example
    names = list(inspect.signature(definition.build).parameters)
    pairs = [symbol(name, p, v) for p, v in zip(names, arguments, strict=True)]
    values = {p: value for p, (_, value) in zip(names, pairs, strict=True)}
    term = definition(*(term for term, _ in pairs))
    assert evaluate(term, {**values, "symbolic": not by_spec}) == wanted


numbers = st.fractions(-9, 9, max_denominator=7)


@st.composite
def books(draw):
    dim, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    vectors = st.tuples(*[numbers] * dim)
    return draw(st.tuples(*[vectors] * size)), draw(vectors)


@given(books())
def test_terms_and_specification_agree_on_exact_numbers(drawn):
    """The very terms that are proved about compute what `certvq.spec` computes."""
    book, latent = drawn
    n, size, i = variables(NAT, "n size i")
    rows, z = Function("C", (NAT, NAT), REAL), Function("z", (NAT,), REAL)
    values = {
        "n": len(latent),
        "size": len(book),
        "C": lambda j, k: book[j][k],
        "z": latent.__getitem__,
        "symbolic": True,
    }
    codebook = spec.Codebook(book)
    held = DEFINITIONS["argmin"](size, lambda j: squared_l2(n, z, lambda k: rows(j, k)))
    assert evaluate(held, values) == spec.nearest_code(codebook, latent)
    for code in range(len(book)):
        at = {**values, "i": code}
        assert evaluate(score(n, rows, z, i), at) == spec.score(codebook, latent, code)
        assert evaluate(mse(n, z, lambda k: rows(i, k)), at) == spec.mse(latent, book[code])
        for definition, wanted in (
            ("is_nearest_code", spec.is_nearest_code(codebook, latent, code)),
            ("is_lowest_nearest_code", spec.nearest_code(codebook, latent) == code),
        ):
            assert evaluate(DEFINITIONS[definition](n, size, rows, z, i), at) is wanted


def test_division_by_zero_gives_zero():
    a, b = variables(REAL, "a b")
    assert evaluate(a / b, {"a": Fraction(3), "b": Fraction(0)}) == 0
    assert evaluate(a / b, {"a": Fraction(3), "b": Fraction(2)}) == Fraction(3, 2)
