/// Which of a few vectors rows may be nearer to than to what they have, by float32 products.
///
/// In: rows of any float type, and squared distances. Out: a bit for each row and vector; where it is
/// not set, the row is proved not to come nearer. Theorem: dot_rounding_error_le, with the unit
/// roundoff of float32.

#pragma once

#include <cstdint>

#include "direct.h"

namespace certvq {

/// Vectors less a centre, rounded, side by side after minus half of their squares, which is minus
/// infinity in the padding.
struct CloserBook {
  const float *vectors;  // (groups, 1 + dim, kCloserVectors)
  std::int64_t groups;
  std::int64_t dim;
  float radius;         // at least the greatest length
  float factor, slack;  // see closer.cpp
};

class Closer {
 public:
  /// Vectors (count, stride) of doubles; any centre will do, the nearer the better.
  Closer(const Isa &isa, const double *vectors, std::int64_t count, std::int64_t dim,
         const double *centre);

  /// Compare at most kDirectRows rows of these numbers with all vectors; `limits` are kDirectRows
  /// squared distances.
  void compare(const Matrix &matrix, const std::int64_t *rows, std::int64_t count,
               const double *limits);
  /// A bit for each row that may be nearer to this vector than its limit.
  std::uint64_t near(std::int64_t vector) const { return near_.data()[vector]; }

 private:
  const Isa &isa_;
  const DirectIsa &kernels_;
  Aligned<float> centre_;
  Aligned<float> vectors_;
  Aligned<float> columns_;
  Aligned<double> exact_;
  Aligned<std::uint64_t> near_;
  CloserBook book_{};
};

}  // namespace certvq
