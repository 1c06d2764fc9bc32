#include "together.h"

#include <cmath>
#include <numeric>

#include "isa.h"

namespace certvq {
namespace {

constexpr int kBins = 1024;  // of a histogram of their entries

}  // namespace

std::vector<std::int32_t> together(const double *points, std::int64_t count, std::int64_t dim,
                                   std::int64_t stride) {
  int bits = 0;
  while ((kTileRows << bits) < count) ++bits;
  const auto rows = static_cast<std::size_t>(count);
  std::vector<std::uint32_t> keys(rows, 0);
  std::vector<std::uint16_t> bins(rows);
  for (std::int64_t d = 0; d < dim; ++d) {
    const int own = static_cast<int>((bits + dim - 1 - d) / dim);
    const double *values = points + d;
    double low = HUGE_VAL;
    double high = -HUGE_VAL;
    for (std::size_t row = 0; row < rows; ++row) {
      const double value = values[static_cast<std::int64_t>(row) * stride];
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    const double factor = high > low ? (kBins - 1) / (high - low) : 0.0;
    std::uint32_t below[kBins + 1] = {};
    for (std::size_t row = 0; row < rows; ++row) {
      const double bin = (values[static_cast<std::int64_t>(row) * stride] - low) * factor;
      bins[row] = static_cast<std::uint16_t>(bin >= 0.0 && bin < kBins ? bin : 0.0);  // NaN is 0
      ++below[bins[row] + 1];
    }
    std::partial_sum(below, below + kBins + 1, below);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::uint64_t slice = (std::uint64_t{below[bins[row]]} << own) / rows;
      keys[row] = keys[row] << own | static_cast<std::uint32_t>(slice);
    }
  }
  std::vector<std::int32_t> starts((std::size_t{1} << bits) + 1, 0);
  for (const std::uint32_t key : keys) ++starts[key + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<std::int32_t> order(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    order[static_cast<std::size_t>(starts[keys[row]]++)] = static_cast<std::int32_t>(row);
  }
  return order;
}

}  // namespace certvq
