#include "lead.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"

namespace certvq {
namespace {

/// The greatest score besides that of a code's own group.
std::int32_t next_score(const Packed &packed, const std::int32_t *best, std::int32_t code) {
  const int lanes = packed.isa->lanes;
  const auto own = static_cast<int>(code % (kBlocks * lanes) / kBlocks);
  std::int32_t result = best[lanes + own];
  for (int lane = 0; lane < lanes; ++lane) {
    const std::int32_t other = lane == own ? kNothing : best[lane];
    result = std::max(result, other);
  }
  return result;
}

/// A distance beyond which all codes lie that score no more. It is guessed, and then tested by the
/// bound that the guess inverts.
double distance_of_score(const Packed &packed, const Block &block, std::int64_t row, double score) {
  const double names = static_cast<double>((1 << packed.panels.group_bits) - 1);
  const double scale = block.scale(row);
  const double inverse = 1.0 / scale;  // a power of two
  const double norm = block.norm(row);
  const double residual =
      bounds::fixed_point_residual(block.residual(row), static_cast<double>(packed.dim));
  const double moved = (residual + packed.code_residual * inverse) * packed.widen;
  const double square = norm - 2.0 * inverse * (score + names + 6.0) - norm * 0x1p-40;
  const double distance = std::sqrt(std::max(square, 0.0)) * (1.0 - 0x1p-40) - moved;
  if (!(distance > 0.0)) return 0.0;
  const double least = bounds::fixed_point_score_of_distance(norm, distance, moved, scale, names);
  return least > score ? distance / (packed.scale * inverse) * (1.0 - 0x1p-50) : 0.0;
}

}  // namespace

double distance_below(double sqdist, double dim) {
  return std::sqrt(std::max(bounds::sqdist_lower(sqdist, dim), 0.0)) * (1.0 - bounds::gamma(4.0));
}

double lower_of_others(const Packed &packed, const Block &block, std::int64_t row,
                       std::int32_t code, const Others &others) {
  const auto dim = static_cast<double>(packed.dim);
  const std::int32_t score = next_score(packed, others.best, code);
  double rest = distance_below(std::min(others.next, others.beyond), dim);
  if (score != kNothing) {
    rest = std::min(rest, distance_of_score(packed, block, row, static_cast<double>(score)));
  }
  return rest;
}

}  // namespace certvq
