"""The checker against true distances, and against everything that is not quite a proof."""

import ast
import itertools
import json
import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from certvq.torchlean import Claimed, Dense, _check, check_claim, check_document, claims

EXAMPLE = {
    "format": "crown_query_v1",
    "input_dim": 1,
    "input": {"lo": ["-1"], "hi": ["1"]},
    "layers": [
        {"kind": "linear", "weights": [["1"], ["-1"]], "bias": ["0", "0"]},
        {"kind": "relu", "alpha": ["1/2", "1/2"]},
        {"kind": "linear", "weights": [["1", "1"]], "bias": ["0"]},
    ],
    "query": {"weights": [["1"]], "bias": ["-3/2"], "strict": True},
}
"""|x| < 3/2 in [-1, 1]: TorchLean's own example, whose verdicts its tests list."""


@pytest.mark.rows(
    ("old", "new", "accepted"),
    [
        ("", "", True),
        ("-3/2", "-1", False),
        (("-3/2", "true"), ("-1", "false"), True),
        ("-3/2", "-1/2", False),
        ("1/2", "-1/2", False),
        ('"1/2"', '"3/2"', False),
        ('"1/2"', '"0"', True),
        ('"1/2"', '"1"', True),
        ('["1/2", "1/2"]', '["1/2"]', False),
        ('"1/2"', '"1/0"', False),
        ('"1/2"', "0.5", False),
        ('"lo": ["-1"]', '"lo": ["2"]', False),
        ('"lo": ["-1"]', '"lo": ["1"]', True),
        ('"input_dim": 1', '"input_dim": 2', False),
        ('[["1"], ["-1"]]', '[["1"], []]', False),
        ('"query": {"weights": [["1"]]', '"query": {"weights": [["1", "1"]]', False),
        (
            '"query": {"weights": [["1"]], "bias": ["-3/2"]',
            '"query": {"weights": [], "bias": []',
            False,
        ),
        ('"relu"', '"sigmoid"', False),
        ("crown_query_v1", "crown_v1", False),
        ("{", "", False),
    ],
)
def test_verdicts_of_torchleans_own_tests(old, new, accepted):
    text = json.dumps(EXAMPLE)
    pairs = [(old, new)] if isinstance(old, str) else zip(old, new, strict=True)
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    assert check_document(text).accepted == accepted


@pytest.mark.rows(
    ("old", "new", "reason"),
    [
        ("{", "", "no JSON that can be read"),
        ("{", "[" * 10**5, "no JSON that can be read"),
        ('"1/2"', "NaN", "must be a text such as '-3' or '1/2', got nan"),
        ('"1/2"', '" 1/2"', "must be a text such as"),
        ('"1/2"', '"1_0/2"', "must be a text such as"),
        ('"1/2"', '"1/' + "9" * 5000 + '"', "must have at most 4000 digits, got 5002"),
        ('"strict": true', '"strict": 1', "query.strict must be true or false"),
        ('"strict": true', '"strict": true, "strict": false', "a field stands twice"),
        ('"input_dim": 1', '"input_dim": true', "input_dim must be a whole number above 0"),
        ('"input_dim": 1', '"input_dim": 1.0', "numbers must be texts such as '1/2', got 1.0"),
        ('"input_dim": 1, ', "", "the field 'input_dim' is missing"),
        ('"relu"', '"tanh"', "layers[1].kind must be 'linear' or 'relu', got 'tanh'"),
        ('"3/2"', '"1"', ""),
        ("-3/2", "-1/2", "inequality 0 is not proved: its upper bound in the box is 1/2"),
    ],
)
def test_a_reason_says_what_is_wrong(old, new, reason):
    found = check_document(json.dumps(EXAMPLE).replace(old, new))
    assert reason in found.reason
    assert bool(reason) != found.accepted


def true_code(latent, codebook):
    distances = [
        sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(latent, vector, strict=True))
        for vector in codebook
    ]
    return distances.index(min(distances))


