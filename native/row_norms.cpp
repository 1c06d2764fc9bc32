#include "row_norms.h"

namespace certvq {
namespace {

// Four partial sums hide the latency of the addition; any order satisfies the bound.
constexpr std::size_t kLanes = 4;

double squared_norm(const double *row, std::size_t columns, std::int64_t stride) {
  double sums[kLanes] = {};
  std::size_t column = 0;
  for (; column + kLanes <= columns; column += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = row[static_cast<std::int64_t>(column + lane) * stride];
      sums[lane] += value * value;
    }
  }
  for (; column < columns; ++column) {
    const double value = row[static_cast<std::int64_t>(column) * stride];
    sums[0] += value * value;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void squared_row_norms(const StridedRows &matrix, double *norms) {
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    const double *first = matrix.data + static_cast<std::int64_t>(row) * matrix.row_stride;
    norms[row] = squared_norm(first, matrix.columns, matrix.column_stride);
  }
}

}  // namespace certvq
