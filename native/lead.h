/// By how much a row's code is nearer than every other one, at least.
///
/// In: what the filter remembers of a row, and its squared distances. Out: a difference of distances
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

/// The distance to every other code less that to `code`, rounded down; below zero if that is all that
/// is known. `sqdist` is computed; `code` is one of the distinct ones, of the group with the best score.
double lead(const Packed &packed, const Block &block, std::int64_t row, std::int32_t code,
            double sqdist, const Others &others);

/// Until what drift a code stays whose lead is above zero now: their sum, rounded down.
inline float end_of_lead(double lead, double drift) {
  auto end = static_cast<float>((lead + drift) * (1.0 - 0x1p-51));  // pays for the two before
  std::uint32_t bits;
  std::memcpy(&bits, &end, sizeof bits);
  bits -= static_cast<std::uint32_t>(bits != 0);  // the float below: without a branch
  std::memcpy(&end, &bits, sizeof end);
  return end;
}

}  // namespace certvq
