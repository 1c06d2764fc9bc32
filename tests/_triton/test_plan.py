"""Shapes of the blocks: any D and K, groups that cover every code, names that fit their bits."""

import pytest

from certvq._triton._plan import pad, plan


@pytest.mark.parametrize("dim", [*range(1, 300), 384, 511, 513, 1000, 4096, 100_000])
def test_padding_adds_at_most_an_eighth_or_fills_one_chunk_of_16(dim):
    chunk, padded = pad(dim)
    assert chunk in (16, 32, 64, 128, 256)
    assert padded % chunk == 0
    least = -(-dim // 16) * 16
    assert dim <= padded <= least * 9 / 8


@pytest.mark.parametrize("dim", [1, 64, 256, 1000])
@pytest.mark.parametrize("codes", [1, 2, 64, 256, 257, 8192, 65536, 1_000_000, 3_000_000])
def test_groups_cover_the_codebook_and_their_names_leave_most_bits_of_a_score(dim, codes):
    shapes = plan(dim, codes)
    assert shapes.codes_padded >= codes
    assert shapes.codes_padded - codes < shapes.codes * shapes.tiles
    assert shapes.supers <= 1 << shapes.name_bits
    assert shapes.name_bits <= (9 if codes <= 1 << 19 else 12)
    assert shapes.tiles in (1, 2, 4, 8, 16)
    assert shapes.names == 2.0**shapes.name_bits / 2.0**23


def test_smaller_plans_keep_the_layout_of_the_tables_and_end():
    shapes, seen = plan(256, 5000), []
    while shapes is not None:
        seen.append(shapes)
        shapes = shapes.smaller()
    assert len({(s.padded, s.chunk, s.codes, s.tiles, s.supers) for s in seen}) == 1
    rows_and_stages = [(128, 3), (128, 2), (128, 1), (64, 1), (32, 1), (16, 1)]
    assert [(s.rows, s.stages) for s in seen] == rows_and_stages
