"""Lean accepts the certificate of right codes, and of no others."""

import re

import numpy as np
import pytest

from certvq._lean import certificate, pack, run_lean
from certvq._lean._certificate import claim
from certvq.assign._reference import reference_codes

CODEBOOK = np.array([[0.0, 0.5], [1.0, -0.25], [0.0, 0.5], [-3.0, 2.0], [1.5, 8.0]])
LATENTS = np.array([[0.0, 0.5], [0.5, 0.125], [-2.5, 2.0], [1e3, 7e5], [1.0, -0.125]])
CODES = reference_codes(LATENTS, CODEBOOK).tolist()
PACKED = pack(LATENTS.tolist(), CODEBOOK.tolist())

BAD = {
    "wrong": [*CODES[:4], 0],
    "first_wrong": [3, *CODES[1:]],
    "tie_of_twins_to_the_higher": [2, *CODES[1:]],
    "tie_of_neighbours_to_the_higher": [CODES[0], 1, *CODES[2:]],
    "out_of_range": [*CODES[:4], 5],
    "one_too_few": CODES[:4],
    "one_too_many": [*CODES, 0],
}
GOOD = {
    "right": claim(PACKED, CODES, name="right"),
    "empty": claim(pack([], CODEBOOK.tolist()), [], name="empty"),
    "long": claim(pack([[0.0]] * 70, [[5.0]] * 199 + [[1.0]]), [199] * 70, name="long"),
    "far_apart": claim(pack([[5e-324]], [[1e300], [0.0]]), [1], name="far_apart"),
}


def claims_with_their_proof():
    head = certificate(pack([], [[0.0]]), [])
    return head, {**GOOD, **{name: bad_claim(name) for name in BAD}}


def bad_claim(name):
    known = {"one_too_many": pack([*LATENTS.tolist(), LATENTS[0].tolist()], CODEBOOK.tolist())}
    text = claim(known.get(name, PACKED), BAD[name], name=name)
    if name == "one_too_many":
        rows = re.search(r"def latents .*?\]", text, re.DOTALL)[0]
        text = text.replace(rows, re.search(r"def latents .*?\]", GOOD["right"], re.DOTALL)[0])
    return text


@pytest.fixture(scope="module")
def refused(lean):
    """Run all claims at once; return those that Lean holds something against."""
    text, places = claims_with_their_proof()
    ends = {}
    for name, part in places.items():
        text += part
        ends[name] = text.count("\n") + 1
    found = set()
    for message in run_lean(lean, text).messages:
        if message.severity != "information":
            found.add(next(name for name, end in ends.items() if message.line < end))
    return found


@pytest.mark.slow
@pytest.mark.lean
def test_lean_accepts_right_codes_and_no_others(refused):
    assert refused == set(BAD)


def test_the_codes_of_this_test_hold_ties():
    assert CODES == [0, 0, 3, 4, 1]


def test_the_file_stands_on_its_own():
    text = certificate(PACKED, CODES)
    code = re.sub(r"/-.*?-/", "", text, flags=re.DOTALL)
    assert "import" not in code
    assert not re.search(r"\b(sorry|axiom|native_decide|unsafe|implemented_by|admit)\b", code)
    assert code.count("theorem certificate") == 1


def test_the_file_holds_the_very_numbers():
    """Latents, codebook and codes are read back from the text alone."""
    text = certificate(PACKED, CODES)
    lists = {
        name: [int(number, 0) for number in body.split(",")]
        for name, body in re.findall(r"def (\w+) : List Nat := \[(.*?)\]", text, re.DOTALL)
    }
    scale = 2.0 ** int(re.search(r"e \* 2\^\((-?\d+)\)", text)[1])
    bits, dim = map(
        int, re.search(r"Certified (\d+) (\d+) codebook latents codes :=", text).groups()
    )

    def entries(number):
        return [((number >> bits * k) % 2**bits - 2 ** (bits - 1)) * scale for k in range(dim)]

    assert [entries(number) for number in lists["latents"]] == LATENTS.tolist()
    assert [entries(number) for number in lists["codebook"]] == CODEBOOK.tolist()
    assert lists["codes"] == CODES