def claimed(inputs, row, codebook, code, *, radius=0.0, layers=()):
    given = [(each.weights.tolist(), each.bias.tolist(), each.relu) for each in layers]
    return Claimed(inputs[row].tolist(), radius, codebook.tolist(), code, given)


def documents_of(inputs, codebook, code, **options):
    return list(next(claims(inputs, codebook, [code], **options)).documents.values())


def test_the_lowest_nearest_code_of_a_point_is_proved_and_no_other():
    """Ties on a lattice, equal code vectors and numbers far apart included."""
    generator = np.random.default_rng(20261130)
    codebooks = [
        generator.integers(-2, 3, (6, 2)).astype(float),
        generator.standard_normal((5, 3)) * 10.0 ** generator.integers(-20, 20, (5, 3)),
    ]
    for codebook in codebooks:
        latents = np.concatenate([codebook, (codebook[:-1] + codebook[1:]) / 2])
        for row, latent in enumerate(latents):
            right = true_code(latent.tolist(), codebook.tolist())
            for code in range(len(codebook)):
                documents = documents_of(latents[row : row + 1], codebook, code)
                found = check_claim(documents, claimed(latents, row, codebook, code))
                assert found.accepted == (code == right), found.reason


def test_a_box_is_proved_up_to_the_border_and_not_beyond():
    """Without layers the bounds are tight: the border at 1/2 belongs to the lower code."""
    codebook = np.array([[0.0, 0.0], [1.0, 0.0]])
    for code, start in ((0, 0.25), (1, 0.75)):
        latents = np.array([[start, 7.0]])
        for radius in (0.25, math.nextafter(0.25, 0), math.nextafter(0.25, 1)):
            documents = documents_of(latents, codebook, code, radius=radius)
            what = claimed(latents, 0, codebook, code, radius=radius)
            reach = radius <= 0.25 if code == 0 else radius < 0.25
            assert check_claim(documents, what).accepted == reach


def network(generator, *widths):
    pairs = list(itertools.pairwise(widths))
    return [
        Dense(
            generator.standard_normal((b, a)),
            generator.standard_normal(b) / 4,
            relu=k < len(pairs) - 1,
        )
        for k, (a, b) in enumerate(pairs)
    ]


def run_exactly(layers, point):
    values = [Fraction(x) for x in point]
    for layer in layers:
        rows = [[Fraction(x) for x in row] for row in layer.weights.tolist()]
        values = [
            sum((w * x for w, x in zip(row, values, strict=True)), Fraction(bias))
            for row, bias in zip(rows, layer.bias.tolist(), strict=True)
        ]
        values = [max(x, Fraction(0)) for x in values] if layer.relu else values
    return values


def test_a_code_through_layers_is_proved_and_what_is_proved_holds_in_the_box():
    """A point has tight bounds; in a box each proved code is that of all corners and 20 points."""
    generator = np.random.default_rng(7)
    proved = refused = 0
    for _ in range(12):
        layers = network(generator, 3, 5, 4, 2)
        codebook = generator.standard_normal((4, 2))
        inputs = generator.standard_normal((1, 3))
        right = true_code(run_exactly(layers, inputs[0].tolist()), codebook.tolist())
        for radius in (0.0, 0.05, 0.3):
            documents = documents_of(inputs, codebook, right, radius=radius, layers=layers)
            what = claimed(inputs, 0, codebook, right, radius=radius, layers=layers)
            found = check_claim(documents, what)
            assert found.accepted or radius
            proved, refused = proved + found.accepted, refused + (not found.accepted)
            steps = np.concatenate(
                [
                    generator.uniform(-1, 1, (20, 3)),
                    np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3),
                ]
            )
            for step in steps if found.accepted else ():
                point = [
                    Fraction(x) + Fraction(radius) * Fraction(s)
                    for x, s in zip(inputs[0].tolist(), step.tolist(), strict=True)
                ]
                assert true_code(run_exactly(layers, point), codebook.tolist()) == right
    assert proved > 15
    assert refused > 3


