"""The three Triton kernels: read the latents, scan the codes, settle the candidates.

In: pointers. Out: see each kernel. Every product of float16 numbers is exact in float32, so that
only the sums of the tensor cores err; what they err by is `certvq.bounds.tensor_score_error`. All
bounds and distances are in float64, which GPUs compute as IEEE 754 says. Must not import anything
of certvq but the generated bounds.

Names: a *group* is the codes of one column in `TILES` tiles that follow one another; its score is
the greatest of theirs, and the number of its super-tile stands in the low bits of that score.
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
    of its scores, all float64 in units of the codes.
    """
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
def scan_codes(
    narrow,
    codes,
    offsets,
    units,
    squares,
    moves,
    errors,
    groups,
    counts,
    reaches,
    rows,
    supers,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    CODES: tl.constexpr,
    TILES: tl.constexpr,
    NAME_BITS: tl.constexpr,
    LISTED: tl.constexpr,
):
    """Score all codes and list the groups that can hold a nearest code.

    Of each column the greatest two scores of groups are kept. A row is listed if no second one
    reaches the threshold and at most `LISTED` first ones do: these are all groups that do.

    Out, for each row: `groups` int32 (N, LISTED), each the index of the group's first code;
    `counts` int32, how many of them, 0 where the row stays open; `reaches` float64, how far below
    the best score a nearest code can be, in units of the codes.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    unit = tl.load(units + row, mask=inside, other=0.0)
    inverse = tl.where(unit > 0.0, 1.0 / tl.where(unit > 0.0, unit, 1.0), 0.0)
    share = inverse.to(tl.float32)
    start = narrow + row[:, None] * PADDED
    name_mask: tl.constexpr = (1 << NAME_BITS) - 1
    column = tl.arange(0, CODES)
    inner = tl.arange(0, CHUNK)
    least = -(2.0**125)

    best = tl.full([BLOCK, CODES], least, dtype=tl.float32)
    second = tl.full([BLOCK, CODES], least, dtype=tl.float32)
    held = tl.load(start + inner[None, :], mask=inside[:, None], other=0.0)
    for sup in range(supers):
        for tile in tl.static_range(TILES):
            code = (sup * TILES + tile) * CODES + column
            vector = codes + code[None, :].to(tl.int64) * PADDED
            products = tl.zeros([BLOCK, CODES], dtype=tl.float32)
            if PADDED == CHUNK:
                part = tl.load(vector + inner[:, None])
                products = tl.dot(held, part, products)
            else:
                for first in range(0, PADDED, CHUNK):
                    point = tl.load(start + first + inner[None, :], mask=inside[:, None], other=0.0)
                    part = tl.load(vector + first + inner[:, None])
                    products = tl.dot(point, part, products)
            offset = tl.load(offsets + code)
            score = products - share[:, None] * offset[None, :]
            if tile == 0:  # noqa: SIM108  (an expression would use `group` before it is set)
                group = score
            else:
                group = tl.maximum(group, score)
        bits = (group.to(tl.int32, bitcast=True) & ~name_mask) | sup
        named = bits.to(tl.float32, bitcast=True)
        second = tl.maximum(second, tl.minimum(best, named))
        best = tl.maximum(best, named)

    top = tl.max(best, axis=1)
    square = tl.load(squares + row, mask=inside, other=0.0)
    moved = tl.load(moves + row, mask=inside, other=0.0)
    error = tl.load(errors + row, mask=inside, other=0.0)
    wide = top.to(tl.float64)
    distance = tensor_distance(square, wide * unit, error)
    reach = tensor_reach(distance, moved, error, wide * unit, unit)
    threshold = (wide - reach * inverse).to(tl.float32)
    crowded = ~(tl.max(second, axis=1) < threshold)
    above = (best >= threshold[:, None]).to(tl.int32)
    count = tl.sum(above, axis=1)
    listed = (unit > 0.0) & ~crowded & (count <= LISTED)

    for place in range(tl.minimum(tl.max(count, axis=0), LISTED)):
        greatest, where = tl.max(best, axis=1, return_indices=True)
        name = greatest.to(tl.int32, bitcast=True) & name_mask
        tl.store(groups + row * LISTED + place, name * (TILES * CODES) + where, mask=inside)
        best = tl.where(column[None, :] == where[:, None], least, best)
    tl.store(counts + row, tl.where(listed, count, 0), mask=inside)
    tl.store(reaches + row, reach, mask=inside)


@triton.jit
def settle_rows(
    latents,
    row_stride,
    column_stride,
    vectors,
    lowest,
    constants,
    groups,
    counts,
    reaches,
    chosen,
    ways,
    sqdists,
    rows,
    dim,
    distinct,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    CODES: tl.constexpr,
    TILES: tl.constexpr,
    LISTED: tl.constexpr,
):
    """Decide the rows that are listed by float64 squared distances of their candidates.

    Out, for each row: `chosen` int64, the code; `sqdists` float64; `ways` uint8: 1 if one group was
    listed and its nearest code leads the others of it by what the filter needs too, 2 if it is less
    by the intervals of both distances, 0 where the row stays open.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    farther = tl.load(constants + 4)
    slack = tl.load(constants + 5)
    lead = tl.load(constants + 6)
    count = tl.load(counts + row, mask=inside, other=0)
    start = latents + row[:, None] * row_stride

    best = tl.full([BLOCK], float("inf"), dtype=tl.float64)
    second = tl.full([BLOCK], float("inf"), dtype=tl.float64)
    winner = tl.zeros([BLOCK], dtype=tl.int64)
    for place in range(tl.max(count, axis=0)):
        first_code = tl.load(groups + row * LISTED + place, mask=inside, other=0)
        for tile in tl.static_range(TILES):
            code = (first_code + tile * CODES).to(tl.int64)
            present = (place < count) & (code < distinct)
            vector = vectors + code[:, None] * dim
            distance = tl.zeros([BLOCK], dtype=tl.float64)
            for first in range(0, dim, CHUNK):
                column = (first + tl.arange(0, CHUNK)).to(tl.int64)
                used = present[:, None] & (column < dim)[None, :]
                point = tl.load(start + column[None, :] * column_stride, mask=used, other=0.0)
                entry = tl.load(vector + column[None, :], mask=used, other=0.0)
                difference = exact_float64(point) - exact_float64(entry)
                distance += tl.sum(difference * difference, axis=1)
            distance = tl.where(present, distance, float("inf"))
            nearer = distance < best
            second = tl.where(nearer, best, tl.minimum(second, distance))
            winner = tl.where(nearer, code, winner)
            best = tl.where(nearer, distance, best)

    decided = (count > 0) & (second > best + best * farther + slack)
    reach = tl.load(reaches + row, mask=inside, other=0.0)
    needed = 2.0 * (reach * lead) * lead
    alone = (count == 1) & (second > best + needed)
    way = tl.where(decided, tl.where(alone, 1, 2), 0)
    tl.store(chosen + row, tl.load(lowest + winner), mask=inside)
    tl.store(sqdists + row, best, mask=inside)
    tl.store(ways + row, way.to(tl.uint8), mask=inside)


@triton.jit
def widen(values, widened, count, BLOCK: tl.constexpr):
    """Convert floats of the contract to float64 as the other kernels do, to see it is exact."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(values + place, mask=place < count, other=0.0)
    tl.store(widened + place, exact_float64(value), mask=place < count)
