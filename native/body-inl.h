/// The one body of all instruction sets: fixed-point scores, their best groups, squared distances.
///
/// In: `Ops`, the vector type and its few operations, defined by the including `isa_*.cpp` inside an
/// unnamed namespace. Out: the functions of the table `Isa`.
///
/// Scores are exact: 16-bit integers multiplied and added in 32 bits, which int16_dot_exact keeps
/// from overflowing in any order of summation. Squared distances sum the same eight partial sums in
/// the same order everywhere, without contraction, so they are the same to the bit.

#include "read-inl.h"
#include "vectors-inl.h"

#include "rounded-inl.h"

void products(const double *rows, std::int64_t count, std::int64_t stride, const double *centre,
              const double *vectors, double *out) {
  constexpr int kHalf = kPad / 2;
  for (std::int64_t row = 0; row < count; ++row, rows += stride) {
#pragma GCC unroll 2
    for (int first = 0; first < kPad; first += kHalf) {
      Sum total[kHalf];
      for (std::int64_t d = 0; d < stride; d += kPad) {
        const Doubles x = load_vector(rows + d) - load_vector(centre + d);
#pragma GCC unroll 4
        for (int i = 0; i < kHalf; ++i) total[i].add(x * load_vector(vectors + (first + i) * stride + d));
      }
      store(out + row * kPad + first, sums(total));
    }
  }
}

/// Sums of squares, of what rounding left of a row and of the integers.
struct Rounded {
  Sum left;
  Sum norm;
};

/// Inlined, as a call would have the sums kept in memory.
template <class Entry>
__attribute__((always_inline)) inline Ops::Shorts round_part(const Entry *row, const double *centre,
                                                             double scale, Rounded &rounded) {
  const Doubles z = (load_vector(row) - load_vector(centre)) * scale;
  const Ops::Shorts parts = Ops::round(z);
  const Doubles integers = Ops::numbers<Doubles>(parts);
  rounded.left.add_square(z - integers);
  rounded.norm.add_square(integers);
  return parts;
}

template <class Entry>
__attribute__((always_inline)) inline Rounded quantize_row(const Entry *row, const double *centre,
                                                           double scale, std::int64_t pairs,
                                                           std::int32_t *out) {
  Rounded rounded;
  std::int64_t d = 0;
  for (; d + kPad <= 2 * pairs; d += kPad) {
    store(out + d / 2, round_part(row + d, centre + d, scale, rounded));
  }
  if (d < 2 * pairs) {  // the padding of rows and centre is zero
    const Ops::Shorts parts = round_part(row + d, centre + d, scale, rounded);
    __builtin_memcpy(out + d / 2, &parts, static_cast<std::size_t>(2 * pairs - d) * 2);
  }
  return rounded;
}

void quantize(const double *rows, const double *centre, double scale, std::int64_t count,
              std::int64_t stride, std::int64_t pairs, std::int32_t *out, double *residuals,
              double *norms) {
  std::int64_t row = 0;
  for (; row + 4 <= count; row += 4) {
    Sum left[4];
    Sum norm[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Rounded rounded =
          quantize_row(rows + (row + i) * stride, centre, scale, pairs, out + (row + i) * pairs);
      left[i] = rounded.left;
      norm[i] = rounded.norm;
    }
    store(residuals + row, sums(left));
    store(norms + row, sums(norm));
  }
  for (; row < count; ++row) {
    const Rounded rounded = quantize_row(rows + row * stride, centre, scale, pairs, out + row * pairs);
    residuals[row] = rounded.left.all();
    norms[row] = rounded.norm.all();
  }
}

inline double lesser(double a, double b) { return a < b ? a : b; }
inline double greater(double a, double b) { return a > b ? a : b; }

#include "pack-inl.h"

#include "scan-inl.h"

inline void append(Pairs &pairs, std::int32_t row, std::int64_t code, std::int64_t codes) {
  if (code >= codes) return;  // padding
  pairs.rows[pairs.count] = row;
  pairs.codes[pairs.count] = static_cast<std::int32_t>(code);
  ++pairs.count;
}

template <class Entry>
inline double one_sqdist(const double *row, const Entry *vector, std::int64_t stride) {
  Sum total;
  for (std::int64_t d = 0; d < stride; d += kPad) {
    total.add_square(load_vector(row + d) - load_vector(vector + d));
  }
  return total.all();
}

