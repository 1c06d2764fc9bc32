"""The Lean project is whole, and nothing but a full proof passes for one."""

import json
import re
import stat
import sys

import pytest

from certvq._lean._run import Lean
from certvq.errors import FileFormatError
from certvq.theory import _lean

FOLDER = _lean.project_folder()
FILES = _lean.project_files(FOLDER)
THEOREMS = _lean.lean_theorems()

PROMISED = {
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
    "nearest_of_score_gap",
    "nearest_mem_candidates",
    "refine_sound",
    "abs_dot_sub_split_le",
    "dot_rounding_error_le",
    "int8_dot_exact",
    "int16_dot_exact",
    "quantized_score_gap_le",
    "certified_assign",
    "isNearestCode_of_perturbation",
    "isNearestCode_of_small_perturbation",
    "product_isNearestCode",
    "grid_round_isNearestCode",
    "sign_isNearestCode",
    "cosine_isNearestCode",
    "residual_telescopes",
    "mean_minimises_distortion",
    "ema_step_distortion_le",
    "error_comp_le",
    "sum_error_le",
    "product_error_le",
    "entrywise_error_le",
    "taps_error_le",
    "operator_norm_le",
    "maximum_error_le",
    "residual_level_error_le",
    "canonical_of_bound_lt_radius",
    "normalise_error_le",
    "normalise_place_error_le",
    "softmax_error_le",
    "relu_lipschitz",
    "leakyRelu_lipschitz",
    "elu_lipschitz",
    "silu_lipschitz",
    "gelu_lipschitz",
    "tanh_lipschitz",
    "sigmoid_lipschitz",
    "snake_lipschitz",
    "silu_slope_le",
    "gate_slopes_le",
    "softmax_slope_le",
    "exact_sum_merge",
    "rounded_mean_unique",
    "lloyd_iteration_distortion_le",
    "skip_sound",
    "single_bound_skip_sound",
}


def imports_of(text):
    return {
        name.replace(".", "/") + ".lean"
        for name in re.findall(r"^import (CertVQ\S*)", text, re.MULTILINE)
    }


def declared_in(text):
    code = _lean.without_comments(text)
    return set(
        re.findall(
            r"^(?:noncomputable )?(?:theorem|def|structure|inductive) (\w+)", code, re.MULTILINE
        )
    )


def test_every_theorem_of_the_list_is_there():
    assert set(THEOREMS) >= PROMISED


def test_every_file_is_part_of_the_project():
    there = {f"CertVQ/{path.name}" for path in (FOLDER / "CertVQ").glob("*.lean")}
    assert there | {"CertVQ.lean"} == set(FILES)


def test_every_theorem_is_on_the_list_whose_axioms_are_reported():
    listed = re.findall(r"``([\w.]+)[,\]]", FILES["CertVQ/Axioms.lean"].split("def theorems")[1])
    assert sorted(listed) == sorted(THEOREMS)


@pytest.mark.rows("file", sorted(set(FILES) - {"CertVQ.lean"}))
def test_a_file_imports_what_it_uses(file):
    """The project is checked as one text; this is what lets each file stand on its own."""
    reached, open_files = set(), {file}
    while open_files:
        name = open_files.pop()
        reached.add(name)
        open_files |= imports_of(FILES[name]) - reached
    words = set(re.findall(r"\w+", _lean.without_comments(FILES[file])))
    own = declared_in(FILES[file])
    local = {"row", "rows"}  # words of comments and binders
    for other in set(FILES) - reached:
        assert not (declared_in(FILES[other]) - own - local) & words


@pytest.mark.rows("file", sorted(FILES))
def test_a_file_says_what_flows_in_and_out_and_stays_short(file):
    text = FILES[file]
    assert re.search(r"/-!\n# .+\n\nIn: .*Out:\s.*-/", text, re.DOTALL)
    assert len(text.splitlines()) <= 300
    assert max(map(len, text.splitlines())) <= 100


def test_imports_come_before_the_files_that_name_them():
    order = list(FILES)
    for file, text in FILES.items():
        assert all(order.index(name) < order.index(file) for name in imports_of(text))


def test_the_text_as_a_whole_keeps_every_line_and_its_place():
    text, places = _lean.one_text(
        {"A.lean": "import Lean.X\na\n", "B.lean": "import CertVQ.A\nb\n"}
    )
    assert text.splitlines() == ["import Lean.X", "", "a", "", "b"]
    assert places == (
        ("the imports", 1), ("A.lean", 1), ("A.lean", 2), ("B.lean", 1), ("B.lean", 2),
    )  # fmt: skip


