/// How each instruction set takes in a codebook: read, hash, sum, measure, write panels.
///
/// In: a `Matrix`, or vectors that `take` read from it. Out: raw memory of the packed codebook. It is
/// part of `body-inl.h`, whose types and rounding it uses. Hashes, sums and squares have one order
/// everywhere, so that packed codebooks are equal to the bit.

constexpr std::int64_t kAhead = 2048;  // bytes between what is fetched and what is written

/// Padding is zero and ends at a multiple of 32 bytes. Products of 32 bits: AVX2 has none of 64.
inline std::uint64_t hash_row(const char *row, std::int64_t bytes) {
  typedef std::uint32_t Parts __attribute__((vector_size(32)));
  typedef std::uint64_t Words __attribute__((vector_size(32)));
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15u;
  Parts parts = {1, 2, 3, 4, 5, 6, 7, 8};
  for (std::int64_t byte = 0; byte < bytes; byte += sizeof parts) {
    parts = (parts ^ load<Parts>(row + byte)) * static_cast<std::uint32_t>(kOdd);
    parts ^= parts >> 15;
  }
  const Words words = (Words)parts;
  std::uint64_t hash = 0;
  for (int lane = 0; lane < 4; ++lane) {
    hash = (hash ^ words[lane]) * kOdd;
    hash ^= hash >> 29;
  }
  return hash;
}

/// Bring in memory that is needed soon. Threads of an earlier call may have it in their caches, from
/// where no processor fetches it by itself before it is written. Addresses need not be valid.
inline void fetch(const void *data, std::int64_t offset, std::int64_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(offset);
  for (std::int64_t byte = 0; byte < bytes; byte += 64) {
    __builtin_prefetch(reinterpret_cast<const void *>(first + static_cast<std::uintptr_t>(byte)), 1);
  }
}

/// Entries are exact in `Out`; -0 becomes 0, the same number.
template <class Entry, class Out>
inline void take_block(const Matrix &matrix, std::int64_t first, std::int64_t count,
                       std::int64_t stride, Out *out, std::uint64_t *hashes) {
  const std::int64_t columns = matrix.columns;
  const std::int64_t size = sizeof(Entry);
  const std::int64_t bytes = stride * static_cast<std::int64_t>(sizeof(Out));
  const std::int64_t ahead = kAhead / bytes + 1;  // rows
  const Out *taken = out;
  for (std::int64_t row = 0; row < count; ++row, out += stride) {
    const char *from = static_cast<const char *>(matrix.data) + (first + row) * matrix.row_stride * size;
    const std::int64_t step = matrix.column_stride * size;
    fetch(from, ahead * matrix.row_stride * size, columns * size);
    fetch(out, ahead * bytes, bytes);
    const auto copy = [&](std::int64_t step) __attribute__((always_inline)) {
      const auto copy_part = [&](std::int64_t column, std::int64_t end) __attribute__((always_inline)) {
        for (; column < end; ++column) {
          Entry entry;  // by memcpy: the address need not be a multiple of the size
          __builtin_memcpy(&entry, from + column * step, sizeof entry);
          out[column] = static_cast<Out>(Reader<Entry>::exact(entry)) + Out{0};
        }
      };
      std::int64_t column = 0;
      for (; column + kPad <= columns; column += kPad) copy_part(column, column + kPad);
      copy_part(column, columns);
    };
    if (step == size) {
      copy(size);
    } else {
      copy(step);
    }
    for (std::int64_t column = columns; column < stride; ++column) out[column] = Out{0};
  }
  for (std::int64_t row = 0; row < count; ++row) {  // by now what was written can be read in one
    hashes[row] = hash_row(reinterpret_cast<const char *>(taken + row * stride), bytes);
  }
}

void take(const Matrix &matrix, std::int64_t first, std::int64_t count, std::int64_t stride, void *out,
          std::uint64_t *hashes) {
  auto *narrow = static_cast<float *>(out);
  switch (matrix.number) {
    case Number::kFloat64:
      return take_block<double>(matrix, first, count, stride, static_cast<double *>(out), hashes);
    case Number::kFloat32:
      return take_block<float>(matrix, first, count, stride, narrow, hashes);
    case Number::kBfloat16:
      return take_block<Bfloat16>(matrix, first, count, stride, narrow, hashes);
    case Number::kFloat16:
      return take_block<Half>(matrix, first, count, stride, narrow, hashes);
  }
}

