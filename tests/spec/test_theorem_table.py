"""Every theorem on the specification has a law under its own name, and a refuted wrong version."""

import ast
from pathlib import Path

import pytest

SEED = (
    "quantized_is_codebook_lookup",
    "forward_eq_decoder_codebook",
    "vqvae_loss_decomposition",
    "vqvae_loss_eq_weightedThreeTerm",
    "vqvae_loss_zero_beta",
    "vqvae_loss_eq_reconstruction_of_zero_quantization",
    "vqvae_loss_mono_beta_of_commitment_nonneg",
    "squaredL2_nonneg",
    "squaredL2_self",
    "exactCodeMatch_isNearestCode",
    "exactCodeMatch_selected_distance_zero",
    "nearestCode_minimizes_quantization_loss",
    "weightedTwoTerm_zero_regularizer",
    "weightedTwoTerm_zero_weight",
    "weightedTwoTerm_mono_weight",
    "weightedThreeTerm_zero_regularizer",
    "weightedThreeTerm_zero_middle_zero_regularizer",
    "weightedThreeTerm_zero_weight",
    "weightedThreeTerm_mono_weight",
)
CALLER = (
    "commitmentLoss_nonneg",
    "codebookLoss_nonneg",
    "reconstructionLoss_nonneg",
    "codebookLoss_eq_commitmentLoss",
    "vqvae_loss_mono_beta",
    "isNearestCode_iff_mse",
    "isNearestCode_iff_score",
    "exists_isNearestCode",
    "lowest_isNearestCode_unique",
    "argmin_isNearestCode",
    "straightThrough_gradients",
    "exactCodeMatch_loss_eq_reconstruction",
)


def written_tests():
    """The tests of the `test_theorems_*` files beside this one, with the names that decorate."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("test_theorems_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert node.name not in found, f"{node.name} stands in two places"
                found[node.name] = (node, decorators(node))
    return found


def decorators(node):
    calls = [call.func if isinstance(call, ast.Call) else call for call in node.decorator_list]
    return [call.id for call in calls if isinstance(call, ast.Name)]


def asserts(node):
    return sum(isinstance(part, ast.Assert) for part in ast.walk(node))


@pytest.mark.rows("theorem", SEED + CALLER)
def test_theorem_has_a_law_on_drawn_examples(theorem):
    node, names = written_tests()[f"test_{theorem}"]
    assert names == ["LAW", "given"]
    assert asserts(node) > 0


@pytest.mark.rows("theorem", SEED + CALLER)
def test_theorem_has_a_refuted_wrong_version(theorem):
    node, names = written_tests()[f"test_{theorem}_mutant"]
    assert names == []
    assert asserts(node) > 0


def test_every_law_belongs_to_a_theorem_of_the_table():
    laws = [name for name, (_, names) in written_tests().items() if "given" in names]
    assert sorted(laws) == sorted(f"test_{theorem}" for theorem in SEED + CALLER)
    assert len(laws) == 31
