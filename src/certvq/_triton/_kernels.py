"""The four Triton kernels: read the latents, scan the codes, collect candidates, settle them.

Two more try a device before its first use: `widen` and `accumulate`.

In: pointers. Out: see each kernel. Every product of float16 numbers is exact in float32, so that
only the sums of the tensor cores err; what they err by is `certvq.bounds.tensor_score_error`. All
bounds and distances are in float64, which GPUs compute as IEEE 754 says. Must not import anything
of certvq but the generated bounds.

Names: a *super-tile* is `TILES` tiles of `CODES` codes that follow one another, and a *group* every
`COLUMNS`-th code of it; the score of a group is the greatest of theirs, and the number of its
super-tile stands in the low bits of that score. A row is *pending* if several groups can hold a
nearest code.
"""

# What a type checker says of Python does not hold of Triton's language, which looks like it:
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportPossiblyUnboundVariable=false
# pyright: reportArgumentType=false

import triton
import triton.language as tl

from certvq._triton._bounds import (
    tensor_distance,
    tensor_reach,
    tensor_residual,
    tensor_score_error,
)


@triton.jit
def exact_float64(value):
    """Read a float of the contract as float64, by way of float32 where it is narrower.

    bfloat16 is the upper half of float32; Triton's interpreter converts subnormal ones to 0.
    """
    if value.dtype == tl.bfloat16:
        bits = value.to(tl.int16, bitcast=True).to(tl.int32) << 16
        value = bits.to(tl.float32, bitcast=True)
    elif value.dtype == tl.float16:
        value = value.to(tl.float32)
    return value.to(tl.float64)