/// Squared distances to the four neighbours of a group; each is the sum that `one_sqdist` computes.
template <class Entry>
__attribute__((always_inline)) inline HalfDoubles group_sqdist(const double *row, const Entry *vectors,
                                                               std::int64_t stride, bool narrow) {
  if (narrow) {  // what is left out adds zeros
    const HalfDoubles x = load_half(row);
    HalfDoubles squares[kBlocks];
#pragma GCC unroll 4
    for (int code = 0; code < kBlocks; ++code) {
      const HalfDoubles difference = x - load_half(vectors + code * stride);
      squares[code] = difference * difference;
    }
    return sums(squares);
  }
  Sum total[kBlocks];
  for (std::int64_t d = 0; d < stride; d += kPad) {
    const Doubles x = load_vector(row + d);
#pragma GCC unroll 4
    for (int code = 0; code < kBlocks; ++code) {
      total[code].add_square(x - load_vector(vectors + code * stride + d));
    }
  }
  return sums(total);
}

inline std::int64_t first_code(std::int32_t score, int lane, const Panels &panels) {
  const std::int64_t group = score & ((1 << panels.group_bits) - 1);
  if (panels.grouped) return group * kPanelCodes + lane * kBlocks;
  return group / kBlocks * kPanelCodes + lane * kBlocks + group % kBlocks;
}

/// Settle a row whose group stands alone; false if two of its codes are too close to each other.
template <class Entry>
inline bool settle_group(const Exact &exact, const double *row, const Entry *vectors,
                         std::int64_t code, double clear, const Settled &settled,
                         std::int64_t place) {
  HalfDoubles sqdist = group_sqdist(row, vectors + code * exact.stride, exact.stride, exact.narrow);
  for (std::int64_t padding = exact.codes; padding < code + kBlocks; ++padding) {
    sqdist[padding - code] = __builtin_huge_val();
  }
  // Without branches: which of the four is nearest cannot be predicted.
  const double low = lesser(sqdist[0], sqdist[1]);
  const double high = greater(sqdist[0], sqdist[1]);
  const double other_low = lesser(sqdist[2], sqdist[3]);
  const double other_high = greater(sqdist[2], sqdist[3]);
  const double least = lesser(low, other_low);
  const double next = lesser(greater(low, other_low), lesser(high, other_high));
  const unsigned equal = static_cast<unsigned>(sqdist[0] == least) |
                         static_cast<unsigned>(sqdist[1] == least) << 1 |
                         static_cast<unsigned>(sqdist[2] == least) << 2 | 8u;
  const int nearest = __builtin_ctz(equal);
  settled.codes[place] = static_cast<std::int32_t>(code + nearest);
  settled.sqdist[place] = least;
  settled.next[place] = next;
  return next > (least + clear) * exact.relative + exact.slack;
}

template <class Entry>
inline void settle_rows(const Scan &scan, std::int64_t rows, const Panels &panels,
                        const Exact &exact, const Entry *vectors, const std::int32_t *thresholds,
                        const double *clear, const Settled &settled, Pairs &pairs) {
  const std::int64_t codes = exact.codes;
  const std::int64_t stride = exact.stride;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t *state = scan.best + row * 2 * kLanes;
    const Ints best = load<Ints>(state);
    const std::int32_t threshold = thresholds[row];
    std::uint32_t left = Ops::at_least(best, threshold);
    if (Ops::at_least(load<Ints>(state + kLanes), threshold) != 0) {
      settled.states[row] = kCrowded;
      const int lane = __builtin_ctz(left);
      const std::int64_t code = first_code(state[lane], lane, panels);
      settled.sqdist[row] = code < codes ? one_sqdist(exact.rows + row * stride,
                                                      vectors + code * stride, stride)
                                         : __builtin_huge_val();
      continue;
    }
    if ((left & (left - 1)) == 0) {
      const int lane = __builtin_ctz(left);
      const std::int64_t code = first_code(state[lane], lane, panels);
      const double *x = exact.rows + row * stride;
      if (!panels.grouped) {
        settled.codes[row] = static_cast<std::int32_t>(code);
        settled.sqdist[row] = one_sqdist(x, vectors + code * stride, stride);
        settled.next[row] = __builtin_huge_val();
        settled.states[row] = kSettled;
        continue;
      }
      if (settle_group(exact, x, vectors, code, clear[row], settled, row)) {
        settled.states[row] = kSettled;
        continue;
      }
    }
    settled.states[row] = kSeveral;
    for (; left != 0; left &= left - 1) {
      const int lane = __builtin_ctz(left);
      const std::int64_t code = first_code(state[lane], lane, panels);
      for (int block = 0; block < (panels.grouped ? kBlocks : 1); ++block) {
        append(pairs, static_cast<std::int32_t>(row), code + block, codes);
      }
    }
  }
}

