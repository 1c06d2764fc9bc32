/// The one body of all instruction sets: fixed-point scores, their best groups, squared distances.
///
/// In: `Ops`, the vector type and its few operations, defined by the including `isa_*.cpp` inside an
/// unnamed namespace. Out: the functions of the table `Isa`.
///
/// Scores are exact: 16-bit integers multiplied and added in 32 bits, which int16_dot_exact keeps
/// from overflowing in any order of summation. Squared distances sum the same eight partial sums in
/// the same order everywhere, without contraction, so they are the same to the bit.

#include "read-inl.h"

using Ints = Ops::Ints;
constexpr int kLanes = Ops::kLanes;
constexpr int kPanelCodes = kBlocks * kLanes;

typedef double Doubles __attribute__((vector_size(64)));  // lowered to what the processor has
typedef double HalfDoubles __attribute__((vector_size(32)));
typedef double PairDoubles __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(32)));

template <class Vector>
inline Vector load(const void *data) {
  Vector vector;
  __builtin_memcpy(&vector, data, sizeof vector);
  return vector;
}

template <class Vector>
inline void store(void *data, Vector vector) {
  __builtin_memcpy(data, &vector, sizeof vector);
}

inline Doubles load_vector(const double *data) { return load<Doubles>(data); }
inline Doubles load_vector(const float *data) {
  return __builtin_convertvector(load<Floats>(data), Doubles);
}

inline double sum(Doubles v) {
  const HalfDoubles half = __builtin_shufflevector(v, v, 0, 1, 2, 3) +
                           __builtin_shufflevector(v, v, 4, 5, 6, 7);
  const PairDoubles pair = __builtin_shufflevector(half, half, 0, 1) +
                           __builtin_shufflevector(half, half, 2, 3);
  return pair[0] + pair[1];
}

void squares(const double *rows, const double *centre, std::int64_t count, std::int64_t stride,
             double *out) {
  for (std::int64_t row = 0; row < count; ++row, rows += stride) {
    Doubles total{};
    for (std::int64_t d = 0; d < stride; d += kPad) {
      const Doubles z = load_vector(rows + d) - load_vector(centre + d);
      total += z * z;
    }
    out[row] = sum(total);
  }
}

void quantize(const double *row, const double *centre, double scale, std::int64_t pairs,
              std::int32_t *out) {
  std::int64_t d = 0;
  for (; d + kPad <= 2 * pairs; d += kPad) {
    const Doubles z = (load_vector(row + d) - load_vector(centre + d)) * scale;
    store(out + d / 2, Ops::round(z));
  }
  if (d < 2 * pairs) {  // the padding of rows and centre is zero
    const Doubles z = (load_vector(row + d) - load_vector(centre + d)) * scale;
    const Ops::Shorts rounded = Ops::round(z);
    __builtin_memcpy(out + d / 2, &rounded, static_cast<std::size_t>(2 * pairs - d) * 2);
  }
}

inline Ints maximum(Ints a, Ints b) { return a > b ? a : b; }
inline Ints minimum(Ints a, Ints b) { return a < b ? a : b; }

/// Keep the two best groups of each lane; `group` replaces the low bits of the score.
inline void keep(Ints &best, Ints &second, Ints score, Ints mask, Ints group) {
  score = (score & mask) | group;
  second = maximum(second, minimum(best, score));
  best = maximum(best, score);
}

template <int kRows, bool kGrouped>
void scan_tile(const std::int32_t *integers, int shift, std::int32_t *state, const Panels &panels,
               std::int64_t first, std::int64_t last) {
  const std::int64_t pairs = panels.pairs;
  const Ints mask = Ops::broadcast(~((1 << panels.group_bits) - 1));
  const std::int16_t *codes = panels.integers + first * pairs * kPanelCodes * 2;
  for (std::int64_t panel = first; panel < last; ++panel) {
    Ints scores[kRows][kBlocks];
#pragma GCC unroll 8
    for (int block = 0; block < kBlocks; ++block) {
      const Ints offset =
          Ops::shift_right(load<Ints>(panels.offsets + panel * kPanelCodes + block * kLanes), shift);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) scores[row][block] = offset;
    }
    const std::int32_t *z = integers;
#pragma GCC unroll 1
    for (std::int64_t pair = 0; pair < pairs; ++pair, ++z, codes += kPanelCodes * 2) {
      Ints code[kBlocks];
#pragma GCC unroll 8
      for (int block = 0; block < kBlocks; ++block) {
        code[block] = load<Ints>(codes + block * kLanes * 2);
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        const Ints entry = Ops::broadcast(z[row * pairs]);
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          Ops::accumulate(scores[row][block], entry, code[block]);
        }
      }
    }
    const Ints group = Ops::broadcast(static_cast<std::int32_t>(kGrouped ? panel : panel * kBlocks));
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      std::int32_t *kept = state + row * 2 * kLanes;
      Ints best = load<Ints>(kept);
      Ints second = load<Ints>(kept + kLanes);
      if (kGrouped) {
        const Ints greatest = maximum(maximum(scores[row][0], scores[row][1]),
                                      maximum(scores[row][2], scores[row][3]));
        keep(best, second, greatest, mask, group);
      } else {
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          keep(best, second, scores[row][block], mask, group + block);
        }
      }
      store(kept, best);
      store(kept + kLanes, second);
    }
  }
}

