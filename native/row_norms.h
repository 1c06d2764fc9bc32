/// Squared Euclidean norms of the rows of a matrix.
///
/// In: a strided matrix of doubles. Out: one double a row. Each is a sum of products in some order,
/// without contraction, so `gamma(D)` of certvq.bounds bounds its relative error
/// (dot_rounding_error_le).

#pragma once

#include <cstddef>
#include <cstdint>

namespace certvq {

/// A matrix that somebody else owns; strides count doubles and may be negative or zero.
struct StridedRows {
  const double *data;
  std::size_t rows;
  std::size_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

/// Write the squared norm of each row. `norms` must hold `matrix.rows` doubles.
void squared_row_norms(const StridedRows &matrix, double *norms);

}  // namespace certvq
