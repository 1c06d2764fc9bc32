"""Reports as text and as JSON."""

from dataclasses import FrozenInstanceError, replace

import pytest

from certvq.inspect import LayerAudit, ModuleAudit, Unaudited

LAYER = LayerAudit(
    name="quantizer.0",
    kind="Codebook",
    tokens=200,
    codebook_size=64,
    dim=8,
    wrong=50,
    ties_broken_otherwise=3,
    largest_excess=0.125,
    unstable=20,
)


def test_shares_and_totals():
    report = ModuleAudit((LAYER, replace(LAYER, wrong=0, ties_broken_otherwise=0)), None)
    assert (LAYER.share_wrong, LAYER.share_unstable) == (0.25, 0.1)
    assert (report.tokens, report.wrong, report.unstable) == (400, 50, 40)
    assert not report.ok
    assert ModuleAudit(report.layers[1:], None).ok
    assert not ModuleAudit((replace(LAYER, wrong=0),), None).ok


def test_text():
    lines = str(ModuleAudit((LAYER, replace(LAYER, name="")), None, ("a", "b"))).splitlines()
    assert lines[0].split() == [
        "layer",
        "tokens",
        "codes",
        "dim",
        "wrong",
        "ties",
        "excess",
        "unstable",
    ]
    assert lines[1].split() == ["quantizer.0", "200", "64", "8", "25.00%", "3", "0.12", "10.00%"]
    assert lines[2].split()[0] == "(itself)"
    assert lines[3] == "not audited, not known: a, b"
    assert len({len(line) for line in lines[:3]}) == 1


def test_layers_without_tokens_are_folded():
    """EnCodec at 6 kbps leaves 24 of its 32 codebooks alone."""
    idle = [replace(LAYER, name=f"level.{i}", tokens=0) for i in range(8, 32)]
    lines = str(ModuleAudit((LAYER, *idle), None)).splitlines()
    assert lines[2:] == ["no tokens reached 24 layers: level.8 to level.31"]


def test_code_vectors_that_are_no_codes_are_mentioned():
    odd = replace(LAYER, equal_vectors=5, zero_vectors=1)
    assert str(ModuleAudit((odd,), None)).splitlines()[2:] == [
        "quantizer.0: 5 of 64 code vectors equal one of lower index",
        (
            "quantizer.0: 1 of 64 code vectors have length 0 or nearly; a model that compares "
            "directions may pass over them where they are nearest"
        ),
    ]


def test_dict():
    found = ModuleAudit((LAYER,), 0.5, ("a",)).to_dict()
    assert found["perturbation"] == 0.5
    assert found["unknown"] == ["a"]
    assert found["layers"][0]["share_wrong"] == 0.25
    assert found["layers"][0]["name"] == "quantizer.0"


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        LAYER.wrong = 0


def test_layers_that_were_not_audited_are_in_text_and_dict():
    left_out = Unaudited("fsq", "FSQ", "there are no code vectors")
    beam = replace(LAYER, candidates=4)
    report = ModuleAudit((LAYER, beam), None, ("a",), unaudited=(left_out,))
    assert str(report).splitlines()[3:] == [
        "not audited, not known: a",
        "quantizer.0: 4 codes for each token",
        "not audited: fsq (FSQ): there are no code vectors",
    ]
    found = report.to_dict()
    assert found["unaudited"] == [
        {"name": "fsq", "kind": "FSQ", "reason": "there are no code vectors"}
    ]
    assert [each["candidates"] for each in found["layers"]] == [1, 4]