/// Groups without a code are nothing: `real` codes of the last panel are no padding.
inline Ints without_padding(Ints scores, const Panels &panels, std::int64_t real) {
  Ints places{};
  for (int lane = 0; lane < kLanes; ++lane) places[lane] = lane * kBlocks;
  const Ints names = scores & Ops::broadcast((1 << panels.group_bits) - 1);
  const Ints panel = panels.grouped ? names : names / kBlocks;
  const Ints place = panels.grouped ? places : places + names % kBlocks;
  const Ints padding = (panel == static_cast<std::int32_t>(panels.count - 1)) &
                       (place >= static_cast<std::int32_t>(real));
  return padding ? Ops::broadcast(kNothing) : scores;
}

void leading(const Memory &memory, std::int64_t rows, const Panels &panels, std::int64_t codes,
             int count, std::int32_t *out) {
  constexpr int kFolds = kSlots / kLanes;
  const Ints nothing = Ops::broadcast(kNothing);
  const std::int64_t real = codes - (panels.count - 1) * kPanelCodes;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t *state = memory.best + row * 2 * kLanes;
    Ints slots[kFolds];
#pragma GCC unroll 8
    for (int fold = 0; fold < kFolds; ++fold) {
      slots[fold] = nothing;
      for (std::int64_t part = fold; part < memory.parts; part += kFolds) {
        slots[fold] = maximum(slots[fold], load<Ints>(state + part * memory.stride));
      }
      if (count > 1 && real < kPanelCodes) slots[fold] = without_padding(slots[fold], panels, real);
    }
    for (int place = 1;; ++place) {
      Ints best = slots[0];
#pragma GCC unroll 8
      for (int fold = 1; fold < kFolds; ++fold) best = maximum(best, slots[fold]);
      out[row] = Ops::greatest(best);
      if (place == count) break;
#pragma GCC unroll 8
      for (int fold = 0; fold < kFolds; ++fold) {
        slots[fold] = slots[fold] == out[row] ? nothing : slots[fold];
      }
    }
  }
}

void certify(const std::int32_t *scores, std::int64_t rows, const Panels &panels,
             const Quantized &quantized, std::int32_t *thresholds, double *clear) {
  const double names = static_cast<double>((1 << panels.group_bits) - 1);
  for (std::int64_t tile = 0; tile < rows; tile += kTileRows) {
    const double scale = quantized.scales[tile / kTileRows];
    const double inverse = 1.0 / scale;  // a power of two
    const double to_length = 4.0 * scale / (quantized.unit * quantized.unit);
    const double *norms = quantized.norms + tile;
    const double *residuals = quantized.residuals + tile;
    for (int row = 0; row < kTileRows; ++row) {
      const double score = static_cast<double>(scores[tile + row]);
      const double distance =
          bounds::fixed_point_distance(norms[row] * (scale * scale), score, scale, names);
      const double residual = bounds::fixed_point_residual(residuals[row], quantized.dim);
      const double reach = bounds::fixed_point_reach(distance, residual, quantized.code_residual,
                                                     scale, inverse, names) *
                           quantized.widen;
      const double threshold = score - reach - 1.0;  // the conversion rounds towards zero
      const double least = static_cast<double>(kNothing);
      thresholds[tile + row] = static_cast<std::int32_t>(threshold > least ? threshold : least);
      // Scores are half as far apart as squared distances; twice the reach is seen for certain.
      clear[tile + row] = reach * to_length;
    }
  }
}

void gaps(const Boxes &boxes, std::int64_t dim, const double *lower, const double *upper,
          double *out) {
  constexpr std::int64_t kWidth = sizeof(Register) / sizeof(double);  // GCC 12 keeps more in memory
  for (std::int64_t panel = 0; panel < boxes.stride; panel += kWidth) {
    Register total{};
    for (std::int64_t d = 0; d < dim; ++d) {
      const Register below = load<Register>(boxes.lower + d * boxes.stride + panel) - upper[d];
      const Register above = lower[d] - load<Register>(boxes.upper + d * boxes.stride + panel);
      Register gap = below > above ? below : above;
      gap = gap > Register{} ? gap : Register{};
      total += gap * gap;
    }
    store(out + panel, total);
  }
}

