"""`certvq bench assign`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import certvq
from certvq.bench import _contenders

Command = Callable[..., Any]
TINY = ("--cell", "32x8x4", "--rounds", "1", "--threads", "1", "--no-memory")


@pytest.fixture
def no_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contenders, "_is_installed", lambda module: module != "faiss")


@pytest.mark.usefixtures("no_faiss")
def test_the_table_has_times_and_names_what_is_missing(
    certvq_command: Command, tmp_path: Path
) -> None:
    peers = ("--contender", "scikit-learn", "--contender", "faiss")
    found = certvq_command("bench", "assign", *TINY, *peers, "--out", tmp_path)
    assert (found.status, found.err) == (0, "")
    assert "32x8x4 normal: filter 32, refined 0, exact 0; the checker confirms 32 rows" in found.out
    assert "32x8x4 sphere" in found.out
    assert "scikit-learn" in found.out
    assert "wrong codes" in found.out
    assert "faiss: not installed: faiss" in found.out
    assert "geometric mean" in found.out
    assert len(json.loads((tmp_path / "assign.json").read_text())["results"]) == 2


def test_json_is_printed(certvq_command: Command) -> None:
    options = ("--kind", "normal", "--contender", "torch-addmm", "--json")
    found = certvq_command("bench", "assign", *TINY, *options)
    record = json.loads(found.out)
    assert found.status == 0
    assert list(record["results"][0]["contenders"]) == ["certvq", "torch-addmm"]
    assert record["summary"][0]["contender"] == "torch-addmm"


def test_latents_of_a_model(certvq_command: Command, model_dir: Path) -> None:
    options = ("--model", model_dir, "--kind", "offset-latents", "--contender", "certvq", "--json")
    found = certvq_command("bench", "assign", *TINY, *options)
    (result,) = json.loads(found.out)["results"]
    assert (result["kind"], result["cell"]) == ("offset-latents", "32x8x4")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--cell", "big"), "a cell is NxKxD, such as 16384x8192x32; got 'big'"),
        (("--kind", "nope"), "kind must be one of normal"),
        (("--contender", "nope"), "contender must be one of certvq"),
        (("--kind", "latents"), "give --model DIR"),
        (("--rounds", "0"), "rounds must be at least 1, got 0"),
        (("--backend", "nope"), "backend must be 'auto' or one of"),
        (("--out", __file__), "must be a folder"),
        (("--kind", "latents", "--model", "/no/such/model"), "/no/such/model"),
    ],
)
def test_bad_usage_is_status_2(
    certvq_command: Command, options: tuple[str, ...], text: str
) -> None:
    found = certvq_command("bench", "assign", *TINY, "--contender", "certvq", *options)
    assert (found.status, found.out) == (2, "")
    assert text in found.err


def test_an_answer_that_is_not_confirmed_is_status_1(
    certvq_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_latents: object, _codebook: object, codes: Any) -> certvq.AuditReport:
        return certvq.AuditReport(len(codes), (certvq.check.Violation(0, 1, 0, 1),))  # type: ignore[arg-type]

    monkeypatch.setattr(certvq, "audit", refuse)
    found = certvq_command("bench", "assign", *TINY, "--kind", "normal", "--contender", "certvq")
    assert found.status == 1
    assert "the checker DOES NOT CONFIRM 32 rows" in found.out


def test_the_group_explains_itself(certvq_command: Command) -> None:
    found = certvq_command("bench", "--help")
    assert found.status == 0
    assert "assign" in found.out
