#include "closer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace certvq {

// Let u = 2^-24, x and y be a row and a vector less the centre, X and Y these as they are rounded, at
// most 1.01 u |x| and 1.01 u |y| from them, r = |X| + |Y|, q the computed |X|^2, and s the computed
// X . Y - |Y|^2 / 2. As in direct.cpp q - 2 s errs from |X - Y|^2 by at most (D + 3) u r^2, and
// |x - y|^2 >= |X - Y|^2 - 2.1 u r^2. Let L be the limit, E = factor R^2 + slack, and t the rounded
// (q - E - L) / 2. If L > 4 r^2, t is below -r^2 and so below s. Else t is off by 2.6 u r^2 at most, so
// that s < t gives |x - y|^2 >= q - 2 s - (D + 6) u r^2 > L + E - (D + 12) u r^2. R is the computed
// r, at least r (1 - (D + 8) u); E counts twice (D + 16) u, for D up to 2^20. What underflows is less
// than 2^-148 for each operation. If a sum overflows, so does R^2, and t is below every s or no number.
Closer::Closer(const Isa &isa, const double *vectors, std::int64_t count, std::int64_t dim,
               const double *centre)
    : isa_(isa),
      kernels_(direct_isa(isa)),
      centre_(dim),
      columns_(dim * kDirectRows),
      exact_(padded(dim)) {
  for (std::int64_t d = 0; d < dim; ++d) centre_.data()[d] = static_cast<float>(centre[d]);
  const std::int64_t size = (1 + dim) * kCloserVectors;
  book_.groups = (count + kCloserVectors - 1) / kCloserVectors;
  book_.dim = dim;
  vectors_ = Aligned<float>(book_.groups * size);
  near_ = Aligned<std::uint64_t>(book_.groups * kCloserVectors);
  std::memset(vectors_.data(), 0, vectors_.bytes());
  std::memset(columns_.data(), 0, columns_.bytes());
  double greatest = 0.0;
  for (std::int64_t each = 0; each < book_.groups * kCloserVectors; ++each) {
    float *out = vectors_.data() + each / kCloserVectors * size + each % kCloserVectors;
    *out = -HUGE_VALF;
    if (each >= count) continue;
    double square = 0.0;
    for (std::int64_t d = 0; d < dim; ++d) {
      const auto entry = static_cast<float>(vectors[each * padded(dim) + d] -
                                            static_cast<double>(centre_.data()[d]));
      out[(1 + d) * kCloserVectors] = entry;
      square += static_cast<double>(entry) * static_cast<double>(entry);
    }
    *out = static_cast<float>(-0.5 * square);
    greatest = std::max(greatest, square);
  }
  const auto terms = static_cast<float>(dim + 16);
  book_.vectors = vectors_.data();
  book_.radius = static_cast<float>(std::sqrt(greatest)) * (1.0f + 0x1p-21f);
  book_.factor = terms * 0x1p-23f;
  book_.slack = terms * 0x1p-146f;
}

void Closer::compare(const Matrix &matrix, const std::int64_t *rows, std::int64_t count,
                     const double *limits) {
  read_columns(kernels_, isa_, {matrix, rows, 0, count}, centre_.data(), exact_.data(),
               columns_.data());
  kernels_.closer(book_, columns_.data(), limits, near_.data());
}

}  // namespace certvq
