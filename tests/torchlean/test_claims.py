"""What a code claims, as documents: the format, and the errors of the writer."""

import itertools
import json
import subprocess
import sys
from importlib import resources

import jsonschema
import numpy as np
import pytest

from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.torchlean import Dense, check_document, claims

CODEBOOK = np.array([[0.0, 0.0], [1.0, 0.5], [0.0, 0.0], [-3.0, 2.0**-30]])
SCHEMA = json.loads(
    resources.files("certvq.torchlean").joinpath("crown_query.schema.json").read_text("utf-8")
)


def test_documents_are_of_the_schema_and_say_where_each_code_is():
    layers = [
        Dense(np.array([[0.5, -1.0], [2.0, 0.1]]), np.array([0.25, -0.5]), relu=True),
        Dense(np.eye(2), np.zeros(2)),
    ]
    names = []
    for claim in itertools.chain(
        claims(CODEBOOK, CODEBOOK, [0, 1, 0, 3]),
        claims(CODEBOOK, CODEBOOK, [0, 1, 0, 3], radius=0.5, layers=layers),
    ):
        for name, text in claim.documents.items():
            jsonschema.validate(json.loads(text), SCHEMA)
            names.append(name)
    assert names[:5] == [
        "row000000.code0.le.json",
        "row000001.code1.le.json",
        "row000001.code1.lt.json",
        "row000002.code0.le.json",
        "row000003.code3.lt.json",
    ]


@pytest.mark.rows(
    ("path", "value"),
    [
        (("query", "strict"), "true"),
        (("query", "bias"), [0.5]),
        (("input", "lo"), ["1/0"]),
        (("layers",), []),
        (("format",), "crown_v1"),
        (("extra",), 1),
    ],
)
def test_the_schema_refuses(path, value):
    document = json.loads(next(claims([[0.0]], [[0.0], [1.0]], [0])).documents.popitem()[1])
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_numbers_of_each_type_are_exact():
    latents = np.array([[0.1], [6e-8]], dtype=np.float16)
    documents = [
        json.loads(text)
        for claim in claims(latents, np.array([[1e-300], [1.0]]), [0, 0], radius=2.0**-60)
        for text in claim.documents.values()
    ]
    top, bottom = latents[0, 0].as_integer_ratio()
    middle = f"{top * 2**60 // bottom - 1}/{2**60}"
    assert documents[0]["input"]["lo"] == [middle]
    top, bottom = (1.0).as_integer_ratio()[0], (1e-300).as_integer_ratio()[1]
    assert documents[0]["query"]["weights"] == [
        [f"{2 * (top * bottom - (1e-300).as_integer_ratio()[0]) // 2}/{bottom // 2}"]
    ]


def test_a_codebook_of_one_code_vector_needs_no_document():
    assert [claim.documents for claim in claims([[3.0]], [[0.0]], [0])] == [{}]


LINE = Dense(np.ones((1, 2)), np.zeros(1))


@pytest.mark.rows(
    ("inputs", "options", "error", "text"),
    [
        ([[0.0]], {"radius": -1.0}, OptionError, "radius must be a finite number, at least 0"),
        ([[0.0]], {"radius": float("inf")}, OptionError, "got inf"),
        ([[0.0, 1.0]], {}, ShapeError, "same dim"),
        ([[np.nan]], {}, NonFiniteError, "latents must be finite"),
        ([[0.0]], {"layers": [LINE]}, ShapeError, "same dim"),
        ([[0.0, 0.0]], {"layers": [LINE, LINE]}, ShapeError, r"layer 1 must have weights \(o.*, 1"),
        (
            [[0.0, 0.0]],
            {"layers": [Dense(np.ones((1, 2)), np.zeros(2))]},
            ShapeError,
            r"layer 0 must have a bias \(1,\), got shape \(2,\)",
        ),
        (
            [[0.0, 0.0]],
            {"layers": [Dense(np.ones((2, 2)), np.zeros(2))]},
            ShapeError,
            "must end in the codebook's dim 1, got 2 outputs",
        ),
        (
            [[0.0]],
            {"layers": [Dense(np.array([[np.inf]]), np.zeros(1))]},
            NonFiniteError,
            "layer 0 must have finite weights",
        ),
    ],
)
def test_what_does_not_fit_is_refused(inputs, options, error, text):
    with pytest.raises(error, match=text):
        next(claims(inputs, [[0.0], [1.0]], [0], **options))


def test_a_code_out_of_range_is_refused():
    with pytest.raises(CodeRangeError):
        next(claims([[0.0]], [[0.0], [1.0]], [2]))


def test_the_command_of_the_module_says_what_is_proved(tmp_path):
    for name, code in (("good", 0), ("bad", 1)):
        claim = next(claims([[0.25]], [[0.0], [1.0]], [code]))
        (tmp_path / name).write_text(claim.documents.popitem()[1])
    words = [sys.executable, "-m", "certvq.torchlean", "good", "bad"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    good, bad = done.stdout.splitlines()
    assert good == "good: proved"
    assert bad == (
        "bad: not proved: inequality 0 is not proved: its upper bound in the box is 1/2, "
        "required is < 0"
    )
    assert not check_document((tmp_path / "bad").read_text()).accepted
