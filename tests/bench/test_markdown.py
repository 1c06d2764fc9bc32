"""Tables as Markdown, and the block of a page."""

import pytest

from certvq.bench._markdown import BEGIN, END, require_block, tables, update_block
from certvq.errors import FileFormatError


def entry(milliseconds, ratio, wrong):
    found = {"status": "measured", "milliseconds": milliseconds, "ratio": ratio}
    return {**found, "wrong_codes": wrong}


def result(kind, rows, contenders, *, confirmed=True):
    return {
        "cell": f"{rows}x8x4",
        "kind": kind,
        "rows": rows,
        "codebook_size": 8,
        "dim": 4,
        "audited_rows": 2000,
        "confirmed": confirmed,
        "contenders": contenders,
    }


def record(*results):
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "cpu": "a processor",
        "architecture": "x86_64",
        "threads": 2,
        "backend": "auto",
        "rounds": 5,
        "python": "3.11.7",
        "versions": {"certvq": "0.1.0"},
        "notes": {"peer-train": "in train mode"},
        "results": list(results),
        "levels": [],
        "summary": [
            {
                "kind": "normal",
                "contender": "peer",
                "cells": 2,
                "geometric_mean": 2.456,
                "minimum": 0.5,
            }
        ],
    }


FIRST = {"certvq": entry(1.234, 1.0, 0), "peer": entry(1234.5, 1000.4, 1500)}
SECOND = {"certvq": entry(0.01234, 1.0, 0), "peer": {"status": "skipped: needs about 3 GiB"}}


def test_cells_are_rows_and_contenders_columns():
    text = tables(record(result("normal", 16, FIRST), result("normal", 64, SECOND)))
    assert "Measured 2026-01-02 on a processor (x86_64), 2 threads, backend auto" in text
    assert "confirmed 4,000 of certvq's codes" in text
    assert (
        "| N x K x D | certvq | peer |\n"
        "| --- | --- | --- |\n"
        "| 16 x 8 x 4 | 1.23 | 1234 (1000.40), 1,500 wrong |\n"
        "| 64 x 8 x 4 | 0.0123 | skipped: needs about 3 GiB |\n"
    ) in text
    assert "| `normal` | peer | 2 | 2.46 | 0.50 |" in text
    assert text.endswith("\n\n`peer-train`: in train mode.\n")


def test_kinds_have_tables_of_their_own():
    text = tables(record(result("normal", 16, FIRST), result("sphere", 16, SECOND)))
    assert text.index("`normal`") < text.index("`sphere`")
    assert text.count("| N x K x D |") == 2


def test_an_answer_that_is_not_confirmed_is_named():
    text = tables(record(result("normal", 16, FIRST, confirmed=False)))
    assert "**The independent checker does not confirm certvq's codes in 16x8x4 normal.**" in text


def test_levels_have_a_table():
    one = {
        "kind": "normal",
        "isa": "avx2",
        "contender": "faiss",
        "geometric_mean": 2.04,
        "minimum": 1.1,
    }
    text = tables({**record(result("normal", 16, FIRST)), "levels": [one]})
    assert "| `normal` | avx2 | faiss | 2.04 | 1.10 |" in text


def test_a_record_without_peers_has_no_summary():
    lonely = {**record(result("normal", 16, FIRST)), "summary": [], "notes": {}}
    assert "geometric mean" not in tables(lonely)


def test_the_block_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    require_block(page)
    for _ in range(2):
        update_block(page, "new\n")
        assert page.read_text() == f"before\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("nothing", "got 0 and 0"),
        (BEGIN, "got 1 and 0"),
        (f"{END} {BEGIN}", "got 1 and 1"),
        (f"{BEGIN} {BEGIN} {END}", "got 2 and 1"),
    ],
)
def test_a_page_without_a_block_is_left_alone(text, counts, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(FileFormatError, match=f"page.md: must have {BEGIN} once .*; {counts}"):
        update_block(page, "new")
    assert page.read_text() == text


def test_a_processor_has_its_own_section(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"a\n{BEGIN}\nold, without a heading\n{END}\nz\n")
    update_block(page, "1", section="One")
    update_block(page, "2", section="One and two")
    update_block(page, "3\n", section="One")
    assert page.read_text() == f"a\n{BEGIN}\n\n### One\n\n3\n\n### One and two\n\n2\n\n{END}\nz\n"


def test_a_page_that_is_no_text_is_named(tmp_path):
    (tmp_path / "page.md").write_bytes(b"\xff\xfe" + BEGIN.encode())
    with pytest.raises(FileFormatError, match=r"page\.md: is no text in UTF-8 \("):
        require_block(tmp_path / "page.md")
