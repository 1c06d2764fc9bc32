#include "row_norms.h"

#include <cstring>

namespace certvq {
namespace {

// Four partial sums hide the latency of the addition; any order satisfies the bound.
constexpr std::size_t kLanes = 4;

/// By memcpy: the address need not be a multiple of the size.
double load(const double *entry) {
  double value;
  std::memcpy(&value, entry, sizeof value);
  return value;
}

double squared_norm(const double *row, std::size_t columns, std::int64_t stride) {
  double sums[kLanes] = {};
  std::size_t column = 0;
  for (; column + kLanes <= columns; column += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = load(row + static_cast<std::int64_t>(column + lane) * stride);
      sums[lane] += value * value;
    }
  }
  for (; column < columns; ++column) {
    const double value = load(row + static_cast<std::int64_t>(column) * stride);
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