template <class Entry>
inline double greatest_sqdist(const Scan &scan, std::int64_t rows, const Panels &panels,
                              const Exact &exact, const Entry *vectors) {
  double result = 0.0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t *state = scan.best + row * 2 * kLanes;
    const Ints best = load<Ints>(state);
    const int lane = __builtin_ctz(Ops::at_least(best, Ops::greatest(best)));
    const std::int64_t code = first_code(state[lane], lane, panels);
    const double *x = exact.rows + row * exact.stride;
    double sqdist = __builtin_huge_val();
    for (std::int64_t other = code; other < code + (panels.grouped ? kBlocks : 1); ++other) {
      if (other >= exact.codes) break;  // padding
      sqdist = lesser(one_sqdist(x, vectors + other * exact.stride, exact.stride), sqdist);
    }
    result = greater(result, sqdist);
  }
  return result;
}

double reached(const Scan &scan, std::int64_t rows, const Panels &panels, const Exact &exact) {
  if (exact.wide) {
    return greatest_sqdist(scan, rows, panels, exact, static_cast<const double *>(exact.vectors));
  }
  return greatest_sqdist(scan, rows, panels, exact, static_cast<const float *>(exact.vectors));
}

void settle(const Scan &scan, std::int64_t rows, const Panels &panels, const Exact &exact,
            const std::int32_t *thresholds, const double *clear, const Settled &settled,
            Pairs &pairs) {
  if (exact.wide) {
    settle_rows(scan, rows, panels, exact, static_cast<const double *>(exact.vectors), thresholds,
                clear, settled, pairs);
  } else {
    settle_rows(scan, rows, panels, exact, static_cast<const float *>(exact.vectors), thresholds,
                clear, settled, pairs);
  }
}

bool collect(const std::int32_t *integers, int shift, std::int32_t threshold, const Panels &panels,
             std::int64_t codes, std::int32_t row, Pairs &pairs) {
  const std::int16_t *code = panels.integers;
  for (std::int64_t panel = 0; panel < panels.count; ++panel) {
    Ints scores[kBlocks];
#pragma GCC unroll 8
    for (int block = 0; block < kBlocks; ++block) {
      scores[block] =
          Ops::shift_right(load<Ints>(panels.offsets + panel * kPanelCodes + block * kLanes), shift);
    }
    for (std::int64_t pair = 0; pair < panels.pairs; ++pair, code += kPanelCodes * 2) {
      const Ints entry = Ops::broadcast(integers[pair]);
#pragma GCC unroll 8
      for (int block = 0; block < kBlocks; ++block) {
        Ops::accumulate(scores[block], entry, load<Ints>(code + block * kLanes * 2));
      }
    }
    const Ints greatest = maximum(maximum(scores[0], scores[1]), maximum(scores[2], scores[3]));
    if (Ops::at_least(greatest, threshold) == 0) continue;
    if (pairs.count + kPanelCodes > pairs.capacity) return false;
    for (int block = 0; block < kBlocks; ++block) {
      for (std::uint32_t left = Ops::at_least(scores[block], threshold); left; left &= left - 1) {
        append(pairs, row, panel * kPanelCodes + __builtin_ctz(left) * kBlocks + block, codes);
      }
    }
  }
  return true;
}

template <class Entry>
inline void each_sqdist(const double *rows, const Entry *vectors, std::int64_t stride,
                        const Pairs &pairs, double *out) {
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    out[pair] = one_sqdist(rows + pairs.rows[pair] * stride,
                           vectors + pairs.codes[pair] * stride, stride);
  }
}

void sqdist(const double *rows, const void *vectors, bool wide, std::int64_t stride,
            const Pairs &pairs, double *out) {
  if (wide) {
    each_sqdist(rows, static_cast<const double *>(vectors), stride, pairs, out);
  } else {
    each_sqdist(rows, static_cast<const float *>(vectors), stride, pairs, out);
  }
}

