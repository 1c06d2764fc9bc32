"""Sizes as text."""

import pytest

from certvq.bench import CELLS, EXTRA_CELL, Cell, parse_cell
from certvq.errors import OptionError


def test_a_cell_is_read_as_it_is_written():
    assert [parse_cell(str(cell)) for cell in CELLS] == list(CELLS)
    assert len(set(CELLS)) == 10


def test_the_extra_cell_is_asked_for():
    assert parse_cell("8192x8192x32") == EXTRA_CELL
    assert EXTRA_CELL not in CELLS


@pytest.mark.parametrize(
    "text", ["", "3x4", "3x4x5x6", "0x4x5", "3x-4x5", "3X4X5", "3x4x5 ", "axb"]
)
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="a cell is NxKxD, such as 16384x8192x32; got '"):
        parse_cell(text)


def test_a_cell_has_its_parts_in_order():
    assert parse_cell("3x4x5") == Cell(rows=3, codebook_size=4, dim=5)
