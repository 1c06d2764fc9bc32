/// Rows of float32 turned into columns; included by `direct_*.cpp` before `direct-inl.h`.

typedef float Square __attribute__((vector_size(16)));

/// Write at most kDirectRows rows, of these numbers or else from `first` on, less the centre, side by
/// side in columns (dim, kDirectRows). The numbers of a row lie next to each other.
void columns(const Matrix &matrix, const std::int64_t *rows, std::int64_t first, std::int64_t count,
             const float *centre, float *out) {
  constexpr int kSide = 4;
  const auto entries = [&](std::int64_t row) {
    const std::int64_t number = rows == nullptr ? first + row : rows[row];
    return static_cast<const char *>(matrix.data) +
           number * matrix.row_stride * static_cast<std::int64_t>(sizeof(float));
  };
  const std::int64_t whole = matrix.columns / kSide * kSide;
  for (std::int64_t row = 0; row < count; row += kSide) {
    const char *from[kSide];
    for (int i = 0; i < kSide; ++i) from[i] = entries(row + i < count ? row + i : count - 1);
    for (std::int64_t d = 0; d < whole; d += kSide) {
      Square v[kSide], less;
      __builtin_memcpy(&less, centre + d, sizeof less);
#pragma GCC unroll 4
      for (int i = 0; i < kSide; ++i) {  // by memcpy: it need not be aligned
        __builtin_memcpy(&v[i], from[i] + d * static_cast<std::int64_t>(sizeof(float)), sizeof v[i]);
        v[i] -= less;
      }
      const Square a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
      const Square b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
      const Square c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
      const Square e = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
      v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
      v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
      v[2] = __builtin_shufflevector(c, e, 0, 1, 4, 5);
      v[3] = __builtin_shufflevector(c, e, 2, 3, 6, 7);
#pragma GCC unroll 4
      for (int i = 0; i < kSide; ++i) {
        __builtin_memcpy(out + (d + i) * kDirectRows + row, &v[i], sizeof v[i]);
      }
    }
    for (std::int64_t d = whole; d < matrix.columns; ++d) {
      for (int i = 0; i < kSide; ++i) {
        float value;
        __builtin_memcpy(&value, from[i] + d * static_cast<std::int64_t>(sizeof(float)), sizeof value);
        out[d * kDirectRows + row + i] = value - centre[d];
      }
    }
  }
}
