/// How near a row is to its code, and how far from every other one.
///
/// In: bounds of distances. Out: what single_bound_skip_sound and skip_sound may use up.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "bounds.h"

namespace certvq {

/// At least the distance whose square was computed.
inline double distance_below(double sqdist, double dim) {
  const double square = bounds::greater(bounds::sqdist_lower(sqdist, dim), 0.0);
  return std::sqrt(square) * (1.0 - bounds::gamma(4.0));
}

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
