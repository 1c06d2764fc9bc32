"""Shapes of the blocks: any D and K, groups that cover every code, names that fit their bits."""

import pytest

from certvq._triton._plan import (
    AMPERE,
    COLUMNS,
    HOPPER,
    Blocks,
    Device,
    collect_blocks,
    pad,
    plan,
    scan_blocks,
)

ADA = Device(99 << 10, 128, warpgroups=False)
SMALL = Device(48 << 10, 20, warpgroups=False)


@pytest.mark.rows("dim", [*range(1, 300), 384, 511, 513, 1000, 4096, 100_000])
def test_padding_adds_at_most_a_third_to_what_is_held_and_an_eighth_to_what_is_not(dim):
    chunk, padded = pad(dim)
    assert chunk in (16, 32, 64, 128, 256)
    assert padded % chunk == 0
    least = -(-dim // 16) * 16
    assert dim <= padded <= (least * 4 / 3 if padded == chunk else least * 9 / 8)
    assert padded == chunk or chunk <= 64


@pytest.mark.rows("dim", [1, 64, 256, 1000])
@pytest.mark.rows("codes", [1, 2, 64, 256, 257, 8192, 65536, 1_000_000, 3_000_000])
def test_groups_cover_the_codebook_and_their_names_leave_most_bits_of_a_score(dim, codes):
    shapes = plan(dim, codes)
    assert shapes.codes_padded >= codes
    assert shapes.codes_padded - codes < shapes.members * COLUMNS
    assert shapes.supers <= 1 << shapes.name_bits
    most = 9 if dim < 256 else 11
    assert shapes.name_bits <= (most if codes <= 1 << 18 else 13)
    assert shapes.members in (4, 8, 16, 32)
    assert shapes.names == 2.0**shapes.name_bits / 2.0**23


@pytest.mark.rows(
    ("dim", "codes", "members"), [(64, 1024, 4), (64, 65536, 16), (8, 8192, 16), (256, 8192, 4)]
)
def test_groups_grow_with_the_codebook_and_shrink_with_the_dims(dim, codes, members):
    assert plan(dim, codes).members == members


@pytest.mark.rows("device", [HOPPER, AMPERE, ADA, SMALL])
@pytest.mark.rows("dim", [8, 32, 64, 100, 128, 256, 768])
@pytest.mark.rows("codes", [1, 1024, 65536, 1_000_000])
@pytest.mark.rows("latents", [1, 5000, 65536])
def test_blocks_fit_the_shared_memory_of_the_device_but_for_the_smallest(
    device, dim, codes, latents
):
    shapes = plan(dim, codes)
    for proposals, most_tiles in (
        (list(scan_blocks(shapes, device, latents)), shapes.members * COLUMNS),
        (list(collect_blocks(shapes, device)), 64),
    ):
        assert (proposals[-1].rows, proposals[-1].stages) == (16, 1)
        for blocks in proposals:
            assert most_tiles % blocks.codes == 0
            assert shapes.codes_padded % blocks.codes == 0
            assert blocks.codes % COLUMNS == 0
            assert blocks.rows * blocks.codes >= 32 * blocks.warps
        for blocks in proposals[:-1]:
            assert blocks.shared(shapes, most_tiles // blocks.codes) <= device.shared


@pytest.mark.parametrize(
    ("device", "dim", "codes", "latents", "first"),
    [
        (HOPPER, 64, 65536, 1 << 16, Blocks(256, 128, 16, 3)),
        (HOPPER, 256, 65536, 1 << 16, Blocks(256, 64, 16, 3)),
        (HOPPER, 64, 65536, 1 << 13, Blocks(64, 128, 4, 3)),
        (AMPERE, 64, 65536, 1 << 16, Blocks(128, 64, 8, 3)),
        (ADA, 64, 65536, 1 << 16, Blocks(128, 64, 8, 2)),
        (ADA, 256, 65536, 1 << 16, Blocks(64, 64, 4, 2)),
    ],
)
def test_the_first_proposal_is_the_largest_that_fits(device, dim, codes, latents, first):
    assert next(scan_blocks(plan(dim, codes), device, latents)) == first


def test_proposals_shrink_in_stages_and_in_rows():
    given = [(b.rows, b.stages) for b in scan_blocks(plan(64, 8192), HOPPER, 1 << 20)]
    assert given == [(256, 3), (256, 2), (128, 2), (64, 2), (64, 1), (32, 1), (16, 1)]
