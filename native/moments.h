/// What follows from the exact sums of cells: their means, rounded once, and parts of the inertia.
///
/// In: digits of sums as in lloyd.h, and code vectors. Out: float32 numbers, rounded once, and
/// integers. Theorem: rounded_mean_unique.

#pragma once

#include <cstdint>

namespace certvq {

constexpr std::int64_t kMostPlaces = 4;  // digits of a sum: 128 bits

/// Sums of K cells in D columns: (places, K, D), all digits but the last in [0, 2^32).
struct Sums {
  const std::int64_t *digits;
  std::int64_t places;  // at most kMostPlaces
  std::int64_t cells;
  std::int64_t columns;
};

/// Divide each sum by the count of its cell, in units of `2^lowest` (within -900 .. 200), and round to
/// nearest, ties to even. Magnitudes of means are those of float32; cells without rows are left alone.
void float32_means(const Sums &sums, const std::int64_t *counts, int lowest, float *means);

/// A signed number of 128 bits.
struct Wide {
  std::uint64_t low;
  std::int64_t high;
};

/// Sum vectors times digits, for each place, and the squares of each vector; vectors count in units of
/// `2^lowest`. False if one of them is no whole number below `2^bits`, bits at most 60.
bool moments(const Sums &sums, const double *vectors, int lowest, int bits, Wide *dots,
             Wide *squares);

}  // namespace certvq
