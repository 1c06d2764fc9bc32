#include "direct.h"

#include <cmath>
#include <cstring>

namespace certvq {

#if defined(__x86_64__)
extern const DirectKernel kDirectAvx512, kDirectAvx2;
#endif
extern const DirectKernel kDirectPortable;

namespace {

constexpr std::int64_t kMostEntries = 1 << 13;  // of a codebook, measured in docs/performance.md

DirectKernel kernel_of(const Isa &isa) {
#if defined(__x86_64__)
  if (isa.lanes == 16) return kDirectAvx512;
  if (isa.lanes == 8) return kDirectAvx2;
#else
  static_cast<void>(isa);
#endif
  return kDirectPortable;
}

}  // namespace

bool Direct::pays(const Packed &packed, Number number) {
  return !packed.wide && number != Number::kFloat64 &&
         packed.distinct * packed.dim <= kMostEntries;
}

Direct::Direct(const Packed &packed)
    : packed_(packed),
      kernel_(kernel_of(*packed.isa)),
      columns_(packed.dim * kDirectRows),
      exact_(packed.stride),
      codes_(kDirectRows),
      leads_(kDirectRows),
      lowers_(kDirectRows) {
  book_.dim = packed.dim;
  book_.groups = (packed.distinct + kDirectCodes - 1) / kDirectCodes;
  vectors_ = Aligned<float>(book_.groups * packed.dim * kDirectCodes);
  book_.vectors = vectors_.data();
  for (std::int64_t code = 0; code < book_.groups * kDirectCodes; ++code) {
    float *out = vectors_.data() + code / kDirectCodes * packed.dim * kDirectCodes;
    const float *vector = packed.narrow_vectors.data() + code * packed.stride;
    for (std::int64_t d = 0; d < packed.dim; ++d) {
      out[d * kDirectCodes + code % kDirectCodes] = code < packed.distinct ? vector[d] : HUGE_VALF;
    }
  }
  // D + 3 roundings of each term, and those of these bounds themselves; what underflows loses less
  // than 2^-149.
  const auto dim = static_cast<float>(packed.dim);
  book_.below = 1.0f - (dim + 8.0f) * 0x1p-23f;
  book_.above = 1.0f + (dim + 8.0f) * 0x1p-23f;
  book_.slack = (dim + 8.0f) * 0x1p-146f;
  std::memset(columns_.data(), 0, columns_.bytes());
}

void Direct::decide(const Matrix &matrix, const std::int64_t *rows, std::int64_t first,
                    std::int64_t count) {
  float *columns = columns_.data();
  const std::int64_t dim = packed_.dim;
  if (matrix.number == Number::kFloat32) {
    const std::int64_t step = matrix.column_stride * static_cast<std::int64_t>(sizeof(float));
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t place = rows == nullptr ? first + row : rows[row];
      const char *entry = static_cast<const char *>(matrix.data) +
                          place * matrix.row_stride * static_cast<std::int64_t>(sizeof(float));
      for (std::int64_t d = 0; d < dim; ++d, entry += step) {  // which need not be aligned
        std::memcpy(columns + d * kDirectRows + row, entry, sizeof(float));
      }
    }
  } else {
    for (std::int64_t row = 0; row < count; ++row) {
      packed_.isa->read(matrix, rows == nullptr ? first + row : rows[row], 1, packed_.stride,
                        exact_.data());
      for (std::int64_t d = 0; d < dim; ++d) {
        columns[d * kDirectRows + row] = static_cast<float>(exact_.data()[d]);
      }
    }
  }
  kernel_(book_, columns, {codes_.data(), leads_.data(), lowers_.data()});
}

}  // namespace certvq
