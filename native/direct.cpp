#include "direct.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace certvq {

#if defined(__x86_64__)
extern const DirectIsa kDirectAvx512, kDirectAvx2;
#endif
extern const DirectIsa kDirectPortable;

const DirectIsa &direct_isa(const Isa &isa) {
#if defined(__x86_64__)
  if (isa.lanes == 16) return kDirectAvx512;
  if (isa.lanes == 8) return kDirectAvx2;
#else
  static_cast<void>(isa);
#endif
  return kDirectPortable;
}

void read_columns(const DirectIsa &kernels, const Isa &isa, const FewRows &few, const float *centre,
                  double *exact, float *columns) {
  const Matrix &matrix = few.matrix;
  if (matrix.number == Number::kFloat32 && matrix.column_stride == 1) {
    return kernels.columns(matrix, few.rows, few.first, few.count, centre, columns);
  }
  for (std::int64_t row = 0; row < few.count; ++row) {
    const std::int64_t number = few.rows == nullptr ? few.first + row : few.rows[row];
    isa.read(matrix, number, 1, padded(matrix.columns), exact);
    for (std::int64_t d = 0; d < matrix.columns; ++d) {
      columns[d * kDirectRows + row] = static_cast<float>(exact[d] - static_cast<double>(centre[d]));
    }
  }
}

bool Direct::pays(const Packed &packed, Number number) {
  return !packed.wide && number != Number::kFloat64 &&
         packed.distinct * packed.dim <= kDirectEntries;
}

Direct::Direct(const Packed &packed)
    : packed_(packed),
      kernels_(direct_isa(*packed.isa)),
      centre_(packed.dim),
      columns_(packed.dim * kDirectRows),
      exact_(packed.stride),
      codes_(kDirectRows),
      leads_(kDirectRows) {
  for (std::int64_t d = 0; d < packed.dim; ++d) {
    centre_.data()[d] = static_cast<float>(packed.centre.data()[d]);
  }
  const std::int64_t size = (1 + packed.dim) * kDirectCodes;
  book_.dim = packed.dim;
  book_.groups = (packed.distinct + kDirectCodes - 1) / kDirectCodes;
  vectors_ = Aligned<float>(book_.groups * size);
  std::memset(vectors_.data(), 0, vectors_.bytes());
  book_.vectors = vectors_.data();
  double greatest = 0.0;
  for (std::int64_t code = 0; code < book_.groups * kDirectCodes; ++code) {
    float *out = vectors_.data() + code / kDirectCodes * size + code % kDirectCodes;
    *out = -HUGE_VALF;
    if (code >= packed.distinct) continue;
    const float *vector = packed.narrow_vectors.data() + code * packed.stride;
    double square = 0.0;
    for (std::int64_t d = 0; d < packed.dim; ++d) {
      const float entry = vector[d] - centre_.data()[d];
      out[(1 + d) * kDirectCodes] = entry;
      square += static_cast<double>(entry) * static_cast<double>(entry);
    }
    *out = static_cast<float>(-0.5 * square);
    greatest = std::max(greatest, square);
  }
  // For x and y, less the centre and rounded, and r = |x| + |y|: x . y - |y|^2 / 2 takes D + 2
  // roundings of terms that add up to less than r^2 / 2, |x|^2 takes D of its own; so |x - y|^2 errs by
  // at most (D + 3) 2^-24 r^2, and by 2^-148 for each operation that underflows. `lead_of` adds two
  // roundings of r^2. D + 8 units of 2^-23 are counted. Rounding x and y moved them by at most 2^-24 r,
  // and `lead_of` counts twice that. If a sum overflows, so does r^2, and no lead is above zero.
  const auto dim = static_cast<float>(packed.dim);
  book_.radius = static_cast<float>(std::sqrt(greatest)) * (1.0f + 0x1p-21f);
  book_.factor = (dim + 8.0f) * 0x1p-23f;
  book_.slack = (dim + 8.0f) * 0x1p-146f;
  std::memset(columns_.data(), 0, columns_.bytes());
}

void Direct::decide(const Matrix &matrix, const std::int64_t *rows, std::int64_t first,
                    std::int64_t count) {
  read_columns(kernels_, *packed_.isa, {matrix, rows, first, count}, centre_.data(), exact_.data(),
               columns_.data());
  kernels_.compare(book_, columns_.data(), codes_.data(), leads_.data());
}

}  // namespace certvq