template <int kRows>
void scan_rows(const Scan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = 0; row < scan.rows; row += kRows) {
    const std::int32_t *integers = scan.integers + row * panels.pairs;
    std::int32_t *state = scan.best + row * 2 * kLanes;
    if (panels.grouped) {
      scan_tile<kRows, true>(integers, scan.shifts[row], state, panels, first, last);
    } else {
      scan_tile<kRows, false>(integers, scan.shifts[row], state, panels, first, last);
    }
  }
}

/// Few products leave the time to the bookkeeping, which likes small tiles.
void scan(const Scan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  if (panels.pairs <= Ops::kFewPairs) {
    scan_rows<Ops::kSmallTile>(scan, panels, first, last);
  } else {
    scan_rows<Ops::kTile>(scan, panels, first, last);
  }
}

inline void append(Pairs &pairs, std::int32_t row, std::int64_t code, std::int64_t codes) {
  if (code >= codes) return;  // padding
  pairs.rows[pairs.count] = row;
  pairs.codes[pairs.count] = static_cast<std::int32_t>(code);
  ++pairs.count;
}

void candidates(const Scan &scan, std::int64_t rows, const Panels &panels,
                const std::int64_t *reach, std::int64_t codes, Pairs &pairs,
                std::int32_t *thresholds, std::uint8_t *crowded) {
  const std::int32_t name = (1 << panels.group_bits) - 1;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t *state = scan.best + row * 2 * kLanes;
    const Ints best = load<Ints>(state);
    const std::int64_t wanted = Ops::greatest(best) - reach[row];
    const std::int32_t threshold =
        wanted < kNothing ? kNothing : static_cast<std::int32_t>(wanted);
    thresholds[row] = threshold;
    crowded[row] = Ops::at_least(load<Ints>(state + kLanes), threshold) != 0;
    if (crowded[row]) continue;
    for (std::uint32_t left = Ops::at_least(best, threshold); left != 0; left &= left - 1) {
      const int lane = __builtin_ctz(left);
      const std::int64_t group = state[lane] & name;
      if (panels.grouped) {
        const std::int64_t code = group * kPanelCodes + lane * kBlocks;
        for (int block = 0; block < kBlocks; ++block) {
          append(pairs, static_cast<std::int32_t>(row), code + block, codes);
        }
      } else {
        const std::int64_t code = group / kBlocks * kPanelCodes + lane * kBlocks + group % kBlocks;
        append(pairs, static_cast<std::int32_t>(row), code, codes);
      }
    }
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
inline double one_sqdist(const double *row, const Entry *vector, std::int64_t stride) {
  Doubles total{};
  for (std::int64_t d = 0; d < stride; d += kPad) {
    const Doubles difference = load_vector(row + d) - load_vector(vector + d);
    total += difference * difference;
  }
  return sum(total);
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

template <class Entry>
inline void transpose_vectors(const Entry *vectors, std::int64_t count, std::int64_t stride,
                              std::int64_t dim, double *out) {
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t code = 0; code < kDenseCodes; ++code) {
      const std::int64_t source = code < count ? code : 0;
      out[d * kDenseCodes + code] = static_cast<double>(vectors[source * stride + d]);
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

void dense(const double *row, const double *transposed, std::int64_t dim, double *out) {
  Doubles total[kDenseCodes / kPad] = {};
  for (std::int64_t d = 0; d < dim; ++d, transposed += kDenseCodes) {
    const Doubles x = Doubles{} + row[d];
#pragma GCC unroll 4
    for (int part = 0; part < kDenseCodes / kPad; ++part) {
      const Doubles difference = x - load_vector(transposed + part * kPad);
      total[part] += difference * difference;
    }
  }
  for (int part = 0; part < kDenseCodes / kPad; ++part) store(out + part * kPad, total[part]);
}
