"""`certvq bench`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import certvq
from certvq.bench import GrowthConfig, _contender
from certvq.bench._cells import Cell

Command = Callable[..., Any]
TINY = ("--cell", "32x8x4", "--rounds", "1", "--threads", "1", "--no-memory")


@pytest.fixture
def no_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contender, "_is_installed", lambda module: module != "faiss")


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
    assert "growth" in found.out


def test_markdown_is_written_and_a_page_updated(certvq_command: Command, tmp_path: Path) -> None:
    page, table = tmp_path / "page.md", tmp_path / "new" / "table.md"
    page.write_text("a\n<!-- bench:begin -->\n<!-- bench:end -->\nz\n")
    options = ("--contender", "scikit-learn", "--markdown", table, "--update", page)
    found = certvq_command("bench", "assign", *TINY, *options)
    assert found.status == 0
    written = table.read_text()
    assert "| N x K x D | certvq | scikit-learn |" in written
    assert "| numbers | contender | cells | geometric mean | minimum |" in written
    begin = page.read_text().partition("### ")[0]
    assert begin == "a\n<!-- bench:begin -->\n\n"
    assert f"\n\n{written}\n<!-- bench:end -->\nz\n" in page.read_text()


def test_a_page_without_a_block_is_found_out_before_measuring(
    certvq_command: Command, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("no block")
    out = tmp_path / "out"
    found = certvq_command("bench", "assign", *TINY, "--update", page, "--out", out)
    assert (found.status, found.out, out.exists()) == (2, "", False)
    assert "page.md: must have <!-- bench:begin --> once" in found.err
    assert certvq_command("bench", "assign", *TINY, "--update", tmp_path / "none").status == 2


@pytest.fixture
def tiny_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    def panels(config: GrowthConfig) -> dict[str, list[Cell]]:
        return {
            "rows": [Cell(n, 4, 2) for n in config.rows],
            "codebook_size": [Cell(8, k, 2) for k in config.codebook_sizes],
            "dim": [Cell(8, 4, d) for d in config.dims],
        }

    monkeypatch.setattr(GrowthConfig, "panels", panels)


SMALL = ("--rows", "9", "--rows", "18", "--codebook-size", "3", "--dim", "5", "--rounds", "1")


@pytest.mark.usefixtures("tiny_growth", "no_faiss")
def test_growth_has_a_table_a_record_and_a_picture(certvq_command: Command, tmp_path: Path) -> None:
    svg = tmp_path / "growth.svg"
    found = certvq_command("bench", "growth", *SMALL, "--out", tmp_path, "--svg", svg)
    assert (found.status, found.err) == (0, "")
    assert "ns per row" in found.out
    assert "not installed: faiss" in found.out
    record = json.loads((tmp_path / "growth.json").read_text())
    assert [point["rows"] for point in record["panels"][0]["points"]] == [9, 18]
    assert svg.read_text().endswith("</svg>\n")


@pytest.mark.usefixtures("tiny_growth", "no_faiss")
def test_growth_as_json(certvq_command: Command) -> None:
    record = json.loads(certvq_command("bench", "growth", *SMALL, "--json").out)
    assert [panel["grows"] for panel in record["panels"]] == ["rows", "codebook_size", "dim"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--rows", "0"), "rows must be at least 1, got 0"),
        (("--backend", "nope"), "backend must be 'auto' or one of"),
        (("--out", __file__), "must be a folder"),
    ],
)
def test_bad_usage_of_growth_is_status_2(
    certvq_command: Command, options: tuple[str, ...], text: str
) -> None:
    found = certvq_command("bench", "growth", *SMALL, *options)
    assert (found.status, found.out) == (2, "")
    assert text in found.err