def test_comments_are_blanked_and_lines_stay():
    assert _lean.without_comments("a /- x\ny -/ b\n-- sorry\nc") == "a \n b\n\nc"


@pytest.fixture
def project(tmp_path):
    """A small project with one theorem."""
    (tmp_path / "CertVQ").mkdir()
    (tmp_path / "CertVQ.lean").write_text("import CertVQ.A\n")
    (tmp_path / "CertVQ" / "A.lean").write_text(
        "namespace CertVQ\ntheorem a : 1 = 1 := rfl\nend CertVQ\n"
    )
    return tmp_path


def lean_that_says(folder, *messages):
    """A program that prints messages as Lean does, and fails as Lean does."""
    lines = [
        json.dumps({"severity": severity, "pos": {"line": line + 1, "column": 0}, "data": text})
        for severity, line, text in messages
    ]
    status = int(any(severity == "error" for severity, _, _ in messages))
    program = folder / "lean"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({chr(10).join(lines)!r})\nsys.exit({status})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Lean("4.28.0", (str(program),))


GOOD = ("information", 9, "axioms below CertVQ.a: propext\n")


def test_a_theorem_that_lean_reports_without_a_complaint_is_proved(project):
    report = _lean.check_project(project, lean=lean_that_says(project, GOOD))
    assert report.axioms == {"a": ("propext",)}
    assert report.problems == ()


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ((), "CertVQ/A.lean: Lean reports nothing of theorem a"),
        ((GOOD, ("error", 2, "no")), "CertVQ/A.lean:2: error: no"),
        ((GOOD, ("warning", 2, "declaration uses `sorry`")), "CertVQ/A.lean:2: warning: decl"),
        ((("information", 9, "axioms below CertVQ.a: sorryAx"),), "theorem a rests on sorryAx"),
    ],
)
def test_anything_less_is_a_problem(project, messages, problem):
    report = _lean.check_project(project, lean=lean_that_says(project, *messages))
    assert [text for text in report.problems if text.startswith(problem)]


@pytest.mark.parametrize(
    "word", ["sorry", "axiom b : 1 = 2", "theorem b : 1 = 1 := by native_decide"]
)
def test_a_forbidden_word_is_a_problem(project, word):
    file = project / "CertVQ" / "A.lean"
    file.write_text(file.read_text() + f"-- sorry in a comment is none\n{word}\n")
    report = _lean.check_project(project, lean=lean_that_says(project, GOOD))
    assert report.problems[0].startswith("CertVQ/A.lean:5: the word ")


def test_a_missing_file_is_named_with_the_one_that_imports_it(project):
    (project / "CertVQ" / "A.lean").write_text("import CertVQ.Gone\n")
    with pytest.raises(FileFormatError, match=r"Gone\.lean is missing; CertVQ\.A imports"):
        _lean.project_files(project)


def test_a_circle_of_imports_is_named(project):
    (project / "CertVQ" / "A.lean").write_text("import CertVQ.A\n")
    with pytest.raises(
        FileFormatError, match=r"in a circle: \('CertVQ', 'CertVQ\.A', 'CertVQ\.A'\)"
    ):
        _lean.project_files(project)


def test_a_name_that_is_proved_twice_is_refused(project):
    (project / "CertVQ" / "B.lean").write_text("theorem a : 1 = 1 := rfl\n")
    (project / "CertVQ.lean").write_text("import CertVQ.A\nimport CertVQ.B\n")
    with pytest.raises(FileFormatError, match=r"CertVQ/B\.lean and CertVQ/A\.lean both prove a"):
        _lean.lean_theorems(project)


def test_check_all_calls_nothing_proved_while_anything_is_open(monkeypatch):
    lean = Lean("4.28.0", ("lean",))
    good = dict.fromkeys(THEOREMS, ())
    monkeypatch.setattr(_lean, "check_project", lambda: _lean.LeanReport(lean, good, (), 1.0))
    assert _lean.check_all() == dict.fromkeys(THEOREMS, True)
    monkeypatch.setattr(_lean, "check_project", lambda: _lean.LeanReport(lean, good, ("x",), 1.0))
    assert _lean.check_all() == dict.fromkeys(THEOREMS, False)