@triton.jit
def power_of_two(exponent):
    """Return 2**exponent as float64, for exponents (int64) of normal numbers."""
    return ((exponent + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def read_rows(
    latents,
    row_stride,
    column_stride,
    centre,
    constants,
    narrow,
    units,
    squares,
    moves,
    errors,
    counters,
    rows,
    dim,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Centre and scale latents, round them to float16, and measure what that changed.

    Out, for each row: `narrow` float16 (N, PADDED), the numbers q in a unit of the row; `units`
    float64, a power of two, or 0 where the row cannot be read (not finite, or too far from all
    codes); `squares` its squared norm, `moves` the residual of latent and codes, `errors` the bound
    of its scores, all float64 in units of the codes. The first of `counters` is set to 0.
    """
    if tl.program_id(0) == 0:
        tl.store(counters, 0)
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    scale = tl.load(constants + 0)
    code_residual = tl.load(constants + 1)
    code_norm = tl.load(constants + 2)
    relative = tl.load(constants + 3)
    start = latents + row[:, None] * row_stride

    total = tl.zeros([BLOCK], dtype=tl.float64)
    for first in range(0, PADDED, CHUNK):
        column = first + tl.arange(0, CHUNK)
        used = inside[:, None] & (column < dim)[None, :]
        place = start + column[None, :].to(tl.int64) * column_stride
        middle = tl.load(centre + column, mask=column < dim, other=0.0)
        value = exact_float64(tl.load(place, mask=used, other=0.0))
        centred = tl.where(used, value - middle[None, :], 0.0) * scale
        total += tl.sum(centred * centred, axis=1)

    readable = total < 2.0**120  # also false for NaN
    exponent = ((tl.where(readable, total, 1.0).to(tl.int64, bitcast=True) >> 52) & 2047) - 1023
    shift = tl.maximum((exponent + 2) >> 1, 15) - 15
    unit = power_of_two(shift)
    inverse = power_of_two(-shift)

    norm = tl.zeros([BLOCK], dtype=tl.float64)
    residual = tl.zeros([BLOCK], dtype=tl.float64)
    for first in range(0, PADDED, CHUNK):
        column = first + tl.arange(0, CHUNK)
        used = inside[:, None] & (column < dim)[None, :]
        place = start + column[None, :].to(tl.int64) * column_stride
        middle = tl.load(centre + column, mask=column < dim, other=0.0)
        value = exact_float64(tl.load(place, mask=used, other=0.0))
        centred = tl.where(used & readable[:, None], value - middle[None, :], 0.0) * scale
        scaled = centred * inverse[:, None]
        kept = tl.where(tl.abs(scaled) < 2.0**-14, 0.0, scaled)
        rounded = kept.to(tl.float32).to(tl.float16)
        tl.store(narrow + row[:, None] * PADDED + column[None, :], rounded, mask=inside[:, None])
        taken = exact_float64(rounded)
        norm += tl.sum(taken * taken, axis=1)
        residual += tl.sum((scaled - taken) * (scaled - taken), axis=1)

    square = norm * unit * unit
    latent_norm = tl.sqrt(square)
    latent_norm += latent_norm * 2.0**-30
    tl.store(units + row, tl.where(readable, unit, 0.0), mask=inside)
    tl.store(squares + row, square, mask=inside)
    tl.store(moves + row, tensor_residual(residual, unit) + code_residual, mask=inside)
    error = tensor_score_error(latent_norm, code_norm, relative, unit)
    tl.store(errors + row, error, mask=inside)


@triton.jit
def scores_of(
    held,
    start,
    inside,
    share,
    codes,
    offsets,
    first,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    CODES: tl.constexpr,
):
    """Score one tile of codes: `q . c' - |c'|^2 / 2` in the units of the rows, float32.

    The place of the tile is a scalar and that of a number in it is not, so that addresses become
    constant distances from one register.
    """
    column = tl.arange(0, CODES)
    inner = tl.arange(0, CHUNK)
    place = column[None, :] * PADDED + inner[:, None]
    tile = codes + tl.cast(first, tl.int64) * PADDED
    products = tl.zeros([BLOCK, CODES], dtype=tl.float32)
    if PADDED == CHUNK:
        products = tl.dot(held, tl.load(tile + place), products)
    else:
        for at in range(0, PADDED, CHUNK):
            point = tl.load(start + at + inner[None, :], mask=inside[:, None], other=0.0)
            products = tl.dot(point, tl.load(tile + at + place), products)
    offset = tl.load(offsets + first + column)
    return products - share[:, None] * offset[None, :]


@triton.jit
def scan_codes(
    narrow,
    codes,
    offsets,
    units,
    squares,
    moves,
    errors,
    groups,
    reaches,
    thresholds,
    found,
    pending,
    counters,
    rows,
    supers,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    CODES: tl.constexpr,
    TILES: tl.constexpr,
    COLUMNS: tl.constexpr,
    NAME_BITS: tl.constexpr,
):
    """Score all codes and find the rows of which a single group can hold a nearest code.

    A tile is folded to `COLUMNS` columns by their maxima; of each column the greatest two scores of
    groups are kept. If the best group of a row is alone above the threshold, then every nearest
    code is in it.

    Out, for each row: `groups` int32, the first code of that group, -1 where another code may be
    nearest, -2 where the row cannot be read; `reaches` float64, how far below the best score a
    nearest code can be, in units of the codes; `thresholds` float32, the score that every nearest
    code has at least, in the unit of the row; `found` int32, 0. The rows of -1 are appended to
    `pending` int32, in any order; `counters` int32 (2,) holds how many there are.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    unit = tl.load(units + row, mask=inside, other=0.0)
    inverse = tl.where(unit > 0.0, 1.0 / tl.where(unit > 0.0, unit, 1.0), 0.0)
    share = inverse.to(tl.float32)
    start = narrow + row[:, None] * PADDED
    name_mask: tl.constexpr = (1 << NAME_BITS) - 1
    column = tl.arange(0, COLUMNS)
    least = -(2.0**125)

    best = tl.full([BLOCK, COLUMNS], least, dtype=tl.float32)
    second = tl.full([BLOCK, COLUMNS], least, dtype=tl.float32)
    held = tl.load(start + tl.arange(0, CHUNK)[None, :], mask=inside[:, None], other=0.0)
    for sup in range(supers):
        for tile in tl.static_range(TILES):
            first = (sup * TILES + tile) * CODES
            score = scores_of(
                held, start, inside, share, codes, offsets, first, PADDED, BLOCK, CHUNK, CODES
            )
            if CODES != COLUMNS:
                score = tl.max(tl.reshape(score, [BLOCK, CODES // COLUMNS, COLUMNS]), axis=1)
            if tile == 0:  # noqa: SIM108  (an expression would use `group` before it is set)
                group = score
            else:
                group = tl.maximum(group, score)
        bits = (group.to(tl.int32, bitcast=True) & ~name_mask) | sup
        named = bits.to(tl.float32, bitcast=True)
        second = tl.maximum(second, tl.minimum(best, named))
        best = tl.maximum(best, named)

    top, where = tl.max(best, axis=1, return_indices=True)
    square = tl.load(squares + row, mask=inside, other=0.0)
    moved = tl.load(moves + row, mask=inside, other=0.0)
    error = tl.load(errors + row, mask=inside, other=0.0)
    wide = top.to(tl.float64)
    distance = tensor_distance(square, wide * unit, error)
    reach = tensor_reach(distance, moved, error, wide * unit, unit)
    threshold = (wide - reach * inverse).to(tl.float32)
    rivals = tl.where(column[None, :] == where[:, None], second, best)
    alone = tl.max(rivals, axis=1) < threshold
    readable = unit > 0.0
    name = top.to(tl.int32, bitcast=True) & name_mask
    # by way of int64, which is what the interpreter of Triton 3.2 takes `where` for
    group_start = (name * (TILES * CODES) + where).to(tl.int64).to(tl.int32)
    tl.store(groups + row, tl.where(readable, tl.where(alone, group_start, -1), -2), mask=inside)
    tl.store(reaches + row, reach, mask=inside)
    tl.store(thresholds + row, threshold, mask=inside)
    tl.store(found + row, tl.zeros([BLOCK], dtype=tl.int32), mask=inside)
    crowded = tl.where(inside & readable, tl.where(alone, 0, 1), 0)
    place = tl.atomic_add(counters, tl.sum(crowded, axis=0)) + tl.cumsum(crowded, axis=0) - 1
    tl.store(pending + place, row.to(tl.int32), mask=crowded > 0)


@triton.jit
def collect_codes(
    narrow,
    codes,
    offsets,
    units,
    thresholds,
    found,
    candidates,
    pending,
    counters,
    slices,
    tiles,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    CODES: tl.constexpr,
    MOST: tl.constexpr,
):
    """List all codes that reach the threshold, for the pending rows.

    A program takes a block of pending rows and one of `slices` slices of the tiles of codes at a
    time. Out: `found` int32, how many codes of each row; `candidates` int32 (N, MOST), the first
    that were found, in any order.
    """
    many = tl.load(counters)
    items = tl.cdiv(many, BLOCK) * slices
    column = tl.arange(0, CODES)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        place = (item // slices) * BLOCK + tl.arange(0, BLOCK)
        inside = place < many
        row = tl.load(pending + place, mask=inside, other=0).to(tl.int64)
        unit = tl.load(units + row, mask=inside, other=1.0)
        share = (1.0 / unit).to(tl.float32)
        threshold = tl.load(thresholds + row, mask=inside, other=float("inf"))
        start = narrow + row[:, None] * PADDED
        held = tl.load(start + tl.arange(0, CHUNK)[None, :], mask=inside[:, None], other=0.0)
        for tile in range(item % slices, tiles, slices):
            first = tile * CODES
            score = scores_of(
                held, start, inside, share, codes, offsets, first, PADDED, BLOCK, CHUNK, CODES
            )
            above = score >= threshold[:, None]
            if tl.max(tl.max(above.to(tl.int32), axis=1), axis=0) > 0:  # in few tiles
                number = tl.zeros([BLOCK, CODES], dtype=tl.int32)
                slot = tl.atomic_add(found + row[:, None] + number, number + 1, mask=above)
                target = candidates + row[:, None] * MOST + slot
                tl.store(target, first + column[None, :] + number, mask=above & (slot < MOST))


@triton.jit
def distances_of(
    start, column_stride, vectors, code, present, dim, BLOCK: tl.constexpr, CHUNK: tl.constexpr
):
    """Squared distances in float64 of latents to one code each, infinity where none is present."""
    vector = vectors + code[:, None] * dim
    distance = tl.zeros([BLOCK], dtype=tl.float64)
    for first in range(0, dim, CHUNK):
        column = (first + tl.arange(0, CHUNK)).to(tl.int64)
        used = present[:, None] & (column < dim)[None, :]
        point = tl.load(start + column[None, :] * column_stride, mask=used, other=0.0)
        entry = tl.load(vector + column[None, :], mask=used, other=0.0)
        difference = exact_float64(point) - exact_float64(entry)
        distance += tl.sum(difference * difference, axis=1)
    return tl.where(present, distance, float("inf"))


@triton.jit
def settle_rows(
    latents,
    row_stride,
    column_stride,
    vectors,
    lowest,
    constants,
    groups,
    reaches,
    found,
    candidates,
    pending,
    counters,
    chosen,
    ways,
    sqdists,
    rows,
    dim,
    distinct,
    blocks,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    COLUMNS: tl.constexpr,
    MEMBERS: tl.constexpr,
    MOST: tl.constexpr,
):
    """Decide rows by float64 squared distances of their candidates.

    The first `blocks` programs take the rows of a single group, the others the pending ones.

    Out, for each row: `chosen` int64, the code; `sqdists` float64; `ways` uint8: 1 if the nearest
    code of a single group leads the others of it by what the filter needs too, 2 if it is less by
    the intervals of both distances, 0 where the row stays open. `counters` int32 (2,): its second
    number is how many rows stay open or have a distance whose terms may have underflowed.
    """
    farther = tl.load(constants + 4)
    slack = tl.load(constants + 5)
    lead = tl.load(constants + 6)
    smallest = tl.load(constants + 7)
    many = tl.load(counters)
    program = tl.program_id(0)
    first_item = tl.where(program < blocks, program, program - blocks)
    step = tl.where(program < blocks, blocks, tl.num_programs(0) - blocks)
    limit = tl.where(program < blocks, rows, many)
    single = (program + tl.zeros([BLOCK], dtype=tl.int32)) < blocks
    several = (program + tl.zeros([BLOCK], dtype=tl.int32)) >= blocks
    for item in range(first_item, tl.cdiv(limit, BLOCK), step):
        place = tl.cast(item, tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = place < limit
        listed = tl.load(pending + place, mask=inside & several, other=0).to(tl.int64)
        row = tl.where(single, place, listed)
        group = tl.load(groups + row, mask=inside, other=-1)
        taken = inside & (several | (group != -1))
        collected = tl.load(found + row, mask=inside & several, other=0)
        collected = tl.where(collected <= MOST, collected, 0)
        count = tl.where(single, tl.where(group >= 0, MEMBERS, 0), collected)
        start = latents + row[:, None] * row_stride

        best = tl.full([BLOCK], float("inf"), dtype=tl.float64)
        second = tl.full([BLOCK], float("inf"), dtype=tl.float64)
        winner = tl.zeros([BLOCK], dtype=tl.int64)
        for at in range(tl.max(count, axis=0)):
            candidate = tl.load(candidates + row * MOST + at, mask=several & (at < count), other=0)
            code = tl.where(single, group + at * COLUMNS, candidate).to(tl.int64)
            present = (at < count) & (code < distinct)
            distance = distances_of(start, column_stride, vectors, code, present, dim, BLOCK, CHUNK)
            nearer = distance < best
            second = tl.where(nearer, best, tl.minimum(second, distance))
            winner = tl.where(nearer, code, winner)
            best = tl.where(nearer, distance, best)

        decided = (count > 0) & (second > best + best * farther + slack)
        reach = tl.load(reaches + row, mask=inside, other=0.0)
        needed = 2.0 * (reach * lead) * lead
        alone = single & (second > best + needed)
        way = tl.where(decided, tl.where(alone, 1, 2), 0)
        tl.store(chosen + row, tl.load(lowest + winner), mask=taken)
        tl.store(sqdists + row, best, mask=taken)
        tl.store(ways + row, way.to(tl.uint8), mask=taken)
        left = taken & ((way == 0) | (best < smallest))
        tl.atomic_add(counters + 1, tl.sum(left.to(tl.int32), axis=0))


@triton.jit
def widen(values, widened, count, BLOCK: tl.constexpr):
    """Convert floats of the contract to float64 as the other kernels do, to see it is exact."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(values + place, mask=place < count, other=0.0)
    tl.store(widened + place, exact_float64(value), mask=place < count)


@triton.jit
def accumulate(
    left, right, start, sums, TERMS: tl.constexpr, CHUNK: tl.constexpr, SIZE: tl.constexpr
):
    """Add products to accumulators on tensor cores as the scan does, to see how much they err.

    In: `left` and `right` float16 (SIZE, TERMS), `start` float32 (SIZE, SIZE). Out: `sums`, too.
    """
    row, inner = tl.arange(0, SIZE), tl.arange(0, CHUNK)
    place = row[:, None] * SIZE + row[None, :]
    total = tl.load(start + place)
    for first in range(0, TERMS, CHUNK):
        a = tl.load(left + row[:, None] * TERMS + first + inner[None, :])
        b = tl.load(right + row[None, :] * TERMS + first + inner[:, None])
        total = tl.dot(a, b, total)
    tl.store(sums + place, total)