/// Transpose eight vectors of eight doubles, in three rounds that exchange ever larger parts.
inline void transpose_square(Doubles (&v)[kPad]) {
#pragma GCC unroll 8
  for (int i = 0; i < kPad; i += 2) {
    const Doubles a = v[i], b = v[i + 1];
    v[i] = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    v[i + 1] = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  }
#pragma GCC unroll 8
  for (int k = 0; k < kPad; k += 2) {
    const int i = k / 4 * 4 + k % 4 / 2;
    const Doubles a = v[i], b = v[i + 2];
    v[i] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    v[i + 2] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPad / 2; ++i) {
    const Doubles a = v[i], b = v[i + 4];
    v[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    v[i + 4] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

template <class Entry>
inline void transpose_vectors(const Entry *vectors, std::int64_t count, std::int64_t stride,
                              std::int64_t dim, double *out) {
  if constexpr (sizeof(Ints) < sizeof(Doubles)) {  // shuffles of such vectors take longer
    for (std::int64_t d = 0; d < dim; ++d) {
      for (std::int64_t code = 0; code < kDenseCodes; ++code) {
        const std::int64_t source = code < count ? code : 0;
        out[d * kDenseCodes + code] = static_cast<double>(vectors[source * stride + d]);
      }
    }
    return;
  }
  for (std::int64_t code = 0; code < kDenseCodes; code += kPad) {
    for (std::int64_t d = 0; d < dim; d += kPad) {
      Doubles square[kPad];
#pragma GCC unroll 8
      for (int i = 0; i < kPad; ++i) {
        const std::int64_t source = code + i < count ? code + i : 0;
        square[i] = load_vector(vectors + source * stride + d);
      }
      transpose_square(square);
      const std::int64_t rows = dim - d < kPad ? dim - d : kPad;
      for (std::int64_t i = 0; i < rows; ++i) store(out + (d + i) * kDenseCodes + code, square[i]);
    }
  }
}

void transpose(const void *vectors, bool wide, std::int64_t first, std::int64_t count,
               std::int64_t stride, std::int64_t dim, double *out) {
  if (wide) {
    transpose_vectors(static_cast<const double *>(vectors) + first * stride, count, stride, dim, out);
  } else {
    transpose_vectors(static_cast<const float *>(vectors) + first * stride, count, stride, dim, out);
  }
}

double dense(const double *row, const double *transposed, std::int64_t dim, double *out) {
  // As wide as a register: GCC 12 keeps sums of wider vectors in memory.
  typedef double Wide __attribute__((vector_size(sizeof(Ints))));
  constexpr int kWide = sizeof(Wide) / sizeof(double);
  constexpr int kSums = 8;
  Wide least = Wide{} + __builtin_huge_val();
  for (int begin = 0; begin < kDenseCodes; begin += kSums * kWide) {
    const double *vectors = transposed + begin;
    Wide total[kSums] = {};
    for (std::int64_t d = 0; d < dim; ++d, vectors += kDenseCodes) {
      const Wide x = Wide{} + row[d];
#pragma GCC unroll 8
      for (int part = 0; part < kSums; ++part) {
        const Wide difference = x - load<Wide>(vectors + part * kWide);
        total[part] = Ops::multiply_add(difference, difference, total[part]);
      }
    }
#pragma GCC unroll 8
    for (int part = 0; part < kSums; ++part) {
      store(out + begin + part * kWide, total[part]);
      least = total[part] < least ? total[part] : least;
    }
  }
  double result = least[0];
  for (int lane = 1; lane < kWide; ++lane) result = lesser(least[lane], result);
  return result;
}

std::int64_t wrapped(const std::int64_t *row, const std::int64_t *transposed, std::int64_t dim,
                     const double *sqdist, double limit, std::uint64_t base, std::uint64_t *out) {
  typedef std::uint64_t Words __attribute__((vector_size(64)));
  typedef std::int64_t Longs __attribute__((vector_size(64)));
  constexpr int kParts = kDenseCodes / kPad;
  Words total[kParts];
#pragma GCC unroll 8
  for (int part = 0; part < kParts; ++part) total[part] = Words{};
  for (std::int64_t d = 0; d < dim; ++d, transposed += kDenseCodes) {
    const Words x = Words{} + static_cast<std::uint64_t>(row[d]);
#pragma GCC unroll 8
    for (int part = 0; part < kParts; ++part) {
      const Words difference = x - load<Words>(transposed + part * kPad);
      total[part] += difference * difference;
    }
  }
  const Longs none = Longs{} + INT64_MAX;
  Longs least = none;
#pragma GCC unroll 8
  for (int part = 0; part < kParts; ++part) {
    store(out + part * kPad, total[part]);
    const Longs above = (Longs)(total[part] - base);
    const Longs open = load_vector(sqdist + part * kPad) > limit ? none : above;
    least = open < least ? open : least;
  }
  std::int64_t result = least[0];
  for (int lane = 1; lane < kPad; ++lane) result = least[lane] < result ? least[lane] : result;
  return result;
}

#include "near-inl.h"
#include "lead-inl.h"
#include "bytes-inl.h"

#include "table-inl.h"