def test_the_verdict_of_a_crossing_relu_depends_on_its_slope():
    """relu(x) >= a x in [-1, 3]: -relu(x) <= 0 holds by slope 0 alone, -relu(x) + x / 2 not."""
    base = {**EXAMPLE, "input": {"lo": ["-1"], "hi": ["3"]}}
    base["query"] = {"weights": [["-1"]], "bias": ["0"], "strict": False}
    for slope, accepted in (("0", True), ("1/2", False), ("1", False)):
        base["layers"] = [
            {"kind": "linear", "weights": [["1"]], "bias": ["0"]},
            {"kind": "relu", "alpha": [slope]},
        ]
        assert check_document(json.dumps(base)).accepted == accepted


def test_a_relu_that_just_crosses_is_no_identity():
    """relu(x) <= x fails in [-1/2, 1]; x itself passes the ReLU as relu(x + 10) - 10."""
    document = {**EXAMPLE, "input": {"lo": ["-1/2"], "hi": ["1"]}}
    document["layers"] = [
        {"kind": "linear", "weights": [["1"], ["1"]], "bias": ["0", "10"]},
        {"kind": "relu", "alpha": ["1", "1"]},
    ]
    document["query"] = {"weights": [["1", "-1"]], "bias": ["10"], "strict": False}
    assert "upper bound in the box is 1/2" in check_document(json.dumps(document)).reason
    document["input"]["lo"] = ["0"]
    assert check_document(json.dumps(document)).accepted


LATENTS, CODEBOOK = np.array([[0.25, 0.5]]), np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])


@pytest.mark.rows(
    ("edit", "reason"),
    [
        (
            lambda d: d["query"]["bias"].__setitem__(0, "-100"),
            "does not compare code 1 with code 2",
        ),
        (lambda d: d["query"]["weights"][0].__setitem__(1, "1/2"), "does not compare code 1"),
        (lambda d: d["input"].update(hi=["1/4", "1/2"]), "the box is not the one of the input, at"),
        (lambda d: d["layers"][0]["bias"].__setitem__(0, "-1/8"), "not those of the network"),
        (lambda d: d["layers"].append({"kind": "relu", "alpha": ["1", "1"]}), "not those of the"),
        (
            lambda d: [
                d["query"][name].append(d["query"][name][0]) for name in ("weights", "bias")
            ],
            "1 codes need an inequality each, got 2 inequalities",
        ),
    ],
)
def test_an_edited_document_that_is_still_true_proves_no_claim(edit, reason):
    radius = 2.0**-6
    documents = documents_of(LATENTS, CODEBOOK, 1, radius=radius)
    what = claimed(LATENTS, 0, CODEBOOK, 1, radius=radius)
    assert check_claim(documents, what).accepted
    edited = json.loads(documents[0])
    edit(edited)
    assert check_document(json.dumps(edited)).accepted
    found = check_claim([json.dumps(edited), documents[1]], what)
    assert not found.accepted
    assert reason in found.reason


def test_a_missing_document_leaves_codes_without_comparison():
    documents = documents_of(LATENTS, CODEBOOK, 1)
    found = check_claim(documents[:1], claimed(LATENTS, 0, CODEBOOK, 1))
    assert found.reason == "code 1 is not compared with 1 codes, such as 0"


def test_a_long_number_is_not_shown_whole():
    text = json.dumps(EXAMPLE).replace("-3/2", "1/" + "7" * 100)
    assert "upper bound in the box is a fraction of " in check_document(text).reason
    assert "digits above 0" in check_document(text).reason


def test_the_checker_imports_the_standard_library_alone():
    tree = ast.parse(Path(_check.__file__).read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert names <= set(sys.stdlib_module_names)
