/// How near a row is to its code, and how far from every other one.
///
/// In: what the filter remembers of a row, and its squared distances. Out: bounds of distances
/// that single_bound_skip_sound may use up.

#pragma once

#include <cstdint>
#include <cstring>

#include "block.h"
#include "packed.h"

namespace certvq {

/// What is known of the codes that are not nearest to a row.
struct Others {
  const std::int32_t *best;  // (2, lanes), as in Scan
  double next;               // computed squared distance to the nearest other code of its own group
  double beyond;             // and to the codes that were not compared, at least
};

/// At least the distance to every code but `code`, which is one of the distinct ones, of the group
/// with the best score.
double lower_of_others(const Packed &packed, const Block &block, std::int64_t row,
                       std::int32_t code, const Others &others);

/// At least the distance whose square was computed.
double distance_below(double sqdist, double dim);

/// The distance to every other code less that to the own one, rounded down, from bounds of both.
inline double lead_of(double lower, double upper) {
  return lower * (1.0 - 0x1p-51) - upper * (1.0 + 0x1p-51);  // pays for three roundings
}

/// What is above zero now, and falls by all that moves, in terms of all moves from the first pass
/// on: their sum, rounded down.
inline float end_of(double now, double moves) {
  auto end = static_cast<float>((now + moves) * (1.0 - 0x1p-51));  // pays for the two before
  std::uint32_t bits;
  std::memcpy(&bits, &end, sizeof bits);
  bits -= static_cast<std::uint32_t>(bits != 0);  // the float below: without a branch
  std::memcpy(&end, &bits, sizeof end);
  return end;
}

}  // namespace certvq