template <class Entry>
inline void measure_vectors(const Entry *vectors, std::int64_t count, std::int64_t stride,
                            const double *centre, double *squares) {
  std::int64_t row = 0;
  for (; row + 4 <= count; row += 4, vectors += 4 * stride) {
    Sum total[4];
    for (std::int64_t d = 0; d < stride; d += kPad) {
      const Doubles middle = load_vector(centre + d);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        total[i].add_square(load_vector(vectors + i * stride + d) - middle);
      }
    }
    store(squares + row, sums(total));
  }
  for (; row < count; ++row, vectors += stride) {
    Sum total;
    for (std::int64_t d = 0; d < stride; d += kPad) {
      total.add_square(load_vector(vectors + d) - load_vector(centre + d));
    }
    squares[row] = total.all();
  }
}

void measure(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
             const double *centre, double *squares) {
  if (wide) return measure_vectors(static_cast<const double *>(vectors), count, stride, centre, squares);
  return measure_vectors(static_cast<const float *>(vectors), count, stride, centre, squares);
}

/// Rows of pairs, as many as a panel has codes, to the order of a panel.
inline void interleave(const std::int32_t *rows, std::int64_t pairs, std::int32_t *panel) {
  typedef std::int32_t Four __attribute__((vector_size(16)));
  std::int64_t pair = 0;
  for (; pair + 4 <= pairs; pair += 4) {
    for (int block = 0; block < kBlocks; ++block) {
      for (int lane = 0; lane < kLanes; lane += 4) {
        const std::int32_t *in = rows + (lane * kBlocks + block) * pairs + pair;
        std::int32_t *out = panel + pair * kPanelCodes + block * kLanes + lane;
        const Four a = load<Four>(in);
        const Four b = load<Four>(in + kBlocks * pairs);
        const Four c = load<Four>(in + 2 * kBlocks * pairs);
        const Four d = load<Four>(in + 3 * kBlocks * pairs);
        const Four low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const Four low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const Four high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const Four high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        store(out, __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5));
        store(out + kPanelCodes, __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7));
        store(out + 2 * kPanelCodes, __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5));
        store(out + 3 * kPanelCodes, __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7));
      }
    }
  }
  for (; pair < pairs; ++pair) {
    for (int code = 0; code < kPanelCodes; ++code) {
      panel[pair * kPanelCodes + code % kBlocks * kLanes + code / kBlocks] = rows[code * pairs + pair];
    }
  }
}

template <class Entry>
inline double write_vectors(const Entry *vectors, std::int64_t count, std::int64_t stride,
                            const double *centre, double scale, std::int64_t pairs,
                            std::int32_t *rounded, std::int32_t *panel, std::int32_t *offsets) {
  HalfDoubles greatest{};
  for (int group = 0; group < kPanelCodes; group += kBlocks) {
    fetch(panel, group * pairs * 4, kBlocks * pairs * 4);
    Sum left[kBlocks];
    Sum norm[kBlocks];
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
      const std::int64_t code = group + block;
      const Rounded row = quantize_row(vectors + (code < count ? code : count - 1) * stride, centre,
                                       scale, pairs, rounded + code * pairs);
      left[block] = row.left;
      norm[block] = row.norm;
    }
    const HalfDoubles residuals = sums(left);
    const HalfDoubles norms = sums(norm);
    greatest = residuals > greatest ? residuals : greatest;
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
      const std::int32_t mark = group + block < count ? 0 : kPaddingMark;
      offsets[block * kLanes + group / kBlocks] =
          -static_cast<std::int32_t>((norms[block] + 1.0) * 0.5) - mark;
    }
  }
  interleave(rounded, pairs, panel);
  return greater(greater(greatest[0], greatest[1]), greater(greatest[2], greatest[3]));
}

double write_panel(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
                   const double *centre, double scale, std::int64_t pairs, std::int32_t *rounded,
                   std::int16_t *panel, std::int32_t *offsets) {
  auto *out = reinterpret_cast<std::int32_t *>(panel);
  if (wide) {
    return write_vectors(static_cast<const double *>(vectors), count, stride, centre, scale, pairs,
                         rounded, out, offsets);
  }
  return write_vectors(static_cast<const float *>(vectors), count, stride, centre, scale, pairs,
                       rounded, out, offsets);
}
