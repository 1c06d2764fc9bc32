/// Which rows may be nearer to vectors than they are to something; included behind `direct-inl.h`.
///
/// In: columns of rows, and few vectors. Out: a bit for each row. See closer.h for what is proved.

constexpr int kSide = kDirectRows / Ops::kLanes < 4 ? kDirectRows / Ops::kLanes : 4;

/// The score x . y - |y|^2 / 2 that vectors must exceed for the row to come nearer, for all rows.
inline void least_scores(const CloserBook &book, const float *columns, const double *limits,
                         float *least) {
  float square[kDirectRows];
  for (int row = 0; row < kDirectRows; row += kSide * Ops::kLanes) {
    Floats total[kSide] = {};
    for (std::int64_t d = 0; d < book.dim; ++d) {
#pragma GCC unroll 4
      for (int v = 0; v < kSide; ++v) {
        const Floats x = load(columns + d * kDirectRows + row + v * Ops::kLanes);
        total[v] = Ops::multiply_add(x, x, total[v]);
      }
    }
    __builtin_memcpy(square + row, total, sizeof total);
  }
  for (int row = 0; row < kDirectRows; ++row) {
    const float reach = __builtin_sqrtf(square[row]) + book.radius;
    const float error = book.factor * (reach * reach) + book.slack;
    const double rest = static_cast<double>(square[row]) - static_cast<double>(error) - limits[row];
    least[row] = static_cast<float>(0.5 * rest);
  }
}

void closer(const CloserBook &book, const float *columns, const double *limits,
            std::uint64_t *near) {
  float least[kDirectRows];
  least_scores(book, columns, limits, least);
  const float *vectors = book.vectors;
  for (std::int64_t group = 0; group < book.groups; ++group) {
    std::uint64_t bits[kCloserVectors] = {};
    for (int row = 0; row < kDirectRows; row += kSide * Ops::kLanes) {
      Floats total[kCloserVectors][kSide];
#pragma GCC unroll 3
      for (int each = 0; each < kCloserVectors; ++each) {
#pragma GCC unroll 4
        for (int v = 0; v < kSide; ++v) total[each][v] = Ops::broadcast<Floats>(vectors[each]);
      }
      const float *vector = vectors + kCloserVectors;
      for (std::int64_t d = 0; d < book.dim; ++d, vector += kCloserVectors) {
        Floats y[kCloserVectors];
#pragma GCC unroll 3
        for (int each = 0; each < kCloserVectors; ++each) y[each] = Ops::broadcast<Floats>(vector[each]);
#pragma GCC unroll 4
        for (int v = 0; v < kSide; ++v) {
          const Floats x = load(columns + d * kDirectRows + row + v * Ops::kLanes);
#pragma GCC unroll 3
          for (int each = 0; each < kCloserVectors; ++each) {
            total[each][v] = Ops::multiply_add(x, y[each], total[each][v]);
          }
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < kSide; ++v) {
        const int place = row + v * Ops::kLanes;
        const Floats limit = load(least + place);
#pragma GCC unroll 3
        for (int each = 0; each < kCloserVectors; ++each) {  // what is no number is near
          const std::uint64_t below = Ops::mask((Ints)(total[each][v] < limit));
          bits[each] |= (below ^ ((std::uint64_t{1} << Ops::kLanes) - 1)) << place;
        }
      }
    }
    for (int each = 0; each < kCloserVectors; ++each) near[group * kCloserVectors + each] = bits[each];
    vectors += (1 + book.dim) * kCloserVectors;
  }
}
