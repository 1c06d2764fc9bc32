/// One pass of k-means over a block of rows: codes that may have changed, and exact sums of cells.
///
/// In: a packed codebook, rows, and what the passes before left of them. Out: the lowest nearest code
/// of every row, and the sums with what moved from cell to cell. Rows whose code cannot have changed
/// are not read. Theorems: certified_assign, single_bound_skip_sound, skip_sound, exact_sum_merge.

#pragma once

#include <cstdint>
#include <functional>

#include "packed.h"

namespace certvq {

/// Sums of the rows of each cell: whole numbers of units of `2^lowest`, in digits of 32 bits.
struct CellSums {
  std::int64_t *digits;  // (places, K, D), all but the last in [0, 2^32)
  std::int64_t *counts;  // (K,)
  std::int64_t places;   // enough for all rows
  int lowest;            // within -kMostExponent .. kMostExponent
  int bits;              // every number is below 2^(lowest + bits); at most kMostBits
};

constexpr int kMostExponent = 1000;
constexpr int kMostBits = 88;
constexpr int kSquareBits = 56;

/// What is known of each row from the passes before.
struct Known {
  std::int64_t *codes;  // (rows,), -1 where there was none
  float *leads;         // (rows,): the code stays while its drift is below
  float *lowers;        // (rows,): less what others moved, at least the distance to every other code
  const double *drift;  // (K,): at least how far each code and the others moved together, ever since
  const double *others;  // (K,): at least how far the codes other than each moved, ever since
};

/// Codes that moved farther in the last pass than all the others, which rest.
struct Movers {
  const Packed *packed;        // these codes
  const std::int64_t *places;  // (movers,), their numbers among all codes
  const double *rest;          // (K,): as `others`, but that in the last pass movers did not move
};

/// The sum of the squares of all numbers of rows without a code, in units of `4^lowest`, modulo 2^128;
/// of grids of at most kSquareBits.
struct Squares {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

enum class Looked : std::uint8_t {
  kDone,
  kRefused,   // the kernel does not take these rows or codes; what was known is lost
  kTooGreat,  // a number lies beyond the grid
  kTooFine,   // a number lies between the steps of the grid
};

/// Look at rows once. `movers` and `squares` may be null. `interrupted` is asked a few times a second.
Looked look(const Packed &packed, const Matrix &rows, const Known &known, const Movers *movers,
            const CellSums &sums, Squares *squares, int threads,
            const std::function<bool()> &interrupted);

}  // namespace certvq
